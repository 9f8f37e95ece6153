package live

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/t/harness"
	"golang.org/x/sys/unix"
	"lab.nexedi.com/kirr/neo/go/zodb"
)

// TestZHeadTellsEveryTransactionInOrder commits a thousand at once: with and
// without objects, seen and not seen by anybody.
func TestZHeadTellsEveryTransactionInOrder(t *testing.T) {
	t.Parallel()
	l := harness.NewLive(t)
	f := l.NewFile(4096)
	f.Commit(harness.Blocks{0: "a", 1: "b", 70: "z"})
	s := l.Start()
	path := f.Path(s, "head")
	require.Equal(t, "a", strings.TrimRight(string(harness.ReadAt(t, path, 0, 4096)), "\x00"))
	one, two := harness.OpenZHead(s), harness.OpenZHead(s)
	defer one.Close()
	require.Equal(t, statsText(1, 0, 2), harness.Content(t, s.Path(".wcfs/stats")))
	from := len(l.Tids)
	for i := range 1000 {
		switch i % 4 {
		case 0:
			l.Commit(func(*harness.LiveTx) {})
		case 1:
			f.Commit(harness.Blocks{0: fmt.Sprint(i)})
		case 2:
			f.Commit(harness.Blocks{70: fmt.Sprint(i)})
		case 3:
			l.Commit(func(tx *harness.LiveTx) { tx.NewFile(4096) })
		}
	}
	for _, tid := range l.Tids[from:] {
		require.Equal(t, tid.String(), one.Next())
		require.LessOrEqual(t, tid.String(), harness.Content(t, s.Path("head/at")), "it is published before it is told")
	}
	for _, tid := range l.Tids[from:] {
		require.Equal(t, tid.String(), two.Next())
	}
	require.Equal(t, l.Head().String(), harness.Content(t, s.Path("head/at")))
	f.Check(s, "head", l.Head())
	requireHeadTime(t, s, l.Head())

	two.Close()
	harness.Until(t, "the reader is forgotten", func() bool { return harness.Content(t, s.Path(".wcfs/stats")) == statsText(1, 0, 1) })
	late := harness.OpenZHead(s)
	defer late.Close()
	tid := l.Commit(func(*harness.LiveTx) {})
	require.Equal(t, tid.String(), late.Next(), "nothing from before the open")
	require.Equal(t, tid.String(), one.Next())
	require.Equal(t, l.Head().String(), harness.Content(t, s.Path("head/at")))
}

// requireHeadTime requires that head/ has the time of a transaction.
func requireHeadTime(t *testing.T, s *harness.Server, tid zodb.Tid) {
	t.Helper()
	st := harness.Stat(t, s.Path("head"))
	require.InDelta(t, tid.Time().UnixNano(), st.Mtim.Nano(), 1000, "mtime of head/, in ns")
}

// TestIdleReaderOfZHeadBlocksNobody: who does not read is dropped when he is too
// far behind, and told so by the end of the stream.
func TestIdleReaderOfZHeadBlocksNobody(t *testing.T) {
	t.Parallel()
	l := harness.NewLive(t)
	f := l.NewFile(4096)
	s := l.Start()
	idle, good := harness.OpenZHead(s), harness.OpenZHead(s)
	defer idle.Close()
	defer good.Close()
	from := len(l.Tids)
	const queue, commits = 1024, 1500
	for i := range commits {
		tid := f.Commit(harness.Blocks{int64(i % 3): fmt.Sprint(i)})
		require.Equal(t, tid.String(), good.Next())
	}
	require.Equal(t, l.Head().String(), harness.Content(t, s.Path("head/at")))
	f.Check(s, "head", l.Head())
	require.Equal(t, statsText(1, 0, 1), harness.Content(t, s.Path(".wcfs/stats")), "one is dropped")
	require.Contains(t, s.Log(), "a reader of zhead does not read")
	for i := range queue {
		require.Equal(t, l.Tids[from+i].String(), idle.Next(), "what was told before")
	}
	require.Empty(t, idle.Next())
	require.Empty(t, idle.Next())
}

