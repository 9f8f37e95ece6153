package watch

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/t/harness"
	"golang.org/x/sys/unix"
	"lab.nexedi.com/kirr/neo/go/zodb"
)

// TestSharedBlocksAreSeenAtEveryView: a ZBlk that is part of several
// blocks and files, that moves between them, and that changes.
func TestSharedBlocksAreSeenAtEveryView(t *testing.T) {
	t.Parallel()
	sc := harness.NewSceneOf(t, 0, 64<<10)
	var file2 *harness.LiveFile
	made := sc.Live.Commit(func(tx *harness.LiveTx) { file2 = tx.NewFile(64 << 10) })
	files := []*harness.LiveFile{sc.File, file2}
	commit := func(change func(tx *harness.LiveTx)) {
		at := sc.Live.Commit(change)
		sc.Server.WaitAt(at)
		for _, f := range files {
			harness.Stat(t, f.Path(sc.Server, "head"))
		}
		w := sc.Watcher()
		for _, f := range files {
			w.Watch(f, at)
		}
	}
	var z, y zodb.Oid
	commit(func(tx *harness.LiveTx) {
		tx.Write(sc.File, 0, "z1")
		tx.Write(file2, 3, "y1")
		z, y = tx.Blk(sc.File, 0), tx.Blk(file2, 3)
	})
	commit(func(tx *harness.LiveTx) { tx.Link(sc.File, 2, z) })                                 // twice in a file
	commit(func(tx *harness.LiveTx) { tx.Link(file2, 0, z) })                                   // and in another
	commit(func(tx *harness.LiveTx) { tx.Write(sc.File, 0, "z2") })                             // changes all three
	commit(func(tx *harness.LiveTx) { tx.Delete(sc.File, 0); tx.Link(sc.File, 1, z) })          // moves
	commit(func(tx *harness.LiveTx) { tx.Link(sc.File, 2, y); tx.Link(file2, 3, z) })           // swapped between files
	commit(func(tx *harness.LiveTx) { tx.Write(sc.File, 2, "y2"); tx.Write(sc.File, 1, "z3") }) // both change
	commit(func(tx *harness.LiveTx) { tx.Link(sc.File, 0, z); tx.Write(sc.File, 0, "z4") })     // moves and changes
	commit(func(tx *harness.LiveTx) { tx.Delete(file2, 0); tx.Link(file2, 0, y) })              // another in its place
	commit(func(tx *harness.LiveTx) { tx.Delete(sc.File, 1); tx.Write(file2, 0, "y3") })        // and that changes
	for i := range sc.Watchers {                                                                // the oldest reads first: then the newest
		sc.Watchers[i].Sees(sc.File)
		sc.Watchers[len(sc.Watchers)-1-i].Sees(file2)
	}
	for _, w := range sc.Watchers {
		require.NotContains(t, w.Held[sc.File.Oid], int64(3))
		for _, f := range files {
			w.Watch(f, sc.Live.Head())
			w.Pinned(f, harness.Pins{})
			w.Sees(f)
		}
	}
	require.Greater(t, sc.Live.Head(), made)
	sc.End()
}

// TestEmptiedBlockIsPinned: a ZBlk1 whose chunks are all removed is
// a change, though only its own record tells.
func TestEmptiedBlockIsPinned(t *testing.T) {
	t.Parallel()
	sc := harness.NewSceneOf(t, 0, 64<<10)
	chunks := func(data string) zodb.Tid {
		at := sc.File.CommitChunks(1, data)
		sc.At = append(sc.At, at)
		sc.Server.WaitAt(at)
		return at
	}
	at1 := chunks("data")
	at2 := chunks("")
	sc.Map(2)
	w := sc.Watching(at1, harness.Pins{})
	sc.Read(0, 1)
	w.Expect(sc.File, harness.Pins{1: at1})
	w.Sees(sc.File)
	chunks("again")
	w2 := sc.Watching(at2, harness.Pins{1: at2})
	w2.Sees(sc.File)
	chunks("")
	sc.Read(1)
	sc.None()
	sc.Watching(at1, harness.Pins{1: at1}).Sees(sc.File)
	sc.See()
	sc.End()
}

