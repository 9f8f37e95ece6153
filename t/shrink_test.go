package t

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
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
func (sc *scene) cut(n int64) zodb.Tid {
	sc.t.Helper()
	at := sc.l.Commit(func(tx *LiveTx) {
		for blk := n; blk < sc.f.Size(sc.l.Head())/sc.f.BlkSize; blk++ {
			tx.Delete(sc.f, blk)
		}
	})
	sc.at = append(sc.at, at)
	sc.waitPromptly(at)
	return at
}

// waitPromptly is WaitAt that must not take long.
func (sc *scene) waitPromptly(at zodb.Tid) {
	sc.t.Helper()
	start := time.Now()
	sc.s.WaitAt(at)
	require.Less(sc.t, time.Since(start), 6*time.Second, "until head/at shows the transaction")
}

// requireSize requires that everybody is told the size of head promptly: who has the
// file open, as a client has when it handles a pin, and another process.
func (sc *scene) requireSize(fd int, nblk int64) {
	sc.t.Helper()
	answers(sc.t, "fstat", func() {
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil || st.Size != nblk*sc.f.BlkSize {
			sc.t.Errorf("fstat: size %d, %v", st.Size, err)
		}
	})
	answers(sc.t, "stat in another process", func() {
		want := fmt.Sprint(nblk * sc.f.BlkSize)
		if got := runHelperProcess(sc.t, "size", sc.f.Path(sc.s, "head")); got != want {
			sc.t.Errorf("size %s; want %s", got, want)
		}
	})
}

func init() { helpers["size"] = helperSize }

// helperSize prints the size of a file. Argument: file.
func helperSize(args []string) error {
	var st unix.Stat_t
	err := uninterrupted(func() error { return unix.Stat(args[0], &st) })
	fmt.Print(st.Size)
	return err
}

// shrinkScene is a file of four blocks, of which a READ of the last waits for a
// client that does not answer. finish waits for the READ.
func shrinkScene(t *testing.T, procs int) (sc *scene, stuck *watcher, at1 zodb.Tid, finish func() string) {
	sc = newSceneOf(t, procs, 64<<10, "-pintimeout=25s")
	at1 = sc.commit(0, 1, 2, 3)
	sc.mapped(4)
	sc.read(1)
	stuck = sc.manualWatcher()
	stuck.Watch(sc.f, at1)
	good := sc.watching(at1, pins{})
	sc.commit(3)
	sc.m.h.Tell("get 3")
	require.Equal(t, watchPin{2, sc.f.Oid, 3, at1}, stuck.Pin())
	until(t, "the good client has acknowledged", func() bool { return sc.s.stats()["PinnedBlk"] == 1 })
	good.Expect(sc.f, pins{3: at1})
	sc.stillReading()
	return sc, stuck, at1, func() (text string) {
		answers(t, "the READ of what is not there any more", func() { text = <-sc.m.h.lines })
		return mustUnquote(t, text)
	}
}

// TestShrinkingWaitsForNoClient: a file becomes shorter while a READ of its last
// block waits for a client. Nobody else waits for that client, and it sees its view.
func TestShrinkingWaitsForNoClient(t *testing.T) {
	t.Parallel()
	forAllProcs(t, func(t *testing.T, procs int) {
		sc, stuck, at1, finish := shrinkScene(t, procs)
		fd, err := openFile(sc.f.Path(sc.s, "head"), unix.O_RDONLY)
		require.NoError(t, err)
		defer unix.Close(fd)
		at3 := sc.cut(2)
		sc.requireSize(fd, 2)
		require.Contains(t, []string{"SIGBUS", ""}, finish(), "nothing, or the end")
		sc.read(0, 1)
		sc.f.Check(sc.s, "head", at3)
		good := sc.watchers[1]
		good.Expect(sc.f, pins{2: at1}, "what the file has lost")
		good.Sees(sc.f)

		late := sc.watcher() // that begins now to see what was
		late.Watch(sc.f, at1)
		late.Expect(sc.f, pins{2: at1, 3: at1})
		late.Sees(sc.f)

		stuck.Auto() // it is late, and sees what it has to
		until(t, "the late client has acknowledged", func() bool { return sc.s.stats()["PinnedBlk"] == 6 })
		stuck.Pinned(sc.f, pins{2: at1, 3: at1})
		sc.see()
		for _, w := range sc.watchers {
			w.Watch(sc.f, at3)
			w.Pinned(sc.f, pins{})
		}
		sc.see()
		sc.end()
	})
}

