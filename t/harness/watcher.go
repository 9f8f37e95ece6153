package harness

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"lab.nexedi.com/kirr/neo/go/zodb"
)

// Watcher is a watch link of this process in a test: a good client that sees
// some files at some views.
type Watcher struct {
	*WatchLink
	t  testing.TB
	s  *Server
	At map[*LiveFile]zodb.Tid // of what is watched
}

// Watcher opens a link that acknowledges pins at once. It says bye in the end.
func (s *Server) Watcher() *Watcher { return s.newWatcher(true) }

// ManualWatcher is watcher for tests that acknowledge pins themselves.
func (s *Server) ManualWatcher() *Watcher { return s.newWatcher(false) }

func (s *Server) newWatcher(auto bool) *Watcher {
	s.T.Helper()
	l, err := OpenWatchLink(s.Path("head/watch"), auto)
	require.NoError(s.T, err)
	w := &Watcher{l, s.T, s, make(map[*LiveFile]zodb.Tid)}
	s.T.Cleanup(func() { w.Close() })
	return w
}

// Close says bye, unless the link is down already. It may be called again.
func (w *Watcher) Close() {
	if w.FD >= 0 && w.Bye() != nil {
		w.Drop()
	}
	w.FD = -1
}

// Watch sets the watch of f up, or moves it. It must succeed.
func (w *Watcher) Watch(f *LiveFile, at zodb.Tid) {
	w.t.Helper()
	require.Equal(w.t, "ok", w.Ask(WatchRequest(f.Oid, at)), "watch %s @%s", f.Oid, at)
	w.At[f] = at
}

// Unwatch removes the watch of f.
func (w *Watcher) Unwatch(f *LiveFile) {
	w.t.Helper()
	require.Equal(w.t, "ok", w.Ask("watch "+f.Oid.String()+" -"))
	delete(w.At, f)
	w.Forget(f)
}

// Forget forgets what is pinned of f: the server does so, too.
func (w *Watcher) Forget(f *LiveFile) { w.Change(func() { delete(w.Held, f.Oid) }) }

// Ask sends a request and returns the answer.
func (w *Watcher) Ask(msg string) string {
	w.t.Helper()
	reply, err := w.TryAsk(msg)
	require.NoError(w.t, err, msg)
	return reply
}

// Send sends a request whose reply is waited for later.
func (w *Watcher) Send(msg string) (stream uint64) {
	w.t.Helper()
	stream, err := w.TrySend(msg)
	require.NoError(w.t, err, msg)
	return stream
}

// Reply returns the answer to a request that was sent.
func (w *Watcher) Reply(stream uint64) string {
	w.t.Helper()
	msg, err := w.TryReply(stream)
	require.NoError(w.t, err)
	return msg
}

// Barrier returns when all that the server has said so far was received.
func (w *Watcher) Barrier() {
	w.t.Helper()
	require.Equal(w.t, `error bad watch: not a watch request: "barrier"`, w.Ask("barrier"))
}

// Pin waits for the next pin that is not acknowledged.
func (w *Watcher) Pin() (p WatchPin) {
	w.t.Helper()
	require.NoError(w.t, w.await(func() bool {
		if len(w.Queue) > 0 {
			p = w.Queue[0]
		}
		return len(w.Queue) > 0
	}))
	return p
}

// Ack acknowledges p.
func (w *Watcher) Ack(p WatchPin) {
	w.t.Helper()
	require.NoError(w.t, w.ack(p))
}

// Auto acknowledges what was not, and from now on pins as they come.
func (w *Watcher) Auto() {
	w.t.Helper()
	var left []WatchPin
	w.Change(func() {
		w.Acks = true
		left = slices.Clone(w.Queue)
	})
	for _, p := range left {
		w.Ack(p)
	}
}

// Pins is blocks with what they are pinned to.
type Pins map[int64]zodb.Tid

func (p Pins) String() string {
	var text []string
	for _, blk := range slices.Sorted(maps.Keys(p)) {
		rev := p[blk].String()
		if p[blk] == ToHead {
			rev = "head"
		}
		text = append(text, fmt.Sprintf("#%d@%s", blk, rev))
	}
	return "{" + strings.Join(text, " ") + "}"
}

// Expect requires that since the last time exactly these pins were received for
// f, each once, and for other files none.
func (w *Watcher) Expect(f *LiveFile, want Pins, what ...any) {
	w.t.Helper()
	w.ExpectAll(map[*LiveFile]Pins{f: want}, what...)
}

// ExpectAll is Expect for several files.
func (w *Watcher) ExpectAll(want map[*LiveFile]Pins, what ...any) {
	w.t.Helper()
	w.Barrier()
	var seen []WatchPin
	w.Change(func() { seen, w.Seen = w.Seen, nil })
	got := make(map[zodb.Oid]Pins)
	for _, p := range seen {
		if got[p.Oid] == nil {
			got[p.Oid] = Pins{}
		}
		require.NotContains(w.t, got[p.Oid], p.Blk, "pinned twice: %v", seen)
		got[p.Oid][p.Blk] = p.Rev
	}
	for f, expected := range want {
		require.Equal(w.t, expected.String(), got[f.Oid].String(), what...)
		delete(got, f.Oid)
	}
	require.Empty(w.t, got, what...)
}

// Pinned requires that f is pinned exactly so.
func (w *Watcher) Pinned(f *LiveFile, want Pins, what ...any) {
	w.t.Helper()
	w.Mu.Lock()
	defer w.Mu.Unlock()
	require.Equal(w.t, want.String(), Pins(w.Held[f.Oid]).String(), what...)
}

// Sees requires that the client sees these blocks of f as they are at its view:
// through what they are pinned to, else through head. All blocks if none are
// named; then head is read, and so pins may follow.
func (w *Watcher) Sees(f *LiveFile, blks ...int64) {
	w.t.Helper()
	at := w.At[f]
	require.NotZero(w.t, at, "not watched")
	if blks == nil {
		for blk := range f.Size(at) / f.BlkSize {
			blks = append(blks, blk)
		}
	}
	head := OpenRandom(w.t, f.Path(w.s, "head"))
	defer head.Close()
	for _, blk := range blks {
		text, through := w.See(f, head, blk)
		if want := f.Text(blk, at); text != want {
			w.t.Fatalf("the client sees of %s #%d @%s, through %s: %.40q; want %.40q", f.Oid, blk, at, through, text, want)
		}
	}
}

// See returns what a client that watches f sees of a block. It reads head first
// as the page cache is filled first when a client touches the mapping.
func (w *Watcher) See(f *LiveFile, head *os.File, blk int64) (text, through string) {
	w.t.Helper()
	data := make([]byte, f.BlkSize)
	n, err := unix.Pread(int(head.Fd()), data, blk*f.BlkSize)
	require.NoError(w.t, err)
	w.Mu.Lock()
	rev, ok := w.Held[f.Oid][blk]
	w.Mu.Unlock()
	if !ok {
		return strings.TrimRight(string(data[:n]), "\x00"), "head"
	}
	require.LessOrEqual(w.t, rev, w.At[f], "%s #%d is pinned to a revision after the view", f.Oid, blk)
	old := OpenRandom(w.t, f.Path(w.s, "@"+rev.String()))
	defer old.Close()
	if n, err = unix.Pread(int(old.Fd()), data, blk*f.BlkSize); err != nil {
		w.t.Fatalf("read %s #%d @%s: %s", f.Oid, blk, rev, err)
	}
	return strings.TrimRight(string(data[:n]), "\x00"), "@" + rev.String()
}
