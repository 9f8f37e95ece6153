package isolation

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/core"
	"github.com/wcfs/wcfs/internal/core/live"
	"github.com/wcfs/wcfs/internal/core/live/livetest"
	"github.com/wcfs/wcfs/internal/core/versions"
	"github.com/wcfs/wcfs/internal/core/wire"
	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// mortal is a process that a signal ends.
type mortal struct {
	once sync.Once
	dead chan struct{}
}

func newMortal() *mortal { return &mortal{dead: make(chan struct{})} }

func (p *mortal) Pid() int           { return 1234 }
func (p *mortal) HasThread(int) bool { return false }
func (p *mortal) Doomed() bool       { return false }
func (p *mortal) Close()             {}
func (p *mortal) Signal(syscall.Signal) error {
	p.once.Do(func() { close(p.dead) })
	return nil
}

func (p *mortal) Wait(ctx context.Context) error {
	select {
	case <-p.dead:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// open returns a link of a process that a signal ends.
func open(t testing.TB, e *Engine) *Link {
	t.Helper()
	l, err := e.Open(func() (Process, error) { return newMortal(), nil })
	require.NoError(t, err)
	return l
}

// newWorldHead returns the newest view of a random database, whose file is
// known, until the test ends.
func newWorldHead(t testing.TB) (h *live.Head, at zodb.Tid) {
	t.Helper()
	w := livetest.NewWorld(1)
	ctx, cancel := context.WithCancel(context.Background())
	at = w.Tids()[0]
	objs := versions.NewObjects(ctx, w.DB, at, 1<<20)
	loader := bigfile.NewLoader(ctx, 4)
	h = live.New(ctx, at, objs, w.DB, loader, live.Config{MaxServed: 1000, Retry: time.Second, StuckAfter: time.Hour,
		KeepHistory: time.Minute, KeepFloor: time.Hour, Observer: core.Alone{}, Processes: core.Alone{}})
	t.Cleanup(func() {
		cancel()
		h.Close()
		loader.Wait()
		objs.Close()
		w.DB.Close()
	})
	_, err := h.Open(ctx, livetest.File)
	require.NoError(t, err)
	return h, at
}

// failing is an Observer that is told of failures only.
func failing(failed func(err error)) core.Observer { return failure{failed: failed} }

type failure struct {
	core.Alone
	failed func(err error)
}

func (f failure) Failed(err error) { f.failed(err) }

// engineOf returns an engine on h. close ends it, and must.
func engineOf(t testing.TB, h *live.Head) (e *Engine, close func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	e = NewEngine(ctx, h, Config{PinTimeout: time.Second, Observer: failing(func(err error) { t.Errorf("fatal: %s", err) })})
	return e, func() {
		t.Helper()
		cancel()
		within(t, "the engine ends", e.Close)
		require.Empty(t, e.list())
	}
}

// within requires that f returns soon.
func within(t testing.TB, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatalf("not within 20 s: %s", what)
	}
}

// requireBounded requires that a client cannot make the server keep much.
func (l *Link) requireBounded(t testing.TB) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	require.LessOrEqual(t, l.out.Len(), wire.MaxOutput)
	if !l.down {
		require.LessOrEqual(t, cap(l.input), 64*wire.MaxLine)
	}
	require.LessOrEqual(t, l.nreq, maxRequests)
	queued := 0
	for _, queue := range l.requests {
		queued += len(queue)
	}
	require.LessOrEqual(t, queued, maxRequests)
	require.LessOrEqual(t, len(l.messages), 2*maxPins)
}