// TestRequestsOfOneFileFollowEachOther: a client sends requests without
// waiting for replies.
func TestRequestsOfOneFileFollowEachOther(t *testing.T) {
	t.Parallel()
	sc := harness.NewSceneOf(t, 0, 64<<10)
	for range 6 {
		sc.Commit(0, 1, 2, 3)
	}
	sc.Map(4)
	sc.Read(0, 1, 2, 3)
	w := sc.ManualWatcher()
	var requests []uint64
	for _, at := range sc.At[1:] {
		requests = append(requests, w.Send(harness.WatchRequest(sc.File.Oid, at)))
	}
	back := w.Send(harness.WatchRequest(sc.File.Oid, sc.At[1]))
	remove := w.Send("watch " + sc.File.Oid.String() + " -")
	again := w.Send(harness.WatchRequest(sc.File.Oid, sc.At[3]))
	w.Pin()
	w.Barrier()
	require.Empty(t, w.Replies, "nothing is acknowledged")
	w.Auto()
	for _, r := range requests {
		require.Equal(t, "ok", w.Reply(r))
	}
	require.Contains(t, w.Reply(back), "going back in history is forbidden")
	require.Equal(t, "ok", w.Reply(remove))
	require.Equal(t, "ok", w.Reply(again))
	w.At[sc.File] = sc.At[3]
	w.Sees(sc.File)
	sc.End()
}

// TestInterruptedReadLeavesItsPins: the reader is sent signals, and then
// killed, while it waits. The pin goes on, and nobody else is killed.
func TestInterruptedReadLeavesItsPins(t *testing.T) {
	t.Parallel()
	sc := harness.NewSceneOf(t, 0, 64<<10)
	at1 := sc.Commit(0, 1, 2)
	w := sc.ManualWatcher()
	sc.Open()
	w.Watch(sc.File, at1)
	sc.Commit(0, 1)
	readers := make([]*harness.Helper, 2)
	threads := make([]int, 2)
	for i := range readers {
		h := harness.StartHelper(t, "fault", sc.File.Path(sc.Server, "head"), fmt.Sprint(2*sc.File.BlkSize))
		_, err := fmt.Sscan(h.Line(), &threads[i])
		require.NoError(t, err)
		h.Tell(fmt.Sprint(int64(i) * sc.File.BlkSize))
		readers[i] = h
	}
	byBlk := map[int64]harness.WatchPin{}
	for len(byBlk) < 2 {
		w.Change(func() {
			for _, p := range w.Queue {
				byBlk[p.Blk] = p
			}
		})
	}
	for i := range readers {
		for range 10 {
			require.NoError(t, unix.Tgkill(readers[i].Cmd.Process.Pid, threads[i], unix.SIGUSR1))
		}
	}
	require.NoError(t, readers[1].Cmd.Process.Kill())
	w.Barrier()
	require.Equal(t, 2, w.NPins)
	w.Ack(byBlk[0])
	require.Equal(t, "ok", readers[0].Line())
	w.Ack(byBlk[1])
	requireEnded(t, readers[1])
	sc.Map(3)
	sc.Read(0, 1, 2)
	w.Auto()
	w.Expect(sc.File, harness.Pins{0: at1, 1: at1})
	w.Sees(sc.File)
	readers[0].Kill()
	readers[1].Kill()
	sc.End()
}

// TestCommitDoesNotWaitForParkedReads: a block that a READ is waiting for
// changes, again and again. head goes on, and the READ brings what is newest.
func TestCommitDoesNotWaitForParkedReads(t *testing.T) {
	t.Parallel()
	harness.ForAllProcs(t, func(t *testing.T, procs int) {
		sc := harness.NewSceneOf(t, procs, 64<<10)
		at1 := sc.Commit(0, 1)
		sc.Map(4)
		w := sc.ManualWatcher()
		w.Watch(sc.File, at1)
		sc.Commit(1)
		finish := sc.StartRead(1)
		p := w.Pin()
		for range 5 {
			start := time.Now()
			sc.Commit(0, 1, 3)
			require.Less(t, time.Since(start), 10*time.Second)
			sc.StillReading()
			require.Equal(t, "", readBlock(t, sc.File, sc.Server, 2), "a hole beside it")
		}
		w.Ack(p)
		finish()
		w.Expect(sc.File, harness.Pins{1: at1})
		w.Auto()
		w.Sees(sc.File)
		sc.File.Check(sc.Server, "head", sc.Live.Head())
		sc.End()
	})
}

// readBlock reads a block of head, without the zeros at its end.
func readBlock(t testing.TB, f *harness.LiveFile, s *harness.Server, blk int64) string {
	t.Helper()
	file := harness.OpenRandom(t, f.Path(s, "head"))
	defer file.Close()
	return strings.TrimRight(string(harness.Pread(t, file, blk*f.BlkSize, int(f.BlkSize))), "\x00")
}

