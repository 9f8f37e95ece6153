package t

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"lab.nexedi.com/kirr/neo/go/zodb"
)

// TestLinkOpenedByAThreadThatEndedBelongsToItsProcess is G21 (D8).
func TestLinkOpenedByAThreadThatEndedBelongsToItsProcess(t *testing.T) {
	t.Parallel()
	sc := newSceneOf(t, 0, 64<<10, "-pintimeout="+pinTimeout.String())
	f, pin, finish := sc.stuckRead(func(f *faulty) { f.Do("thread") })
	m := misbehaviour{do: func(f *faulty) { f.Refuse("2 no\n") }, cause: `expect "ack"; got "no"`, prompt: true}
	m.do(f)
	finish()
	sc.requireFate(f, pin, m, 0)
	sc.afterwards()
}

// TestLinkThatAChildInheritedIsOfWhoOpenedIt: the child only keeps it open.
func TestLinkThatAChildInheritedIsOfWhoOpenedIt(t *testing.T) {
	t.Parallel()
	sc := newSceneOf(t, 0, 64<<10, "-pintimeout="+pinTimeout.String())
	child := 0
	f, pin, finish := sc.stuckRead(func(f *faulty) { child, _ = strconv.Atoi(f.Ask("fork")) })
	require.NotZero(t, child)
	f.Tell("exit") // and the link stays open
	finish()
	sc.requireFate(f, pin, misbehaviour{}, 0)
	require.Less(t, time.Since(f.started), 2*pinTimeout)
	sc.afterwards()
}

// TestClientBlockedInItsOwnFaultIsEnded (P8): such a thread cannot be killed
// before its READ is answered, and that waits for the pin of its own process.
func TestClientBlockedInItsOwnFaultIsEnded(t *testing.T) {
	t.Parallel()
	forAllProcs(t, func(t *testing.T, procs int) {
		sc := newSceneOf(t, procs, 64<<10, "-pintimeout="+pinTimeout.String())
		sc.commit(1, 2)
		sc.mapped(4)
		f := sc.s.faulty()
		f.Do("map %s", sc.f.Path(sc.s, "head"))
		f.watching(sc.f, sc.at[1])
		sc.commit(1)
		f.started = time.Now()
		f.Do("touch %d", sc.f.BlkSize)
		pin := watchPin{2, sc.f.Oid, 1, sc.at[1]}
		require.Equal(t, pin.message(), f.Read())
		finish := sc.startRead(1) // another process wants the same page
		m := misbehaviour{cause: "sendReq: waiting for reply: context deadline exceeded"}
		sc.requireFate(f, pin, m, 0)
		finish()
		sc.afterwards()
	})
}

// TestTwoClientsThatWaitForEachOtherAreEnded: each is in a fault that waits for
// the other to handle a pin.
func TestTwoClientsThatWaitForEachOtherAreEnded(t *testing.T) {
	t.Parallel()
	sc := newSceneOf(t, 0, 64<<10, "-pintimeout="+pinTimeout.String())
	file2 := sc.l.NewFile(64 << 10)
	both := func(text string) zodb.Tid {
		at := sc.l.Commit(func(tx *LiveTx) { tx.Write(sc.f, 1, "f"+text); tx.Write(file2, 1, "g"+text) })
		sc.s.WaitAt(at)
		return at
	}
	at1 := both("1")
	sc.mapped(4)
	files := []*LiveFile{sc.f, file2}
	var bad []*faulty
	for i := range files {
		f := sc.s.faulty()
		stat(t, files[i].Path(sc.s, "head"))
		f.Do("map %s", files[1-i].Path(sc.s, "head"))
		f.watching(files[i], at1)
		bad = append(bad, f)
	}
	both("2")
	for _, f := range bad {
		f.started = time.Now()
		f.Do("touch %d", sc.f.BlkSize)
	}
	for i, f := range bad {
		require.Equal(t, watchPin{2, files[i].Oid, 1, at1}.message(), f.Read())
	}
	for _, f := range bad {
		until(t, "the client has ended", func() bool { return hasEnded(f.pid) })
		require.Less(t, time.Since(f.started), 2*pinTimeout)
	}
	sc.requireOneLinkLess()
	require.Equal(t, 2, sc.s.stats()["pinkill"])
	file2.Check(sc.s, "head", sc.l.Head())
	sc.afterwards()
}

