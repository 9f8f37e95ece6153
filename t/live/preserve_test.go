package live

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/t/harness"
	"golang.org/x/sys/unix"
	"lab.nexedi.com/kirr/neo/go/zodb"
)

// looker looks at the view of each commit of a file of small blocks, which are all
// in the page cache of head/ when they change. So all old content is preserved.
type looker struct {
	*harness.Live
	f       *harness.LiveFile
	s       *harness.Server
	m       *harness.Mapped
	zhead   *harness.ZHead
	nblk    int64
	changed int64 // blocks a commit
}

func newLooker(t testing.TB, nblk, changed int64) *looker {
	t.Helper()
	l := &looker{Live: harness.NewLive(t), nblk: nblk, changed: changed}
	l.f = l.NewFile(4096)
	l.Commit(func(tx *harness.LiveTx) {
		for blk := range nblk {
			tx.Write(l.f, blk, fmt.Sprint("first ", blk))
		}
	})
	l.s = l.Start()
	l.m = harness.Map(t, l.f.Path(l.s, "head"), 4096, nblk)
	l.m.Touch(nblk)
	l.zhead = harness.OpenZHead(l.s)
	t.Cleanup(l.zhead.Close)
	return l
}

// change commits, and returns the blocks that it changes. Half of them are those of
// the commit before.
func (l *looker) change(i int64) (tid zodb.Tid, first int64) {
	first = i * l.changed / 2 % l.nblk
	return l.Commit(func(tx *harness.LiveTx) {
		for j := range l.changed {
			tx.Write(l.f, (first+j)%l.nblk, fmt.Sprint(i, " ", j))
		}
	}), first
}

// look reads a block as of a view.
func (l *looker) look(at zodb.Tid, blk int64) {
	l.T.Helper()
	got := harness.ReadAt(l.T, l.f.Path(l.s, "@"+at.String()), blk*4096, 4096)
	require.Equal(l.T, l.f.Text(blk, at), strings.TrimRight(string(got), "\x00"), "#%d @%s", blk, at)
}

// round is a commit, a look at its view and one at an earlier, and a read of all
// that head/ shows.
func (l *looker) round(i int64) {
	l.T.Helper()
	tid, blk := l.change(i)
	l.zhead.Wait(tid)
	l.look(tid, blk)
	l.look(l.Tids[1+(i*i)%int64(len(l.Tids)-1)], (i*37)%l.nblk)
	l.m.Touch(l.nblk)
}

// TestCommitsDoNotPayForViewsThatWereLookedAt, however many these are: what a
// commit takes is what it changes.
func TestCommitsDoNotPayForViewsThatWereLookedAt(t *testing.T) {
	t.Parallel()
	const rounds, window = 300, 40
	l := newLooker(t, 1024, 64)
	// rounds from i on take so much processor time of the server, each; its
	// clock ticks every 10 ms.
	took := func(i int64) float64 {
		begin := l.s.Metrics()["process_cpu_seconds_total"]
		for j := range int64(window) {
			l.round(i + j)
		}
		return (l.s.Metrics()["process_cpu_seconds_total"] - begin + 0.01) / window
	}
	goroutines := l.s.Metrics()["go_goroutines"]
	few := took(0)
	for i := int64(window); i < rounds-window; i++ {
		l.round(i)
	}
	many := took(rounds - window)
	t.Logf("processor time of a round: %.1f ms, after %d views %.1f ms", few*1e3, rounds, many*1e3)
	require.Less(t, many, 5*few)
	require.Less(t, l.s.Metrics()["go_goroutines"], goroutines+50, "work piles up")
	require.Positive(t, l.s.Metrics()[`block_loads_total{source="preserved"}`])
	l.f.Check(l.s, "head", l.Head())
	for i := 1; i < len(l.Tids); i += 20 {
		l.f.Check(l.s, "@"+l.Tids[i].String(), l.Tids[i])
	}
	l.m.Close()
	l.s.Stop()
}

// TestServerEndsWhileMuchIsPreserved: what is to be done for past views does not
// hold it up.
func TestServerEndsWhileMuchIsPreserved(t *testing.T) {
	t.Parallel()
	l := newLooker(t, 1024, 128)
	for i := range int64(200) {
		l.round(i)
	}
	for i := range int64(40) {
		l.change(i) // nobody waits for what these do
	}
	l.zhead.Wait(l.Head())
	start := time.Now()
	l.s.Signal(unix.SIGTERM)
	require.Zero(t, l.s.WaitExit())
	t.Logf("it took %s", time.Since(start))
	require.Less(t, time.Since(start), 3*time.Second)
}

// TestOldContentIsLetGoWhenItsHistoryIs: a minute of the database later nobody can
// watch the views that see it.
func TestOldContentIsLetGoWhenItsHistoryIs(t *testing.T) {
	t.Parallel()
	l := newLooker(t, 64, 64)
	preserved := func() float64 { return l.s.Metrics()["preserved_bytes"] }
	at := l.Head()
	tid, _ := l.change(0)
	l.zhead.Wait(tid)
	require.EqualValues(t, 64*4096, preserved())
	l.look(at, 5)
	w := l.s.Watcher()
	w.Watch(l.f, at)
	later := func(d time.Duration) {
		t.Helper()
		tid = zodb.TidFromTime(tid.Time().Add(d))
		l.zhead.Wait(l.CommitAs(tid, func(tx *harness.LiveTx) { tx.NewTable() }))
	}
	later(59 * time.Second)
	require.EqualValues(t, 64*4096, preserved())
	later(5 * time.Second)
	require.EqualValues(t, 64*4096, preserved(), "there is a watch")
	w.Close()
	harness.Until(t, "the watch is gone", func() bool { return l.s.Stats()["Watch"] == 0 })
	later(time.Second)
	harness.Until(t, "it is let go", func() bool { return preserved() == 0 })
	l.f.Check(l.s, "@"+at.String(), at)
	l.m.Close()
	l.s.Stop()
}

// BenchmarkCommitByViews commits changes of small blocks, all of them cached, when
// so many views were looked at, one after each of the commits before.
func BenchmarkCommitByViews(b *testing.B) {
	for _, views := range []int64{1, 100, 1000} {
		b.Run(fmt.Sprint(views), func(b *testing.B) {
			l := newLooker(b, 1024, 64)
			for i := range views {
				tid, blk := l.change(i)
				l.zhead.Wait(tid)
				l.look(tid, blk)
				l.m.Touch(l.nblk)
			}
			var times []time.Duration
			for i := views; b.Loop(); i++ {
				times = append(times, l.zhead.Published(l.Live, func(tx *harness.LiveTx) {
					for j := range l.changed {
						tx.Write(l.f, (i*l.changed/2+j)%l.nblk, fmt.Sprint(i, " ", j))
					}
				}))
				l.look(l.Head(), i%l.nblk)
				l.m.Touch(l.nblk)
			}
			b.ReportMetric(0, "ns/op") // it has the preparations
			b.ReportMetric(float64(harness.Percentile(times, 0.5).Nanoseconds())/1e6, "p50-ms")
			b.ReportMetric(float64(harness.Percentile(times, 0.99).Nanoseconds())/1e6, "p99-ms")
			l.m.Close()
		})
	}
}
