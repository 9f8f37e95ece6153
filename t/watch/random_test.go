package watch

import (
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/t/harness"
	"golang.org/x/sys/unix"
	"lab.nexedi.com/kirr/neo/go/zodb"
)

// TestClientsSeeTheirViewsWhateverHappens has several clients set up, move and
// remove watches, and look at what they see, while others read at random, open
// and close links, drop pages, and transactions come.
func TestClientsSeeTheirViewsWhateverHappens(t *testing.T) {
	t.Parallel()
	harness.ForAllProcs(t, func(t *testing.T, procs int) {
		const nblk = 12
		seed := harness.NewSeed(t)
		rnd := rand.New(rand.NewPCG(seed, 0))
		sc := harness.NewSceneOf(t, procs, 8<<10)
		file2 := sc.Live.NewFile(8 << 10)
		files := []*harness.LiveFile{sc.File, file2}
		commit := func() { commitAtRandom(sc, files, rnd, nblk) }
		commit()
		for _, f := range files {
			harness.Stat(t, f.Path(sc.Server, "head"))
		}
		stop := make(chan struct{})
		var others sync.WaitGroup
		defer others.Wait()
		defer close(stop)
		for i := range 3 {
			others.Go(func() { disturb(sc.Server, files[i%2], rand.New(rand.NewPCG(seed, uint64(i+1))), nblk, stop) })
		}
		others.Go(func() { openAndClose(sc.Server, files[0].Oid, stop) })

		var views [6]*harness.Watcher
		for i := range views {
			views[i] = sc.Watcher()
		}
		for start := time.Now(); time.Since(start) < 1500*time.Millisecond; {
			w, f := views[rnd.IntN(len(views))], files[rnd.IntN(2)]
			switch at, watched := w.At[f]; {
			case rnd.IntN(4) == 0:
				commit()
			case !watched || rnd.IntN(5) == 0:
				first := 0
				for sc.Live.Tids[first] < max(at, sc.Live.Tids[3]) {
					first++
				}
				w.Watch(f, sc.Live.Tids[first+rnd.IntN(len(sc.Live.Tids)-first)])
			case rnd.IntN(10) == 0:
				w.Unwatch(f)
			default:
				w.Sees(f, rnd.Int64N(nblk), rnd.Int64N(nblk))
			}
		}
		for _, w := range views {
			for f := range w.At {
				w.Sees(f)
			}
		}
		require.Zero(t, sc.Server.Stats()["pinkill"])
	})
}

// commitAtRandom changes some blocks of all files, and always the last one.
func commitAtRandom(sc *harness.Scene, files []*harness.LiveFile, rnd *rand.Rand, nblk int64) {
	at := sc.Live.Commit(func(tx *harness.LiveTx) {
		for _, f := range files {
			for range 1 + rnd.IntN(4) {
				blk := rnd.Int64N(nblk)
				switch rnd.IntN(6) {
				case 0:
					tx.Delete(f, blk)
				case 1:
					if z := tx.Blk(f, rnd.Int64N(nblk)); z != 0 {
						tx.Link(f, blk, z)
					}
				default:
					tx.Write(f, blk, fmt.Sprintf("%s #%d of %d", f.Oid, blk, rnd.Int()))
				}
			}
			tx.Write(f, nblk-1, fmt.Sprint("last ", rnd.Int()))
		}
	})
	sc.Server.WaitAt(at)
}

// disturb reads blocks and drops pages until stop is closed.
func disturb(s *harness.Server, f *harness.LiveFile, rnd *rand.Rand, nblk int64, stop <-chan struct{}) {
	fd, err := harness.OpenFile(f.Path(s, "head"), unix.O_RDONLY)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	_ = unix.Fadvise(fd, 0, 0, unix.FADV_RANDOM)
	buf := make([]byte, f.BlkSize)
	for {
		select {
		case <-stop:
			return
		case <-time.After(time.Duration(rnd.IntN(2000)) * time.Microsecond):
		}
		off := rnd.Int64N(nblk) * f.BlkSize
		if rnd.IntN(3) == 0 {
			_ = unix.Fadvise(fd, off, f.BlkSize, unix.FADV_DONTNEED)
		}
		_, _ = unix.Pread(fd, buf[:1+rnd.IntN(len(buf))], off)
	}
}

// openAndClose opens links, watches, and ends them in the middle, until stop is
// closed.
func openAndClose(s *harness.Server, oid zodb.Oid, stop <-chan struct{}) {
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		case <-time.After(time.Millisecond):
		}
		l, err := harness.OpenWatchLink(s.Path("head/watch"), true)
		if err != nil {
			continue
		}
		at, _ := os.ReadFile(s.Path("head/at"))
		request, _ := l.TrySend(fmt.Sprintf("watch %s @%s", oid, at))
		if i%2 == 0 {
			_, _ = l.TryReply(request)
		}
		if l.Bye() != nil {
			l.Drop()
		}
	}
}
