package t

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"lab.nexedi.com/kirr/neo/go/zodb"
)

// TestSharedBlocksAreSeenAtEveryView is G1: a ZBlk that is part of several
// blocks and files, that moves between them, and that changes.
func TestSharedBlocksAreSeenAtEveryView(t *testing.T) {
	t.Parallel()
	sc := newSceneOf(t, 0, 64<<10)
	var file2 *LiveFile
	made := sc.l.Commit(func(tx *LiveTx) { file2 = tx.NewFile(64 << 10) })
	files := []*LiveFile{sc.f, file2}
	commit := func(change func(tx *LiveTx)) {
		at := sc.l.Commit(change)
		sc.s.WaitAt(at)
		for _, f := range files {
			stat(t, f.Path(sc.s, "head"))
		}
		w := sc.watcher()
		for _, f := range files {
			w.Watch(f, at)
		}
	}
	var z, y zodb.Oid
	commit(func(tx *LiveTx) {
		tx.Write(sc.f, 0, "z1")
		tx.Write(file2, 3, "y1")
		z, y = tx.Blk(sc.f, 0), tx.Blk(file2, 3)
	})
	commit(func(tx *LiveTx) { tx.Link(sc.f, 2, z) })                              // twice in a file
	commit(func(tx *LiveTx) { tx.Link(file2, 0, z) })                             // and in another
	commit(func(tx *LiveTx) { tx.Write(sc.f, 0, "z2") })                          // changes all three
	commit(func(tx *LiveTx) { tx.Delete(sc.f, 0); tx.Link(sc.f, 1, z) })          // moves
	commit(func(tx *LiveTx) { tx.Link(sc.f, 2, y); tx.Link(file2, 3, z) })        // swapped between files
	commit(func(tx *LiveTx) { tx.Write(sc.f, 2, "y2"); tx.Write(sc.f, 1, "z3") }) // both change
	commit(func(tx *LiveTx) { tx.Link(sc.f, 0, z); tx.Write(sc.f, 0, "z4") })     // moves and changes
	commit(func(tx *LiveTx) { tx.Delete(file2, 0); tx.Link(file2, 0, y) })        // another in its place
	commit(func(tx *LiveTx) { tx.Delete(sc.f, 1); tx.Write(file2, 0, "y3") })     // and that changes
	for i := range sc.watchers {                                                  // the oldest reads first: then the newest
		sc.watchers[i].Sees(sc.f)
		sc.watchers[len(sc.watchers)-1-i].Sees(file2)
	}
	for _, w := range sc.watchers {
		require.NotContains(t, w.pinned[sc.f.Oid], int64(3))
		for _, f := range files {
			w.Watch(f, sc.l.Head())
			w.Pinned(f, pins{})
			w.Sees(f)
		}
	}
	require.Greater(t, sc.l.Head(), made)
	sc.end()
}

// TestEmptiedBlockIsPinned is G14 (D2): a ZBlk1 whose chunks are all removed is
// a change, though only its own record tells.
func TestEmptiedBlockIsPinned(t *testing.T) {
	t.Parallel()
	sc := newSceneOf(t, 0, 64<<10)
	chunks := func(data string) zodb.Tid {
		at := sc.f.CommitChunks(1, data)
		sc.at = append(sc.at, at)
		sc.s.WaitAt(at)
		return at
	}
	at1 := chunks("data")
	at2 := chunks("")
	sc.mapped(2)
	w := sc.watching(at1, pins{})
	sc.read(0, 1)
	w.Expect(sc.f, pins{1: at1})
	w.Sees(sc.f)
	chunks("again")
	w2 := sc.watching(at2, pins{1: at2})
	w2.Sees(sc.f)
	chunks("")
	sc.read(1)
	sc.none()
	sc.watching(at1, pins{1: at1}).Sees(sc.f)
	sc.see()
	sc.end()
}

