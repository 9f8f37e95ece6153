package live

import (
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/t/harness"
	"github.com/wcfs/wcfs/t/oracle"
	"golang.org/x/sys/unix"
	"lab.nexedi.com/kirr/neo/go/zodb"
)

// TestOldContentIsThereWithoutTheDatabase: a client that is still at the view
// before a commit gets what was cached then from memory, at whatever view up to
// the commit. Of several generations too, and of holes.
func TestOldContentIsThereWithoutTheDatabase(t *testing.T) {
	t.Parallel()
	for _, size := range []int64{256 << 10, harness.BlkSize, 6 << 20} {
		l := harness.NewLive(t)
		f, other := l.NewFile(size), l.NewFile(4096)
		big := func(text string) string { return strings.Repeat(text+"+", int(size)/(len(text)+1)) }
		f.Commit(harness.Blocks{0: big("a1"), 2: big("c1")})
		s := l.Start()
		zhead := harness.OpenZHead(s)
		m := harness.Map(t, f.Path(s, "head"), size, 3)
		m.Touch(3)
		harness.Until(t, "all is cached", func() bool { return m.Cache() == "111" })
		first := l.Head()
		for i := range 3 {
			other.Commit(harness.Blocks{0: fmt.Sprint(i)})
			zhead.Wait(f.Commit(harness.Blocks{0: big(fmt.Sprint("a", i)), 1: big(fmt.Sprint("b", i))}))
			m.Touch(3)
			harness.Until(t, "all is cached", func() bool { return m.Cache() == "111" })
			other.Commit(harness.Blocks{0: fmt.Sprint(i, "again")})
		}
		zhead.Wait(f.Commit(harness.Blocks{0: "", 1: "", 2: ""}))
		require.Zero(t, views(s), "views that nobody has asked for")
		for _, tid := range l.Tids {
			if tid < first || tid == l.Head() {
				continue
			}
			for _, at := range []zodb.Tid{tid - 1, tid, tid + 1} {
				if at < first || at >= l.Head() {
					continue
				}
				before := BytesRead(s)
				f.Check(s, "@"+at.String(), at)
				require.Less(t, BytesRead(s)-before, size/4, "the database was read for @%s", at)
			}
		}
		f.Check(s, "head", l.Head())
		zhead.Close()
		m.Close()
		s.Stop()
	}
}

// TestViewBeyondHeadIsThereOnceItIs: not before, and then at once.
func TestViewBeyondHeadIsThereOnceItIs(t *testing.T) {
	t.Parallel()
	l := harness.NewLive(t)
	f := l.NewFile(4096)
	s := l.Start()
	zhead := harness.OpenZHead(s)
	defer zhead.Close()
	for i := range 200 {
		tid := l.Head() + 1<<20
		for _, view := range []zodb.Tid{l.Head() + 1, tid, tid + 1, zodb.TidMax} {
			var st unix.Stat_t
			err := harness.Uninterrupted(func() error { return unix.Lstat(s.Path("@"+view.String()), &st) })
			require.ErrorIs(t, err, unix.ENOENT)
		}
		l.CommitAs(tid, func(tx *harness.LiveTx) { tx.Write(f, int64(i%3), fmt.Sprint(i)) })
		require.Equal(t, tid.String(), zhead.Next())
		f.Check(s, "@"+tid.String(), tid)
		f.Check(s, "@"+(tid-1).String(), tid-1)
	}
}

// views returns how many @<tid> directories the server knows.
func views(s *harness.Server) int {
	s.T.Helper()
	n, err := strconv.Atoi(regexp.MustCompile(`RevHead\t: (\d+)`).FindStringSubmatch(harness.Content(s.T, s.Path(".wcfs/stats")))[1])
	require.NoError(s.T, err)
	return n
}

// forgetUnused makes the kernel forget what nobody uses of the mount, as it does
// when memory is short. A remount does just that, and to no other filesystem.
func forgetUnused(s *harness.Server) {
	s.T.Helper()
	var st unix.Statfs_t
	require.NoError(s.T, unix.Statfs(s.Dir, &st))
	flags := uintptr(unix.MS_REMOUNT) | uintptr(st.Flags)&(unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOATIME|unix.MS_RDONLY)
	require.NoError(s.T, unix.Mount("", s.Dir, "", flags, ""))
}