// TestGrowthRightAfterShrinking, while the client still does not answer: who reads
// what is new waits for it, since it may see that; the size is told at once.
func TestGrowthRightAfterShrinking(t *testing.T) {
	t.Parallel()
	forAllProcs(t, func(t *testing.T, procs int) {
		sc, stuck, at1, finish := shrinkScene(t, procs)
		fd, err := openFile(sc.f.Path(sc.s, "head"), unix.O_RDONLY)
		require.NoError(t, err)
		defer unix.Close(fd)
		sc.cut(2)
		at4 := sc.l.Commit(func(tx *LiveTx) { tx.Write(sc.f, 2, "c4"); tx.Write(sc.f, 3, "d4"); tx.Write(sc.f, 4, "e4") })
		sc.waitPromptly(at4)
		sc.requireSize(fd, 5)
		require.Contains(t, []string{"SIGBUS", "", "d4"}, finish())
		good := sc.watchers[1]
		good.Sees(sc.f, 0, 1)
		good.Pinned(sc.f, pins{2: at1, 3: at1})

		wait := sc.startRead(2)
		stuck.Barrier()
		stuck.Auto()
		wait()
		sc.read(3)
		sc.see()
		for _, w := range sc.watchers {
			w.Watch(sc.f, at4)
		}
		sc.see()
		sc.f.Check(sc.s, "head", at4)
		sc.end()
	})
}

// TestClientThatNeverAnswersIsEndedAfterShrinking, and harms nobody.
func TestClientThatNeverAnswersIsEndedAfterShrinking(t *testing.T) {
	t.Parallel()
	sc := newSceneOf(t, 0, 64<<10, "-pintimeout="+pinTimeout.String())
	at1 := sc.commit(0, 1, 2, 3)
	sc.mapped(4)
	f := sc.s.faulty()
	sc.open()
	f.watching(sc.f, at1)
	good := sc.watching(at1, pins{})
	sc.commit(3)
	f.started = time.Now()
	sc.m.h.Tell("get 3")
	pin := watchPin{2, sc.f.Oid, 3, at1}
	require.Equal(t, pin.message(), f.Read())
	at3 := sc.cut(2)
	answers(t, "the READ of what is not there any more", func() { <-sc.m.h.lines })
	require.Less(t, time.Since(f.started), pinTimeout)
	f.requireAlive()
	until(t, "the client has ended", func() bool { return hasEnded(f.pid) })
	require.Less(t, time.Since(f.started), 2*pinTimeout)
	sc.requireOneLinkLess()
	good.Expect(sc.f, pins{2: at1, 3: at1})
	good.Sees(sc.f)
	sc.f.Check(sc.s, "head", at3)
	sc.afterwards()
}

// TestClientThatMapsWhatTheFileLosesSeesItsView: it maps head, gets no SIGBUS where
// that ends now, and sees its view, whether it has touched that before or not; also
// one that comes later.
func TestClientThatMapsWhatTheFileLosesSeesItsView(t *testing.T) {
	t.Parallel()
	forAllProcs(t, func(t *testing.T, procs int) {
		sc := newSceneOf(t, procs, 64<<10)
		at1 := sc.commit(0, 1, 2, 3)
		c := sc.isolated(4)
		require.Equal(t, "ok", c.Ask("watch "+at1.String()))
		require.Equal(t, `"c1"`, c.Ask("get 2")) // and not 3
		require.Equal(t, pins{}.String(), c.Ask("pins"))
		at2 := sc.cut(2)
		until(t, "the client has acknowledged", func() bool { return sc.s.stats()["PinnedBlk"] == 2 })
		seesView := func(c *Helper) {
			t.Helper()
			for blk, want := range []string{"a1", "b1", "c1", "d1"} {
				require.Equal(t, fmt.Sprintf("%q", want), c.Ask(fmt.Sprintf("get %d", blk)))
			}
			require.Equal(t, pins{2: at1, 3: at1}.String(), c.Ask("pins"))
		}
		seesView(c)
		d := sc.isolated(4)
		require.Equal(t, "ok", d.Ask("watch "+at1.String()))
		seesView(d)
		for _, c := range []*Helper{c, d} {
			require.Equal(t, "ok", c.Ask("watch "+at2.String()))
			require.Equal(t, pins{2: toHead, 3: toHead}.String(), c.Ask("pins"))
			require.Equal(t, `"b1"`, c.Ask("get 1"))
			require.Contains(t, []string{`"SIGBUS"`, `""`}, c.Ask("get 3"), "behind the end")
		}
		at3 := sc.commit(3)
		sc.open()
		require.Contains(t, []string{`"SIGBUS"`, `""`}, c.Ask("get 3"), "still behind the end of its view")
		require.Equal(t, "ok", d.Ask("watch "+at3.String()))
		require.Equal(t, `"d3"`, d.Ask("get 3"))
		require.Zero(t, c.Wait())
		require.Zero(t, d.Wait())
		sc.s.requireNoLinks()
		require.Zero(t, sc.s.stats()["pinkill"])
	})
}
