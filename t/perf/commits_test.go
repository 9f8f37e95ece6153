package perf

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/t/harness"
)

// idleWatches is how many watches there are of clients that do nothing.
const idleWatches = 50

// written is a served file of which blocks are committed again and again.
type written struct {
	*harness.Live
	file   *harness.LiveFile
	server *harness.Server
	zhead  *harness.ZHead
}

// newWritten has n blocks, which are small records: this is not about writing.
func newWritten(tb testing.TB, blksize, n int64) *written {
	tb.Helper()
	l := harness.NewLive(tb)
	w := &written{Live: l, file: l.NewFile(blksize)}
	l.Commit(w.write(0, n))
	w.server = harness.Launch(tb, harness.Config{Options: []string{"-debug"}, ZURL: l.ZURL, Limit: serverLimit})
	w.zhead = harness.OpenZHead(w.server)
	tb.Cleanup(w.zhead.Close)
	return w
}

// serverLimit is how long a server may live: the slowest machine needs no more.
const serverLimit = 20 * time.Minute

// write changes blocks.
func (w *written) write(first, n int64) func(tx *harness.LiveTx) {
	return func(tx *harness.LiveTx) {
		for blk := range n {
			tx.Write(w.file, first+blk, fmt.Sprint(len(w.Tids)))
		}
	}
}

// published commits n blocks and returns the time until head/at shows it. The model of the
// database forgets what was before.
func (w *written) published(first, n int64) time.Duration {
	took := w.zhead.Published(w.Live, w.write(first, n))
	w.Forget()
	return took
}

func (w *written) path() string { return w.file.Path(w.server, "head") }

// commits has the rows of commits of blocks that are cached, and mapped by a process. The
// yardstick is what the kernel needs to drop as many blocks that are in the same state.
func (t *Table) commits(b *testing.B, program string) {
	const most = 128
	w := newWritten(b, blkSize, most)
	y := startYardstick(b, program, most*blkSize)
	ours, theirs := harness.Map(b, w.path(), blkSize, most), harness.Map(b, y.path(), blkSize, most)
	rows := func(watches int) {
		for _, n := range []int64{1, 16, most} {
			name := fmt.Sprintf("commit, %d x 2 MiB, %d watches", n, watches)
			t.compare(b, Row{Name: name, Unit: "ms", Than: "invalidation", Target: ratioAtMost(1.3)},
				func() []float64 { ours.Touch(n); return in(time.Millisecond, w.published(0, n)) },
				func() []float64 { theirs.Touch(n); return in(time.Millisecond, y.inval(n, blkSize)) })
		}
	}
	for range 2 { // until the server keeps as much old content as it may
		ours.Touch(most)
		w.published(0, most)
	}
	rows(0)
	watchers := startWatchers(w.server, idleWatches)
	watchers.watch(w.file, w.Head())
	w.published(0, most)
	ours.Touch(most) // all pins are sent
	rows(idleWatches)
	watchers.end()
	ours.Close()
	theirs.Close()
	y.Stop()
}

// changed has the rows of reading blocks again that a commit has changed. The yardstick is
// the reading of the same blocks when they are cold and nobody watches.
func (t *Table) changed(b *testing.B) {
	const n = 16
	l := harness.NewLive(b)
	f := l.NewFile(blkSize)
	text, next := noise(), noise()
	change := func() {
		text, next = next, text // the same again would be no change
		for blk := range int64(n) {
			f.CommitChunks(blk, text)
		}
		l.Forget()
	}
	change()
	s, r := l.Start(), startReader(b)
	zhead := harness.OpenZHead(s)
	defer zhead.Close()
	path := f.Path(s, "head")
	look := func() []float64 { return in(time.Millisecond, r.read(byMmap, 1, n, path)) }
	again := func() []float64 {
		r.read(byMmap, 1, n, path)
		change()
		zhead.Wait(l.Head())
		return look()
	}
	cold := func() []float64 { r.drop(path); return look() }
	name := fmt.Sprintf("%d changed ZBlk1 again, %%d watches", n)
	t.compare(b, Row{Name: fmt.Sprintf(name, 0), Unit: "ms", Than: "cold", Target: ratioAtMost(1.2)}, again, cold)
	watchers := startWatchers(s, idleWatches)
	pins := 0
	watched := func() []float64 {
		r.read(byMmap, 1, n, path)
		_, before := watchers.watch(f, l.Head())
		took := again()
		_, pins = watchers.watch(f, l.Head())
		require.Equal(b, 2*n*idleWatches, pins-before, "pins of this round, and back")
		return took
	}
	t.compare(b, Row{Name: fmt.Sprintf(name, idleWatches), Unit: "ms", Than: "cold", Target: ratioAtMost(1.5)}, watched, cold)
	watchers.end()
	r.Kill()
}