// TestViewsNobodyUsesAreLetGo looks thousands of views up, with files in them.
func TestViewsNobodyUsesAreLetGo(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can make the kernel forget")
	}
	t.Parallel()
	l := harness.NewLive(t)
	f := l.NewFile(4096)
	for i := range 50 {
		f.Commit(harness.Blocks{int64(i % 7): fmt.Sprint(i)})
	}
	s := l.Start()
	held, err := os.Open(f.Path(s, "@"+l.Tids[20].String()))
	require.NoError(t, err)
	defer held.Close()
	rnd := rand.New(rand.NewPCG(1, 1))
	const rounds, lookups = 4, 1500
	var sizes []int64
	for round := range rounds {
		for i := range lookups {
			at := l.Tids[5] + 1 + zodb.Tid(round*lookups+i)
			f.Check(s, "@"+at.String(), at)
		}
		require.GreaterOrEqual(t, views(s), 2, "round %d", round)
		forgetUnused(s)
		harness.Until(t, "the views are forgotten", func() bool { return views(s) == 1 })
		sizes = append(sizes, s.RSS())
		// A forgotten directory can be had again, and an open one was not
		// touched.
		at := l.Tids[5] + 1 + zodb.Tid(rnd.IntN(lookups))
		f.Check(s, "@"+at.String(), at)
		f.CheckFd(int(held.Fd()), l.Tids[20])
		f.Check(s, "head", l.Head())
		require.Contains(t, harness.List(t, s.Dir), "@"+l.Tids[20].String())
	}
	t.Logf("resident memory after each %d views: %d bytes", lookups, sizes)
	require.Less(t, sizes[rounds-1]-sizes[0], int64(24<<20), "memory grows with every view: %d", sizes)
	s.WaitAt(f.Commit(harness.Blocks{0: "goes on"}))
	f.Check(s, "head", l.Head())
}

// TestRandomHistoryReadsAsTheModelAtEveryView does everything that can be done to
// files while a server follows, and reads all files at random views all the
// time: transactions, the moments between them, and head.
func TestRandomHistoryReadsAsTheModelAtEveryView(t *testing.T) {
	t.Parallel()
	rnd := harness.NewRand(t)
	const size, nblk = 8 << 10, 200
	l := harness.NewLive(t)
	all := []*harness.LiveFile{l.NewFile(size), l.NewFile(size), l.NewFile(size)}
	s := l.Start()
	zhead := harness.OpenZHead(s)
	defer zhead.Close()
	text := func() string { return strings.Repeat(fmt.Sprint(rnd.Uint32()), rnd.IntN(800)) }
	for range 200 {
		f, g := all[rnd.IntN(3)], all[rnd.IntN(3)]
		hot := rnd.Int64N(nblk)
		if f.Size(l.Head()) < 0 || rnd.IntN(60) == 0 {
			l.Commit(func(tx *harness.LiveTx) { // made anew, or with an empty table
				tx.SetFile(f, size, tx.NewTable())
				tx.Write(f, 3, text())
			})
		} else if rnd.IntN(60) == 0 && *harness.LiveOn == "file" {
			l.Commit(func(tx *harness.LiveTx) { tx.DeleteFile(f) })
		} else if rnd.IntN(10) == 0 {
			f.CommitChunks(hot, text())
		} else {
			l.Commit(func(tx *harness.LiveTx) {
				for range rnd.IntN(12) {
					blk := rnd.Int64N(nblk)
					switch zblk := tx.Blk(f, blk); {
					case rnd.IntN(3) == 0:
						tx.Delete(f, blk)
					case zblk != 0 && g.Size(l.Head()) >= 0 && rnd.IntN(4) == 0 && !chunked(tx, zblk):
						tx.Link(g, rnd.Int64N(nblk), zblk)
					case zblk != 0 && chunked(tx, zblk):
					default:
						tx.Write(f, blk, text())
					}
				}
			})
		}
		zhead.Wait(l.Head())
		head := all[rnd.IntN(3)]
		head.Check(s, "head", l.Head())
		at := l.Tids[rnd.IntN(len(l.Tids))] + zodb.Tid(rnd.IntN(2)*rnd.IntN(1000))
		if at <= l.Head() {
			all[rnd.IntN(3)].Check(s, "@"+at.String(), at)
		}
	}
	for _, at := range l.Tids {
		all[rnd.IntN(3)].Check(s, "@"+at.String(), at)
	}
}