// TestRequestsOfOneFileFollowEachOther is G3: a client sends requests without
// waiting for replies.
func TestRequestsOfOneFileFollowEachOther(t *testing.T) {
	t.Parallel()
	sc := newSceneOf(t, 0, 64<<10)
	for range 6 {
		sc.commit(0, 1, 2, 3)
	}
	sc.mapped(4)
	sc.read(0, 1, 2, 3)
	w := sc.manualWatcher()
	var requests []uint64
	for _, at := range sc.at[1:] {
		requests = append(requests, w.Send(watchRequest(sc.f.Oid, at)))
	}
	back := w.Send(watchRequest(sc.f.Oid, sc.at[1]))
	remove := w.Send("watch " + sc.f.Oid.String() + " -")
	again := w.Send(watchRequest(sc.f.Oid, sc.at[3]))
	w.Pin()
	w.Barrier()
	require.Empty(t, w.replies, "nothing is acknowledged")
	w.Auto()
	for _, r := range requests {
		require.Equal(t, "ok", w.Reply(r))
	}
	require.Contains(t, w.Reply(back), "going back in history is forbidden")
	require.Equal(t, "ok", w.Reply(remove))
	require.Equal(t, "ok", w.Reply(again))
	w.at[sc.f] = sc.at[3]
	w.Sees(sc.f)
	sc.end()
}

// TestInterruptedReadLeavesItsPins is G5: the reader is sent signals, and then
// killed, while it waits. The pin goes on, and nobody else is killed.
func TestInterruptedReadLeavesItsPins(t *testing.T) {
	t.Parallel()
	sc := newSceneOf(t, 0, 64<<10)
	at1 := sc.commit(0, 1, 2)
	w := sc.manualWatcher()
	sc.open()
	w.Watch(sc.f, at1)
	sc.commit(0, 1)
	readers := make([]*Helper, 2)
	threads := make([]int, 2)
	for i := range readers {
		h := StartHelper(t, "fault", sc.f.Path(sc.s, "head"), fmt.Sprint(2*sc.f.BlkSize))
		_, err := fmt.Sscan(h.Line(), &threads[i])
		require.NoError(t, err)
		h.Tell(fmt.Sprint(int64(i) * sc.f.BlkSize))
		readers[i] = h
	}
	byBlk := map[int64]watchPin{}
	for len(byBlk) < 2 {
		w.change(func() {
			for _, p := range w.queue {
				byBlk[p.blk] = p
			}
		})
	}
	for i := range readers {
		for range 10 {
			require.NoError(t, unix.Tgkill(readers[i].cmd.Process.Pid, threads[i], unix.SIGUSR1))
		}
	}
	require.NoError(t, readers[1].cmd.Process.Kill())
	w.Barrier()
	require.Equal(t, 2, w.npins)
	w.Ack(byBlk[0])
	require.Equal(t, "ok", readers[0].Line())
	w.Ack(byBlk[1])
	requireEnded(t, readers[1])
	sc.mapped(3)
	sc.read(0, 1, 2)
	w.Auto()
	w.Expect(sc.f, pins{0: at1, 1: at1})
	w.Sees(sc.f)
	readers[0].Kill()
	readers[1].Kill()
	sc.end()
}

// TestCommitDoesNotWaitForParkedReads is G13: a block that a READ is waiting for
// changes, again and again. head goes on, and the READ brings what is newest.
func TestCommitDoesNotWaitForParkedReads(t *testing.T) {
	t.Parallel()
	forAllProcs(t, func(t *testing.T, procs int) {
		sc := newSceneOf(t, procs, 64<<10)
		at1 := sc.commit(0, 1)
		sc.mapped(4)
		w := sc.manualWatcher()
		w.Watch(sc.f, at1)
		sc.commit(1)
		finish := sc.startRead(1)
		p := w.Pin()
		for range 5 {
			start := time.Now()
			sc.commit(0, 1, 3)
			require.Less(t, time.Since(start), 10*time.Second)
			sc.stillReading()
			require.Equal(t, "", readBlock(t, sc.f, sc.s, 2), "a hole beside it")
		}
		w.Ack(p)
		finish()
		w.Expect(sc.f, pins{1: at1})
		w.Auto()
		w.Sees(sc.f)
		sc.f.Check(sc.s, "head", sc.l.Head())
		sc.end()
	})
}

// readBlock reads a block of head, without the zeros at its end.
func readBlock(t testing.TB, f *LiveFile, s *Server, blk int64) string {
	t.Helper()
	file := openRandom(t, f.Path(s, "head"))
	defer file.Close()
	return strings.TrimRight(string(pread(t, file, blk*f.BlkSize, int(f.BlkSize))), "\x00")
}

