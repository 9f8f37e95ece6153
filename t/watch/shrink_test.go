package watch

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/t/harness"
	"golang.org/x/sys/unix"
	"lab.nexedi.com/kirr/neo/go/zodb"
)

// answers requires that f, which may wait in the kernel, returns soon: long before
// a client that does not answer is ended.
func answers(t testing.TB, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(6 * time.Second):
		t.Fatalf("not within 6 s: %s", what)
	}
}

// cut commits that the file ends with block n-1, and waits until head shows it.
func cut(sc *harness.Scene, n int64) zodb.Tid {
	sc.T.Helper()
	at := sc.Live.Commit(func(tx *harness.LiveTx) {
		for blk := n; blk < sc.File.Size(sc.Live.Head())/sc.File.BlkSize; blk++ {
			tx.Delete(sc.File, blk)
		}
	})
	sc.At = append(sc.At, at)
	waitPromptly(sc, at)
	return at
}

// waitPromptly is WaitAt that must not take long.
func waitPromptly(sc *harness.Scene, at zodb.Tid) {
	sc.T.Helper()
	start := time.Now()
	sc.Server.WaitAt(at)
	require.Less(sc.T, time.Since(start), 6*time.Second, "until head/at shows the transaction")
}

// requireSize requires that everybody is told the size of head promptly: who has the
// file open, as a client has when it handles a pin, and another process.
func requireSize(sc *harness.Scene, fd int, nblk int64) {
	sc.T.Helper()
	answers(sc.T, "fstat", func() {
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil || st.Size != nblk*sc.File.BlkSize {
			sc.T.Errorf("fstat: size %d, %v", st.Size, err)
		}
	})
	answers(sc.T, "stat in another process", func() {
		want := fmt.Sprint(nblk * sc.File.BlkSize)
		if got := harness.RunHelper(sc.T, "size", sc.File.Path(sc.Server, "head")); got != want {
			sc.T.Errorf("size %s; want %s", got, want)
		}
	})
}

// helperSize prints the size of a file. Argument: file.
func helperSize(args []string) error {
	var st unix.Stat_t
	err := harness.Uninterrupted(func() error { return unix.Stat(args[0], &st) })
	fmt.Print(st.Size)
	return err
}

// shrinkScene is a file of four blocks, of which a READ of the last waits for a
// client that does not answer. finish waits for the READ.
func shrinkScene(t *testing.T, procs int) (sc *harness.Scene, stuck *harness.Watcher, at1 zodb.Tid, finish func() string) {
	sc = harness.NewSceneOf(t, procs, 64<<10, "-pintimeout=25s")
	at1 = sc.Commit(0, 1, 2, 3)
	sc.Map(4)
	sc.Read(1)
	stuck = sc.ManualWatcher()
	stuck.Watch(sc.File, at1)
	good := sc.Watching(at1, harness.Pins{})
	sc.Commit(3)
	sc.Mapped.Helper.Tell("get 3")
	require.Equal(t, harness.WatchPin{Stream: 2, Oid: sc.File.Oid, Blk: 3, Rev: at1}, stuck.Pin())
	harness.Until(t, "the good client has acknowledged", func() bool { return sc.Server.Stats()["PinnedBlk"] == 1 })
	good.Expect(sc.File, harness.Pins{3: at1})
	sc.StillReading()
	return sc, stuck, at1, func() (text string) {
		answers(t, "the READ of what is not there any more", func() { text = <-sc.Mapped.Helper.Lines })
		return mustUnquote(t, text)
	}
}

// TestShrinkingWaitsForNoClient: a file becomes shorter while a READ of its last
// block waits for a client. Nobody else waits for that client, and it sees its view.
func TestShrinkingWaitsForNoClient(t *testing.T) {
	t.Parallel()
	harness.ForAllProcs(t, func(t *testing.T, procs int) {
		sc, stuck, at1, finish := shrinkScene(t, procs)
		fd, err := harness.OpenFile(sc.File.Path(sc.Server, "head"), unix.O_RDONLY)
		require.NoError(t, err)
		defer unix.Close(fd)
		at3 := cut(sc, 2)
		requireSize(sc, fd, 2)
		require.Contains(t, []string{"SIGBUS", ""}, finish(), "nothing, or the end")
		sc.Read(0, 1)
		sc.File.Check(sc.Server, "head", at3)
		good := sc.Watchers[1]
		good.Expect(sc.File, harness.Pins{2: at1}, "what the file has lost")
		good.Sees(sc.File)

		late := sc.Watcher() // that begins now to see what was
		late.Watch(sc.File, at1)
		late.Expect(sc.File, harness.Pins{2: at1, 3: at1})
		late.Sees(sc.File)

		stuck.Auto() // it is late, and sees what it has to
		harness.Until(t, "the late client has acknowledged", func() bool { return sc.Server.Stats()["PinnedBlk"] == 6 })
		stuck.Pinned(sc.File, harness.Pins{2: at1, 3: at1})
		sc.See()
		for _, w := range sc.Watchers {
			w.Watch(sc.File, at3)
			w.Pinned(sc.File, harness.Pins{})
		}
		sc.See()
		sc.End()
	})
}