// chunked reports whether a block object is a ZBlk1.
func chunked(tx *harness.LiveTx, zblk zodb.Oid) bool {
	data, _, err := tx.Txn.Load(zblk)
	require.NoError(tx.L.T, err)
	return strings.Contains(string(data), "ZBlk1")
}

// TestInterruptedReaderTakesNobodyWith interrupts a page fault over and over
// while another process waits for the same block. The block is put together from
// thousands of chunks, which takes its time.
func TestInterruptedReaderTakesNobodyWith(t *testing.T) {
	t.Parallel()
	const size = 32 << 20
	l := harness.NewLive(t)
	f := l.NewFile(size)
	f.CommitChunks(0, strings.Repeat("chunk of data ", size/14))
	s := l.Start("-trace.fuse")
	interrupts := func() int { return strings.Count(s.Log(), ": INTERRUPT ") }
	for round := 0; interrupts() < 5; round++ {
		require.Less(t, round, 200, "there is no interrupt")
		victim := harness.StartHelper(t, "fault", f.Path(s, "head"), fmt.Sprint(size))
		innocent := harness.StartHelper(t, "fault", f.Path(s, "head"), fmt.Sprint(size))
		tid, err := strconv.Atoi(victim.Line())
		require.NoError(t, err)
		innocent.Line()
		victim.Tell("0")
		innocent.Tell(fmt.Sprint(4096 * (round % 2))) // the same page, or another one
		var done atomic.Bool
		interrupted := make(chan struct{})
		go func() {
			defer close(interrupted)
			for !done.Load() {
				_ = unix.Tgkill(victim.Cmd.Process.Pid, tid, unix.SIGUSR1)
			}
		}()
		answer := innocent.Line()
		if round%3 == 0 {
			victim.Kill()
		} else {
			require.NotEqual(t, "SIGBUS", victim.Line())
		}
		done.Store(true)
		<-interrupted
		require.Equal(t, "ok", answer)
		require.Zero(t, innocent.Wait())
		victim.Kill()
		dropFile(t, f.Path(s, "head"))
	}
	s.Stop()
}

// dropFile drops what the page cache has of a file.
func dropFile(t *testing.T, path string) {
	t.Helper()
	fd, err := harness.OpenFile(path, unix.O_RDONLY)
	require.NoError(t, err)
	defer unix.Close(fd)
	require.NoError(t, unix.Fadvise(fd, 0, 0, unix.FADV_DONTNEED))
}

// TestIdleViewsAreLetGo uses some views, and keeps a file of one open.
func TestIdleViewsAreLetGo(t *testing.T) {
	t.Parallel()
	db := oracle.Load(t, "topo")
	s := harness.Start(t, "topo", "-view-idle=1s")
	oid := db.Files["topo"].Oid.String()
	for _, txn := range db.Txns[5:] {
		harness.Stat(t, s.Path("@"+txn.Tid.String(), "bigfile", oid))
	}
	last := db.Txns[len(db.Txns)-1]
	open, err := harness.OpenFile(s.Path("@"+last.Tid.String(), "bigfile", oid), unix.O_RDONLY)
	require.NoError(t, err)
	harness.Until(t, "only the view in use is left", func() bool { return s.Stats()["RevHead"] == 1 })
	checkView(t, s, db, "@"+last.Tid.String(), last)
	checkView(t, s, db, "@"+db.Txns[6].Tid.String(), db.Txns[6]) // it comes back when it is wanted
	unix.Close(open)
	harness.Until(t, "nothing is left", func() bool { return s.Stats()["RevHead"] == 0 })
	s.Stop()
}