// TestNoPinFollowsTheEndOfAWatch is G17 (D5): the reply to the removal does not wait
// for the answer to a pin that is under way, and no pin follows it.
func TestNoPinFollowsTheEndOfAWatch(t *testing.T) {
	t.Parallel()
	sc := newSceneOf(t, 0, 64<<10)
	at1 := sc.commit(0, 1)
	sc.mapped(4)
	w := sc.manualWatcher()
	w.Watch(sc.f, at1)
	sc.commit(1)
	finish := sc.startRead(1)
	p := w.Pin()
	w.Unwatch(sc.f)
	finish() // nobody waits for a client that does not want to be isolated
	sc.read(0)
	w.Ack(p)
	w.forget(sc.f)
	w.Expect(sc.f, pins{1: at1})

	// And at random.
	w.Auto()
	seed := rand.Uint64()
	t.Logf("to repeat: seed := uint64(%d); go test -run %s ./t", seed, t.Name())
	rnd := rand.New(rand.NewPCG(seed, 0))
	for range 50 {
		w.Watch(sc.f, sc.l.Head())
		sc.commit(0, 1, 2, 3)
		var readers sync.WaitGroup
		for blk := range int64(4) {
			delay := time.Duration(rnd.IntN(300)) * time.Microsecond
			readers.Go(func() {
				time.Sleep(delay)
				readBlock(t, sc.f, sc.s, blk)
			})
		}
		time.Sleep(time.Duration(rnd.IntN(300)) * time.Microsecond)
		w.Unwatch(sc.f)
		n := w.npins
		readers.Wait()
		w.Barrier()
		require.Equal(t, n, w.npins, "pins came after the watch was removed")
	}
	sc.end()
}

// TestUnpinMayAskForAttributesDuringACommit is G19 (D23): a client handles an
// un-pin with fstat, while transactions come.
func TestUnpinMayAskForAttributesDuringACommit(t *testing.T) {
	t.Parallel()
	forAllProcs(t, func(t *testing.T, procs int) {
		sc := newSceneOf(t, procs, 64<<10, "-pintimeout=10s")
		at1 := sc.commit(0, 1)
		at2 := sc.commit(1)
		c := sc.isolated(4)
		require.Equal(t, "ok", c.Ask("watch "+at1.String()))
		require.Equal(t, `"b1"`, c.Ask("get 1"))
		require.Equal(t, "ok", c.Ask("fstat"))
		require.Equal(t, "ok", c.Ask("hold"))
		c.Tell("watch " + at2.String())
		until(t, "the un-pin is sent", func() bool { return sc.s.stats()["pin"] == 2 })
		for range 3 { // with attributes that the kernel has to ask for
			sc.commit(1, 2)
			sc.open()
			require.Equal(t, sc.f.Text(0, sc.l.Head()), readBlock(t, sc.f, sc.s, 0))
		}
		sc.l.Commit(func(tx *LiveTx) { tx.Write(sc.f, 3, "d") })
		c.Tell("go")
		answers := []string{c.Line(), c.Line()}
		require.Equal(t, []string{"ok", "ok"}, answers)
		sc.s.WaitAt(sc.l.Head())
		require.Zero(t, sc.s.stats()["pinkill"])
		c.Kill()
		sc.s.requireNoLinks()
	})
}

// TestServerEndsThoughAClientDoesNotReadItsLink is G8.
func TestServerEndsThoughAClientDoesNotReadItsLink(t *testing.T) {
	t.Parallel()
	sc := newSceneOf(t, 0, 64<<10)
	at1 := sc.commit(0, 1)
	sc.commit(0, 1)
	sc.mapped(2)
	sc.read(0, 1)
	f := sc.s.faulty()
	f.Write("1 " + watchRequest(sc.f.Oid, at1) + "\n")
	until(t, "pins are sent", func() bool { return sc.s.stats()["pin"] == 2 })
	f.Write("3 " + watchRequest(sc.f.Oid+7, 1<<63) + "\n")
	sc.commit(1)
	h := StartHelper(t, "hold", sc.f.Path(sc.s, "head"))
	require.Equal(t, "ready", h.Line())
	sc.s.Signal(os.Interrupt)
	require.Zero(t, sc.s.WaitExit(), sc.s.Log())
	require.Equal(t, "ENOTCONN", h.Ask("read 0 65536"))
	line := f.Read()
	for strings.Contains(line, "pin") {
		line = f.Read()
	}
	require.Contains(t, []string{"EOF", "ENOTCONN", "ECONNABORTED"}, line)
	require.NotContains(t, sc.s.Log(), "client failed")
	f.requireAlive()
}