// TestGrowthRightAfterShrinking, while the client still does not answer: who reads
// what is new waits for it, since it may see that; the size is told at once.
func TestGrowthRightAfterShrinking(t *testing.T) {
	t.Parallel()
	harness.ForAllProcs(t, func(t *testing.T, procs int) {
		sc, stuck, at1, finish := shrinkScene(t, procs)
		fd, err := harness.OpenFile(sc.File.Path(sc.Server, "head"), unix.O_RDONLY)
		require.NoError(t, err)
		defer unix.Close(fd)
		cut(sc, 2)
		at4 := sc.Live.Commit(func(tx *harness.LiveTx) {
			tx.Write(sc.File, 2, "c4")
			tx.Write(sc.File, 3, "d4")
			tx.Write(sc.File, 4, "e4")
		})
		waitPromptly(sc, at4)
		requireSize(sc, fd, 5)
		require.Contains(t, []string{"SIGBUS", "", "d4"}, finish())
		good := sc.Watchers[1]
		good.Sees(sc.File, 0, 1)
		good.Pinned(sc.File, harness.Pins{2: at1, 3: at1})

		wait := sc.StartRead(2)
		stuck.Barrier()
		stuck.Auto()
		wait()
		sc.Read(3)
		sc.See()
		for _, w := range sc.Watchers {
			w.Watch(sc.File, at4)
		}
		sc.See()
		sc.File.Check(sc.Server, "head", at4)
		sc.End()
	})
}

// TestClientThatNeverAnswersIsEndedAfterShrinking, and harms nobody.
func TestClientThatNeverAnswersIsEndedAfterShrinking(t *testing.T) {
	t.Parallel()
	sc := harness.NewSceneOf(t, 0, 64<<10, "-pintimeout="+pinTimeout.String())
	at1 := sc.Commit(0, 1, 2, 3)
	sc.Map(4)
	f := sc.Server.Faulty()
	sc.Open()
	f.Watching(sc.File, at1)
	good := sc.Watching(at1, harness.Pins{})
	sc.Commit(3)
	f.Started = time.Now()
	sc.Mapped.Helper.Tell("get 3")
	pin := harness.WatchPin{Stream: 2, Oid: sc.File.Oid, Blk: 3, Rev: at1}
	require.Equal(t, message(pin), f.Read())
	at3 := cut(sc, 2)
	answers(t, "the READ of what is not there any more", func() { <-sc.Mapped.Helper.Lines })
	require.Less(t, time.Since(f.Started), pinTimeout)
	f.RequireAlive()
	harness.Until(t, "the client has ended", func() bool { return harness.HasEnded(f.Pid) })
	require.Less(t, time.Since(f.Started), 2*pinTimeout)
	requireOneLinkLess(sc)
	good.Expect(sc.File, harness.Pins{2: at1, 3: at1})
	good.Sees(sc.File)
	sc.File.Check(sc.Server, "head", at3)
	afterwards(sc)
}

// TestClientThatMapsWhatTheFileLosesSeesItsView: it maps head, gets no SIGBUS where
// that ends now, and sees its view, whether it has touched that before or not; also
// one that comes later.
func TestClientThatMapsWhatTheFileLosesSeesItsView(t *testing.T) {
	t.Parallel()
	harness.ForAllProcs(t, func(t *testing.T, procs int) {
		sc := harness.NewSceneOf(t, procs, 64<<10)
		at1 := sc.Commit(0, 1, 2, 3)
		c := isolated(sc, 4)
		require.Equal(t, "ok", c.Ask("watch "+at1.String()))
		require.Equal(t, `"c1"`, c.Ask("get 2")) // and not 3
		require.Equal(t, harness.Pins{}.String(), c.Ask("pins"))
		at2 := cut(sc, 2)
		harness.Until(t, "the client has acknowledged", func() bool { return sc.Server.Stats()["PinnedBlk"] == 2 })
		seesView := func(c *harness.Helper) {
			t.Helper()
			for blk, want := range []string{"a1", "b1", "c1", "d1"} {
				require.Equal(t, fmt.Sprintf("%q", want), c.Ask(fmt.Sprintf("get %d", blk)))
			}
			require.Equal(t, harness.Pins{2: at1, 3: at1}.String(), c.Ask("pins"))
		}
		seesView(c)
		d := isolated(sc, 4)
		require.Equal(t, "ok", d.Ask("watch "+at1.String()))
		seesView(d)
		for _, c := range []*harness.Helper{c, d} {
			require.Equal(t, "ok", c.Ask("watch "+at2.String()))
			require.Equal(t, harness.Pins{2: harness.ToHead, 3: harness.ToHead}.String(), c.Ask("pins"))
			require.Equal(t, `"b1"`, c.Ask("get 1"))
			require.Contains(t, []string{`"SIGBUS"`, `""`}, c.Ask("get 3"), "behind the end")
		}
		at3 := sc.Commit(3)
		sc.Open()
		require.Contains(t, []string{`"SIGBUS"`, `""`}, c.Ask("get 3"), "still behind the end of its view")
		require.Equal(t, "ok", d.Ask("watch "+at3.String()))
		require.Equal(t, `"d3"`, d.Ask("get 3"))
		require.Zero(t, c.Wait())
		require.Zero(t, d.Wait())
		sc.Server.RequireNoLinks()
		require.Zero(t, sc.Server.Stats()["pinkill"])
	})
}