// TestNoPinFollowsTheEndOfAWatch: the reply to the removal does not wait
// for the answer to a pin that is under way, and no pin follows it.
func TestNoPinFollowsTheEndOfAWatch(t *testing.T) {
	t.Parallel()
	sc := harness.NewSceneOf(t, 0, 64<<10)
	at1 := sc.Commit(0, 1)
	sc.Map(4)
	w := sc.ManualWatcher()
	w.Watch(sc.File, at1)
	sc.Commit(1)
	finish := sc.StartRead(1)
	p := w.Pin()
	w.Unwatch(sc.File)
	finish() // nobody waits for a client that does not want to be isolated
	sc.Read(0)
	w.Ack(p)
	w.Forget(sc.File)
	w.Expect(sc.File, harness.Pins{1: at1})

	// And at random.
	w.Auto()
	rnd := harness.NewRand(t)
	for range 50 {
		w.Watch(sc.File, sc.Live.Head())
		sc.Commit(0, 1, 2, 3)
		var readers sync.WaitGroup
		for blk := range int64(4) {
			delay := time.Duration(rnd.IntN(300)) * time.Microsecond
			readers.Go(func() {
				time.Sleep(delay)
				readBlock(t, sc.File, sc.Server, blk)
			})
		}
		time.Sleep(time.Duration(rnd.IntN(300)) * time.Microsecond)
		w.Unwatch(sc.File)
		n := w.NPins
		readers.Wait()
		w.Barrier()
		require.Equal(t, n, w.NPins, "pins came after the watch was removed")
	}
	sc.End()
}

// TestUnpinMayAskForAttributesDuringACommit: a client handles an
// un-pin with fstat, while transactions come.
func TestUnpinMayAskForAttributesDuringACommit(t *testing.T) {
	t.Parallel()
	harness.ForAllProcs(t, func(t *testing.T, procs int) {
		sc := harness.NewSceneOf(t, procs, 64<<10, "-pintimeout=10s")
		at1 := sc.Commit(0, 1)
		at2 := sc.Commit(1)
		c := isolated(sc, 4)
		require.Equal(t, "ok", c.Ask("watch "+at1.String()))
		require.Equal(t, `"b1"`, c.Ask("get 1"))
		require.Equal(t, "ok", c.Ask("fstat"))
		require.Equal(t, "ok", c.Ask("hold"))
		c.Tell("watch " + at2.String())
		harness.Until(t, "the un-pin is sent", func() bool { return sc.Server.Stats()["pin"] == 2 })
		for range 3 { // with attributes that the kernel has to ask for
			sc.Commit(1, 2)
			sc.Open()
			require.Equal(t, sc.File.Text(0, sc.Live.Head()), readBlock(t, sc.File, sc.Server, 0))
		}
		sc.Live.Commit(func(tx *harness.LiveTx) { tx.Write(sc.File, 3, "d") })
		c.Tell("go")
		answers := []string{c.Line(), c.Line()}
		require.Equal(t, []string{"ok", "ok"}, answers)
		sc.Server.WaitAt(sc.Live.Head())
		require.Zero(t, sc.Server.Stats()["pinkill"])
		c.Kill()
		sc.Server.RequireNoLinks()
	})
}

func TestServerEndsThoughAClientDoesNotReadItsLink(t *testing.T) {
	t.Parallel()
	sc := harness.NewSceneOf(t, 0, 64<<10)
	at1 := sc.Commit(0, 1)
	sc.Commit(0, 1)
	sc.Map(2)
	sc.Read(0, 1)
	f := sc.Server.Faulty()
	f.Write("1 " + harness.WatchRequest(sc.File.Oid, at1) + "\n")
	harness.Until(t, "pins are sent", func() bool { return sc.Server.Stats()["pin"] == 2 })
	f.Write("3 " + harness.WatchRequest(sc.File.Oid+7, 1<<63) + "\n")
	sc.Commit(1)
	h := harness.StartHelper(t, "hold", sc.File.Path(sc.Server, "head"))
	require.Equal(t, "ready", h.Line())
	sc.Server.Signal(os.Interrupt)
	require.Zero(t, sc.Server.WaitExit(), sc.Server.Log())
	require.Equal(t, "ENOTCONN", h.Ask("read 0 65536"))
	line := f.Read()
	for strings.Contains(line, "pin") {
		line = f.Read()
	}
	require.Contains(t, []string{"EOF", "ENOTCONN", "ECONNABORTED"}, line)
	require.NotContains(t, sc.Server.Log(), "client failed")
	f.RequireAlive()
}