// TestHeadAtNeverGoesBack reads head/at from several threads during commits.
func TestHeadAtNeverGoesBack(t *testing.T) {
	t.Parallel()
	l := harness.NewLive(t)
	f := l.NewFile(4096)
	s := l.Start()
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			last := ""
			for {
				at, err := os.ReadFile(s.Path("head/at"))
				if err != nil || len(at) != 16 || string(at) < last {
					t.Errorf("head/at shows %q after %q: %v", at, last, err)
					return
				}
				last = string(at)
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for i := range 500 {
		f.Commit(harness.Blocks{0: fmt.Sprint(i)})
	}
	s.WaitAt(l.Head())
	close(done)
	readers.Wait()
	require.Equal(t, l.Head().String(), harness.Content(t, s.Path("head/at")))
}

// TestUnrelatedCommitsKeepTheCache: neither commits to other files nor to other
// blocks nor without objects cost a page, nor a READ.
func TestUnrelatedCommitsKeepTheCache(t *testing.T) {
	t.Parallel()
	const size = 64 << 10
	l := harness.NewLive(t)
	f := l.NewFile(size)
	at0 := l.Head() // what is not read does not count for mtime
	other := l.NewFile(size)
	l.Commit(func(tx *harness.LiveTx) {
		for blk := range int64(100) { // several leaves
			tx.Write(f, blk, fmt.Sprint("f", blk))
		}
		tx.Write(other, 0, "o")
	})
	s := l.Start("-trace.fuse")
	zhead := harness.OpenZHead(s)
	defer zhead.Close()
	m := harness.Map(t, f.Path(s, "head"), size, 100)
	m.Touch(20)
	cache := strings.Repeat("1", 20) + strings.Repeat("0", 80)
	require.Equal(t, cache, m.Cache())
	other.Check(s, "head", l.Head())
	reads := Reads(s)
	fd, err := harness.OpenFile(f.Path(s, "head"), unix.O_RDONLY)
	require.NoError(t, err)
	defer unix.Close(fd)
	for i := range 30 {
		zhead.Wait(l.Commit(func(*harness.LiveTx) {}))
		zhead.Wait(other.Commit(harness.Blocks{int64(i): "x"}))
		zhead.Wait(l.Commit(func(tx *harness.LiveTx) { tx.NewFile(4096) }))
		require.Equal(t, cache, m.Cache())
		requireTime(t, fd, at0)
	}
	zhead.Wait(f.Commit(harness.Blocks{90: "not read", 110: "nor this, and the file grows"}))
	require.Equal(t, cache+strings.Repeat("0", 11), m.Cache()+strings.Repeat("0", 11))
	require.EqualValues(t, 111*size, harness.SizeOf(t, fd))
	m.Touch(20)
	require.Equal(t, reads, Reads(s), "READ requests for cached pages")
	m.Close()
	s.Stop()
}

// TestSizeIsRightOnceHeadAtShowsIt: through an open descriptor, by growth,
// sparse growth, shrinking, and growing again over what was cut off.
func TestSizeIsRightOnceHeadAtShowsIt(t *testing.T) {
	t.Parallel()
	const size = 16 << 10
	l := harness.NewLive(t)
	f := l.NewFile(size)
	s := l.Start()
	fd, err := harness.OpenFile(f.Path(s, "head"), unix.O_RDONLY)
	require.NoError(t, err)
	defer unix.Close(fd)
	zhead := harness.OpenZHead(s)
	defer zhead.Close()
	check := func(tid zodb.Tid) {
		t.Helper()
		zhead.Wait(tid)
		require.Equal(t, f.Size(tid), harness.SizeOf(t, fd))
		require.Equal(t, f.Size(tid), harness.Stat(t, f.Path(s, "head")).Size)
		if f.Size(tid) != f.Size(tid-1) { // else there was nothing to delete
			requireTime(t, fd, tid)
		}
		f.CheckFd(fd, tid)
	}
	for blk := range int64(130) { // leaves split on the way
		check(f.Commit(harness.Blocks{blk: fmt.Sprint("one more ", blk)}))
	}
	for _, blk := range []int64{200, 300, 500} { // with holes
		check(f.Commit(harness.Blocks{blk: fmt.Sprint("far ", blk)}))
	}
	for last := int64(500); last >= 0; last -= 37 {
		check(l.Commit(func(tx *harness.LiveTx) {
			for blk := last; blk > last-37 && blk >= 0; blk-- {
				tx.Delete(f, blk)
			}
		}))
	}
	require.Zero(t, f.Size(l.Head()))
	check(f.Commit(harness.Blocks{129: "what was there before is gone"}))
	for i, at := range l.Tids {
		if i%10 == 0 {
			f.Check(s, "@"+at.String(), at)
		}
	}
}

// TestDirectoryOperationsDuringCommitsHangNobody lists directories, tries to make
// some, and looks views up, while what is cached and mapped is committed. Each of
// them takes locks of the kernel that the server must not need.
func TestDirectoryOperationsDuringCommitsHangNobody(t *testing.T) {
	t.Parallel()
	const size, nblk = 64 << 10, 8
	l := harness.NewLive(t)
	f := l.NewFile(size)
	f.Commit(harness.Blocks{0: "a", nblk - 1: "z"})
	s := l.Start()
	zhead := harness.OpenZHead(s)
	defer zhead.Close()
	m := harness.Map(t, f.Path(s, "head"), size, nblk)
	at0 := l.Head()
	done := make(chan struct{})
	var wg sync.WaitGroup
	for _, op := range []func(i int) error{
		func(int) error { _, err := os.ReadDir(s.Dir); return err },
		func(int) error { _, err := os.ReadDir(s.Path("head/bigfile")); return err },
		func(int) error {
			if err := os.Mkdir(s.Path("@"+at0.String()+"x"), 0o755); err == nil {
				return fmt.Errorf("mkdir worked")
			}
			return nil
		},
		func(i int) error {
			view := "@" + (at0 + zodb.Tid(i%100)).String()
			_, err := os.ReadDir(s.Path(view))
			if err == nil {
				_, err = os.ReadFile(f.Path(s, view))
			}
			if errors.Is(err, os.ErrNotExist) { // beyond head
				err = nil
			}
			return err
		},
	} {
		wg.Go(func() {
			for i := 0; ; i++ {
				if err := op(i); err != nil {
					t.Error(err)
					return
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for i := range 200 {
		m.Touch(nblk)
		zhead.Wait(f.Commit(harness.Blocks{int64(i % nblk): fmt.Sprint(i)}))
	}
	close(done)
	wg.Wait()
	f.Check(s, "head", l.Head())
	m.Close()
	s.Stop()
}
