package t

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

// watcher is a watch link of this process in a test: a good client that sees
// some files at some views.
type watcher struct {
	*watchLink
	t  testing.TB
	s  *Server
	at map[*LiveFile]zodb.Tid // of what is watched
}

// watcher opens a link that acknowledges pins at once. It says bye in the end.
func (s *Server) watcher() *watcher { return s.newWatcher(true) }

// manualWatcher is watcher for tests that acknowledge pins themselves.
func (s *Server) manualWatcher() *watcher { return s.newWatcher(false) }

func (s *Server) newWatcher(auto bool) *watcher {
	s.t.Helper()
	l, err := openWatchLink(s.Path("head/watch"), auto)
	require.NoError(s.t, err)
	w := &watcher{l, s.t, s, make(map[*LiveFile]zodb.Tid)}
	s.t.Cleanup(func() { w.Close() })
	return w
}

// Close says bye, unless the link is down already. It may be called again.
func (w *watcher) Close() {
	if w.fd >= 0 && w.bye() != nil {
		w.close()
	}
	w.fd = -1
}

// Watch sets the watch of f up, or moves it. That must succeed.
func (w *watcher) Watch(f *LiveFile, at zodb.Tid) {
	w.t.Helper()
	require.Equal(w.t, "ok", w.Ask(watchRequest(f.Oid, at)), "watch %s @%s", f.Oid, at)
	w.at[f] = at
}

// Unwatch removes the watch of f.
func (w *watcher) Unwatch(f *LiveFile) {
	w.t.Helper()
	require.Equal(w.t, "ok", w.Ask("watch "+f.Oid.String()+" -"))
	delete(w.at, f)
	w.forget(f)
}

// forget forgets what is pinned of f: the server does so, too.
func (w *watcher) forget(f *LiveFile) { w.change(func() { delete(w.pinned, f.Oid) }) }

func (w *watcher) Ask(msg string) string {
	w.t.Helper()
	reply, err := w.ask(msg)
	require.NoError(w.t, err, msg)
	return reply
}

// Send sends a request whose reply is waited for later.
func (w *watcher) Send(msg string) (stream uint64) {
	w.t.Helper()
	stream, err := w.send(msg)
	require.NoError(w.t, err, msg)
	return stream
}

func (w *watcher) Reply(stream uint64) string {
	w.t.Helper()
	msg, err := w.reply(stream)
	require.NoError(w.t, err)
	return msg
}

// Barrier returns when all that the server has said so far was received.
func (w *watcher) Barrier() {
	w.t.Helper()
	require.Equal(w.t, `error bad watch: not a watch request: "barrier"`, w.Ask("barrier"))
}

// Pin waits for the next pin that is not acknowledged.
func (w *watcher) Pin() (p watchPin) {
	w.t.Helper()
	require.NoError(w.t, w.await(func() bool {
		if len(w.queue) > 0 {
			p = w.queue[0]
		}
		return len(w.queue) > 0
	}))
	return p
}

// Ack acknowledges p.
func (w *watcher) Ack(p watchPin) {
	w.t.Helper()
	require.NoError(w.t, w.ack(p))
}

// Auto acknowledges what was not, and from now on pins as they come.
func (w *watcher) Auto() {
	w.t.Helper()
	var left []watchPin
	w.change(func() {
		w.auto = true
		left = slices.Clone(w.queue)
	})
	for _, p := range left {
		w.Ack(p)
	}
}

// pins is blocks with what they are pinned to.
type pins map[int64]zodb.Tid

func (p pins) String() string {
	var text []string
	for _, blk := range slices.Sorted(maps.Keys(p)) {
		rev := p[blk].String()
		if p[blk] == toHead {
			rev = "head"
		}
		text = append(text, fmt.Sprintf("#%d@%s", blk, rev))
	}
	return "{" + strings.Join(text, " ") + "}"
}

// Expect requires that since the last time exactly these pins were received for
// f, each once, and for other files none.
func (w *watcher) Expect(f *LiveFile, want pins, what ...any) {
	w.t.Helper()
	w.ExpectAll(map[*LiveFile]pins{f: want}, what...)
}

// ExpectAll is Expect for several files.
func (w *watcher) ExpectAll(want map[*LiveFile]pins, what ...any) {
	w.t.Helper()
	w.Barrier()
	var seen []watchPin
	w.change(func() { seen, w.seen = w.seen, nil })
	got := make(map[zodb.Oid]pins)
	for _, p := range seen {
		if got[p.oid] == nil {
			got[p.oid] = pins{}
		}
		require.NotContains(w.t, got[p.oid], p.blk, "pinned twice: %v", seen)
		got[p.oid][p.blk] = p.rev
	}
	for f, expected := range want {
		require.Equal(w.t, expected.String(), got[f.Oid].String(), what...)
		delete(got, f.Oid)
	}
	require.Empty(w.t, got, what...)
}

// Pinned requires that f is pinned exactly so.
func (w *watcher) Pinned(f *LiveFile, want pins, what ...any) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	require.Equal(w.t, want.String(), pins(w.pinned[f.Oid]).String(), what...)
}

// Sees requires that the client sees these blocks of f as they are at its view:
// through what they are pinned to, else through head. All blocks if none are
// named; then head is read, and so pins may follow.
func (w *watcher) Sees(f *LiveFile, blks ...int64) {
	w.t.Helper()
	at := w.at[f]
	require.NotZero(w.t, at, "not watched")
	if blks == nil {
		for blk := range f.Size(at) / f.BlkSize {
			blks = append(blks, blk)
		}
	}
	head := openRandom(w.t, f.Path(w.s, "head"))
	defer head.Close()
	for _, blk := range blks {
		text, through := w.see(f, head, blk)
		if want := f.Text(blk, at); text != want {
			w.t.Fatalf("the client sees of %s #%d @%s, through %s: %.40q; want %.40q", f.Oid, blk, at, through, text, want)
		}
	}
}

// see returns what a client that watches f sees of a block. It reads head first
// as the page cache is filled first when a client touches the mapping.
func (w *watcher) see(f *LiveFile, head *os.File, blk int64) (text, through string) {
	w.t.Helper()
	data := make([]byte, f.BlkSize)
	n, err := unix.Pread(int(head.Fd()), data, blk*f.BlkSize)
	require.NoError(w.t, err)
	w.mu.Lock()
	rev, ok := w.pinned[f.Oid][blk]
	w.mu.Unlock()
	if !ok {
		return strings.TrimRight(string(data[:n]), "\x00"), "head"
	}
	require.LessOrEqual(w.t, rev, w.at[f], "%s #%d is pinned to a revision after the view", f.Oid, blk)
	old := openRandom(w.t, f.Path(w.s, "@"+rev.String()))
	defer old.Close()
	if n, err = unix.Pread(int(old.Fd()), data, blk*f.BlkSize); err != nil {
		w.t.Fatalf("read %s #%d @%s: %s", f.Oid, blk, rev, err)
	}
	return strings.TrimRight(string(data[:n]), "\x00"), "@" + rev.String()
}
