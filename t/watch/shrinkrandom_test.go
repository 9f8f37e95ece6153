package watch

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/t/harness"
	"golang.org/x/sys/unix"
)

// resizing is a file that becomes shorter and longer all the time.
type resizing struct {
	*harness.Scene
	rnd     *rand.Rand
	views   []*harness.Watcher
	longest atomic.Int64 // ns that somebody waited for a size
}

const resizingBlocks = 10

// step commits another size, and some changes.
func (sc *resizing) step() {
	sc.T.Helper()
	n := 1 + sc.rnd.Int64N(resizingBlocks)
	at := sc.Live.Commit(func(tx *harness.LiveTx) {
		for blk := range int64(resizingBlocks) {
			switch {
			case blk >= n:
				if tx.Blk(sc.File, blk) != 0 {
					tx.Delete(sc.File, blk)
				}
			case blk == n-1 || sc.rnd.IntN(4) == 0:
				tx.Write(sc.File, blk, fmt.Sprintf("#%d of %d", blk, sc.rnd.Int()))
			}
		}
	})
	waitPromptly(sc.Scene, at)
	if size := harness.Stat(sc.T, sc.File.Path(sc.Server, "head")).Size; size != sc.File.Size(at) {
		sc.T.Fatalf("size @%s is %d; want %d", at, size, sc.File.Size(at))
	}
}

// check requires that w sees a block as it is at its view. A client that was slow to
// take in what the file loses may have to wait for that.
func (sc *resizing) check(w *harness.Watcher, blk int64) {
	sc.T.Helper()
	at, text, through := w.At[sc.File], "", ""
	harness.Until(sc.T, fmt.Sprintf("the client sees block %d @%s", blk, at), func() bool {
		head := harness.OpenRandom(sc.T, sc.File.Path(sc.Server, "head"))
		defer head.Close()
		text, through = w.See(sc.File, head, blk)
		return text != "" || through != "head" || sc.File.Text(blk, at) == ""
	})
	if want := sc.File.Text(blk, at); text != want {
		sc.T.Fatalf("the client sees #%d @%s, through %s: %.40q; want %.40q", blk, at, through, text, want)
	}
}

// stats asks for the size until stop is closed.
func (sc *resizing) stats(stop <-chan struct{}) {
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		case <-time.After(time.Millisecond):
		}
		start := time.Now()
		var st unix.Stat_t
		_ = unix.Stat(sc.File.Path(sc.Server, "head"), &st)
		for took := int64(time.Since(start)); ; {
			if last := sc.longest.Load(); took <= last || sc.longest.CompareAndSwap(last, took) {
				break
			}
		}
	}
}

// strangers reads blocks until stop is closed: each is of its place, or not there.
func (sc *resizing) strangers(rnd *rand.Rand, stop <-chan struct{}) {
	fd, err := harness.OpenFile(sc.File.Path(sc.Server, "head"), unix.O_RDONLY)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	data := make([]byte, sc.File.BlkSize)
	for {
		select {
		case <-stop:
			return
		case <-time.After(time.Duration(rnd.IntN(1500)) * time.Microsecond):
		}
		blk := rnd.Int64N(resizingBlocks)
		if rnd.IntN(3) == 0 {
			_ = unix.Fadvise(fd, blk*sc.File.BlkSize, sc.File.BlkSize, unix.FADV_DONTNEED)
		}
		n, err := unix.Pread(fd, data, blk*sc.File.BlkSize)
		text := strings.TrimRight(string(data[:max(n, 0)]), "\x00")
		if err == nil && text != "" && !strings.HasPrefix(text, fmt.Sprintf("#%d of ", blk)) {
			sc.T.Errorf("block %d of head reads as %.40q", blk, text)
			return
		}
	}
}

// mapper touches the last blocks through a mapping, of a process that watches nothing.
func (sc *resizing) mapper() {
	sc.T.Helper()
	blk, at := sc.rnd.Int64N(resizingBlocks), sc.Live.Head()
	text := sc.Mapped.Block(blk)
	if want := sc.File.Text(blk, at); text != want && (text != "SIGBUS" || blk < sc.File.Size(at)/sc.File.BlkSize) {
		sc.T.Fatalf("block %d of head @%s, mapped: %.40q; want %.40q", blk, at, text, want)
	}
}

// move sets up or moves the watch of w, or removes it.
func (sc *resizing) move(w *harness.Watcher) {
	sc.T.Helper()
	at, watched := w.At[sc.File]
	if watched && sc.rnd.IntN(8) == 0 {
		w.Unwatch(sc.File)
		return
	}
	tids := sc.Live.Tids[2:]
	tids = tids[max(0, len(tids)-6):]
	if to := tids[sc.rnd.IntN(len(tids))]; to >= at {
		w.Watch(sc.File, to)
	}
}

// TestFileThatShrinksAndGrowsReadsRight has clients that watch, some of them slow,
// others that read, map and ask for the size, while the size changes all the time.
func TestFileThatShrinksAndGrowsReadsRight(t *testing.T) {
	t.Parallel()
	harness.ForAllProcs(t, func(t *testing.T, procs int) {
		seed := harness.NewSeed(t)
		sc := &resizing{Scene: harness.NewSceneOf(t, procs, 8<<10, "-pintimeout=20s"), rnd: rand.New(rand.NewPCG(seed, 0))}
		sc.step()
		sc.Map(resizingBlocks)
		stop := make(chan struct{})
		var others sync.WaitGroup
		defer others.Wait()
		defer close(stop)
		others.Go(func() { sc.stats(stop) })
		for i := range uint64(2) {
			others.Go(func() { sc.strangers(rand.New(rand.NewPCG(seed, i+1)), stop) })
		}
		others.Go(func() { openAndClose(sc.Server, sc.File.Oid, stop) })
		for i := range 4 {
			w := sc.Server.Watcher()
			if i == 0 {
				delays := rand.New(rand.NewPCG(seed, 9))
				w.OnPin = func(harness.WatchPin) error {
					time.Sleep(time.Duration(delays.IntN(40)) * time.Millisecond)
					return nil
				}
			}
			sc.views = append(sc.views, w)
		}
		steps := 0
		for start := time.Now(); time.Since(start) < 2*time.Second; {
			w := sc.views[sc.rnd.IntN(len(sc.views))]
			switch at, watched := w.At[sc.File]; {
			case sc.rnd.IntN(4) == 0:
				sc.step()
				steps++
			case !watched || sc.rnd.IntN(4) == 0:
				sc.move(w)
			case sc.rnd.IntN(5) == 0:
				sc.mapper()
			default:
				sc.check(w, sc.rnd.Int64N(max(1, sc.File.Size(at)/sc.File.BlkSize)))
			}
		}
		for _, w := range sc.views {
			for blk := range sc.File.Size(w.At[sc.File]) / sc.File.BlkSize {
				sc.check(w, blk)
			}
		}
		sc.File.Check(sc.Server, "head", sc.Live.Head())
		longest := time.Duration(sc.longest.Load())
		t.Logf("%d commits; the longest stat took %s", steps, longest)
		require.Less(t, longest, 5*time.Second)
		require.Zero(t, sc.Server.Stats()["pinkill"])
	})
}