// FuzzWrite: whatever a client writes, in whatever pieces, Write returns, what
// is kept is bounded, and everything ends.
func FuzzWrite(f *testing.F) {
	h, at := newWorldHead(f)
	for _, text := range []string{
		"1 watch 0000000000000001 @%s\n3 watch 0000000000000001 -\n5 bye\n",
		"1 watch 0000000000000001 @%s\n1 watch 0000000000000002 @%s\n2 ack\n",
		"1 watch 0000000000000001 @ffffffffffffffff\n7 x\n",
		"\n\n\n", "zzz hello\n", "1 \x00\n", "18446744073709551615 bye", "4 nak: no\n",
	} {
		f.Add([]byte(strings.ReplaceAll(text, "%s", at.String())), uint8(7), false)
	}
	f.Add([]byte(strings.Repeat("1 x\n", 500)), uint8(255), false)
	f.Add([]byte(strings.Repeat("1 watch 0000000000000001 -\n", 300)), uint8(255), true)
	f.Add([]byte(strings.Repeat("y", 3000)), uint8(200), true)
	f.Fuzz(func(t *testing.T, data []byte, piece uint8, read bool) {
		e, end := engineOf(t, h)
		l := open(t, e)
		var reader sync.WaitGroup
		if read {
			reader.Go(func() {
				dest := make([]byte, 1+int(piece))
				for n, err := 1, error(nil); n > 0 && err == nil; {
					n, err = l.Read(context.Background(), dest)
				}
			})
		}
		for len(data) > 0 {
			n := min(len(data), 1+int(piece))
			within(t, "Write returns", func() {
				if err := l.Write(data[:n]); err != nil && err != ErrDown {
					t.Errorf("Write: %s", err)
				}
			})
			data = data[n:]
			l.requireBounded(t)
		}
		l.Release()
		reader.Wait()
		require.ErrorIs(t, l.Write([]byte("1 x\n")), ErrDown)
		end()
		require.Zero(t, e.Stats().Watch)
	})
}

// TestWriteOfManyLinesCostsWhatTheyAre: all clients wait while the server takes
// what one writes, so that must be proportional to what it is.
func TestWriteOfManyLinesCostsWhatTheyAre(t *testing.T) {
	h, _ := newWorldHead(t)
	for _, line := range []string{"1 x\n", "1 watch 0000000000000001 -\n", "\n"} {
		e, end := engineOf(t, h)
		data := []byte(strings.Repeat(line, 64<<10/len(line)))
		l := open(t, e)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		within(t, "Write returns", func() { _ = l.Write(data) })
		runtime.ReadMemStats(&after)
		require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(20<<20), "bytes allocated to take %d bytes of lines %q", len(data), line)
		l.requireBounded(t)
		l.Release()
		end()
	}
}

// TestNoRequestIsDroppedInSilence: each is answered, or the link ends with a
// message that says why.
func TestNoRequestIsDroppedInSilence(t *testing.T) {
	h, _ := newWorldHead(t)
	for _, request := range []string{"x", "watch 0000000000000001 -"} {
		e, end := engineOf(t, h)
		l := open(t, e)
		const n = 1000
		said := make(chan string)
		go func() {
			text, dest := "", make([]byte, 4096)
			for strings.Count(text, "\n") < n {
				got, err := l.Read(t.Context(), dest)
				if got == 0 || err != nil {
					break
				}
				text += string(dest[:got])
			}
			said <- text
		}()
		for i := range n {
			_ = l.Write(fmt.Appendf(nil, "%d %s\n", 2*i+1, request))
		}
		release := time.AfterFunc(2*time.Second, l.Release)
		text := <-said
		release.Stop()
		if strings.Count(text, "\n") != n && !strings.Contains(text, "0 error: ") {
			t.Errorf("%d of %d requests %q were answered, and the link goes on", strings.Count(text, "\n"), n, request)
		}
		end()
	}
}

// TestClientOfAWatchThatIsLostIsToldAndEnded wants the reason to be the last thing that
// the client reads.
func TestClientOfAWatchThatIsLostIsToldAndEnded(t *testing.T) {
	h, at := newWorldHead(t)
	e, end := engineOf(t, h)
	defer end()
	proc := newMortal()
	l, err := e.Open(func() (Process, error) { return proc, nil })
	require.NoError(t, err)
	require.NoError(t, l.Write(fmt.Appendf(nil, "1 watch %s @%s\n", livetest.File, at)))
	read := func() string {
		buf := make([]byte, 4096)
		n, err := l.Read(t.Context(), buf)
		require.NoError(t, err)
		return string(buf[:n])
	}
	require.Equal(t, "1 ok\n", read())
	l.Lost(l.watchList()[0], &storage.PackedError{Xid: zodb.Xid{At: at, Oid: 7}, PackTime: at + 1})
	require.Equal(t, fmt.Sprintf("0 fatal: watch f<%s>: object %s @%s was packed away: views before @%s are incomplete\n",
		livetest.File, zodb.Oid(7), at, at+1), read())
	within(t, "the client ends", func() { <-proc.dead })
}