// TestClientThatHangsElsewhereCountsAsEnded: it is in a page fault in
// the mount of another server, which is stopped. It will not run again, so the others
// do not have to wait for that; nor does the server have to go.
func TestClientThatHangsElsewhereCountsAsEnded(t *testing.T) {
	t.Parallel()
	sc := newSceneOf(t, 0, 64<<10, "-pintimeout="+pinTimeout.String())
	far := newSceneOf(t, 0, 64<<10)
	at1 := far.commit(0)
	far.open()
	// Not of this process: whatever it starts would have to close the link first.
	w := far.s.faulty()
	w.watching(far.f, at1)
	far.commit(0)
	f, pin, finish := sc.stuckRead(func(f *faulty) {
		f.Do("map %s", far.f.Path(far.s, "head"))
		f.Do("touch 0")
		w.Read() // that server has taken the READ: it cannot be taken back
		far.s.Signal(unix.SIGSTOP)
	})
	defer far.s.Signal(unix.SIGCONT)
	good := sc.watching(sc.at[1], pins{1: sc.at[0]})
	finish()
	require.Less(t, time.Since(f.started), 2*pinTimeout)
	f.requireAlive()
	sc.requireOneLinkLess()
	log := sc.s.logOf(f.pid)
	require.Contains(t, log, fmt.Sprintf("pin #%d @%s: sendReq: waiting for reply: context deadline exceeded\n", pin.blk, pin.rev))
	require.Contains(t, log, fmt.Sprintf("pid%d: <- SIGKILL\npid%[1]d:    cannot end, since it waits for another filesystem or device; "+
		"it will not run again, and counts as ended\npid%[1]d: terminated\n", f.pid))
	require.Equal(t, 1, sc.s.stats()["pinkill"])
	good.Sees(sc.f)
	f.requireAlive()
	far.s.Signal(unix.SIGCONT)
	requireEnded(t, f.Helper)
	w.Write("2 ack\n3 bye\n")
	sc.afterwards()
	require.NoError(t, unix.Access(far.s.Path("head/at"), unix.R_OK))
}

// TestClientKilledInItsOwnFaultEnds: the fault waits for the READ, the READ for a pin,
// and the pin for the client, which somebody kills meanwhile. It ends at once, the
// READs of others go on, and nobody is blamed.
func TestClientKilledInItsOwnFaultEnds(t *testing.T) {
	t.Parallel()
	forAllProcs(t, func(t *testing.T, procs int) {
		sc := newSceneOf(t, procs, 64<<10, "-pintimeout=30s")
		sc.commit(1, 2)
		sc.mapped(4)
		f := sc.s.faulty()
		f.Do("map %s", sc.f.Path(sc.s, "head"))
		f.watching(sc.f, sc.at[1])
		sc.commit(1)
		f.Do("touch %d", sc.f.BlkSize)
		require.Equal(t, watchPin{2, sc.f.Oid, 1, sc.at[1]}.message(), f.Read())
		finish := sc.startRead(1) // another process wants the same page
		sc.stillReading()
		start := time.Now()
		require.NoError(t, f.cmd.Process.Kill())
		requireEnded(t, f.Helper)
		finish()
		took := time.Since(start)
		require.Less(t, took, 5*time.Second)
		sc.requireOneLinkLess()
		require.Zero(t, sc.s.stats()["pinkill"])
		require.Empty(t, sc.s.logOf(f.pid))
		sc.afterwards()
	})
}

func mustUnquote(t testing.TB, text string) string {
	t.Helper()
	unquoted, err := strconv.Unquote(text)
	require.NoError(t, err, text)
	return unquoted
}

// TestClosingLateBuysNoTime: the time to answer a pin runs from when it was
// sent, also for a client that closes its link shortly before the end of it.
func TestClosingLateBuysNoTime(t *testing.T) {
	t.Parallel()
	sc := newSceneOf(t, 0, 64<<10, "-pintimeout="+pinTimeout.String())
	f, _, finish := sc.stuckRead(func(*faulty) {})
	time.Sleep(time.Until(f.started.Add(pinTimeout * 8 / 10)))
	f.Do("close")
	until(t, "the client has ended", func() bool { return hasEnded(f.pid) })
	require.Less(t, time.Since(f.started), pinTimeout*3/2)
	finish()
	sc.requireOneLinkLess()
	require.Equal(t, 1, sc.s.stats()["pinkill"])
	sc.afterwards()
}
