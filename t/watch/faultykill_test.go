package watch

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/t/harness"
	"golang.org/x/sys/unix"
	"lab.nexedi.com/kirr/neo/go/zodb"
)

// TestLinkOpenedByAThreadThatEndedBelongsToItsProcess: the kernel names the thread.
func TestLinkOpenedByAThreadThatEndedBelongsToItsProcess(t *testing.T) {
	t.Parallel()
	sc := harness.NewSceneOf(t, 0, 64<<10, "-pintimeout="+pinTimeout.String())
	f, pin, finish := stuckRead(sc, func(f *harness.Faulty) { f.Do("thread") })
	m := misbehaviour{do: func(f *harness.Faulty) { f.Refuse("2 no\n") }, cause: `expect "ack"; got "no"`, prompt: true}
	m.do(f)
	finish()
	requireFate(sc, f, pin, m, 0)
	afterwards(sc)
}

// TestLinkThatAChildInheritedIsOfWhoOpenedIt: the child only keeps it open.
func TestLinkThatAChildInheritedIsOfWhoOpenedIt(t *testing.T) {
	t.Parallel()
	sc := harness.NewSceneOf(t, 0, 64<<10, "-pintimeout="+pinTimeout.String())
	child := 0
	f, pin, finish := stuckRead(sc, func(f *harness.Faulty) { child, _ = strconv.Atoi(f.Ask("fork")) })
	require.NotZero(t, child)
	f.Tell("exit") // and the link stays open
	finish()
	requireFate(sc, f, pin, misbehaviour{}, 0)
	require.Less(t, time.Since(f.Started), 2*pinTimeout)
	afterwards(sc)
}

// TestClientBlockedInItsOwnFaultIsEnded: such a thread cannot be killed
// before its READ is answered, and that waits for the pin of its own process.
func TestClientBlockedInItsOwnFaultIsEnded(t *testing.T) {
	t.Parallel()
	harness.ForAllProcs(t, func(t *testing.T, procs int) {
		sc := harness.NewSceneOf(t, procs, 64<<10, "-pintimeout="+pinTimeout.String())
		sc.Commit(1, 2)
		sc.Map(4)
		f := sc.Server.Faulty()
		f.Do("map %s", sc.File.Path(sc.Server, "head"))
		f.Watching(sc.File, sc.At[1])
		sc.Commit(1)
		f.Started = time.Now()
		f.Do("touch %d", sc.File.BlkSize)
		pin := harness.WatchPin{Stream: 2, Oid: sc.File.Oid, Blk: 1, Rev: sc.At[1]}
		require.Equal(t, message(pin), f.Read())
		finish := sc.StartRead(1) // another process wants the same page
		m := misbehaviour{cause: "sendReq: waiting for reply: context deadline exceeded"}
		requireFate(sc, f, pin, m, 0)
		finish()
		afterwards(sc)
	})
}

// TestTwoClientsThatWaitForEachOtherAreEnded: each is in a fault that waits for
// the other to handle a pin.
func TestTwoClientsThatWaitForEachOtherAreEnded(t *testing.T) {
	t.Parallel()
	sc := harness.NewSceneOf(t, 0, 64<<10, "-pintimeout="+pinTimeout.String())
	file2 := sc.Live.NewFile(64 << 10)
	both := func(text string) zodb.Tid {
		at := sc.Live.Commit(func(tx *harness.LiveTx) { tx.Write(sc.File, 1, "f"+text); tx.Write(file2, 1, "g"+text) })
		sc.Server.WaitAt(at)
		return at
	}
	at1 := both("1")
	sc.Map(4)
	files := []*harness.LiveFile{sc.File, file2}
	var bad []*harness.Faulty
	for i := range files {
		f := sc.Server.Faulty()
		harness.Stat(t, files[i].Path(sc.Server, "head"))
		f.Do("map %s", files[1-i].Path(sc.Server, "head"))
		f.Watching(files[i], at1)
		bad = append(bad, f)
	}
	both("2")
	for _, f := range bad {
		f.Started = time.Now()
		f.Do("touch %d", sc.File.BlkSize)
	}
	for i, f := range bad {
		require.Equal(t, message(harness.WatchPin{Stream: 2, Oid: files[i].Oid, Blk: 1, Rev: at1}), f.Read())
	}
	for _, f := range bad {
		harness.Until(t, "the client has ended", func() bool { return harness.HasEnded(f.Pid) })
		require.Less(t, time.Since(f.Started), 2*pinTimeout)
	}
	requireOneLinkLess(sc)
	require.Equal(t, 2, sc.Server.Stats()["pinkill"])
	file2.Check(sc.Server, "head", sc.Live.Head())
	afterwards(sc)
}

// TestClientThatHangsElsewhereCountsAsEnded: it is in a page fault in
// the mount of another server, which is stopped. It will not run again, so the others
// do not have to wait for that; nor does the server have to go.
func TestClientThatHangsElsewhereCountsAsEnded(t *testing.T) {
	t.Parallel()
	sc := harness.NewSceneOf(t, 0, 64<<10, "-pintimeout="+pinTimeout.String())
	far := harness.NewSceneOf(t, 0, 64<<10)
	at1 := far.Commit(0)
	far.Open()
	// Not of this process: whatever it starts would have to close the link first.
	w := far.Server.Faulty()
	w.Watching(far.File, at1)
	far.Commit(0)
	f, pin, finish := stuckRead(sc, func(f *harness.Faulty) {
		f.Do("map %s", far.File.Path(far.Server, "head"))
		f.Do("touch 0")
		w.Read() // that server has taken the READ: it cannot be taken back
		far.Server.Signal(unix.SIGSTOP)
	})
	defer far.Server.Signal(unix.SIGCONT)
	good := sc.Watching(sc.At[1], harness.Pins{1: sc.At[0]})
	finish()
	require.Less(t, time.Since(f.Started), 2*pinTimeout)
	f.RequireAlive()
	requireOneLinkLess(sc)
	log := logOf(sc.Server, f.Pid)
	require.Contains(t, log, fmt.Sprintf("pin #%d @%s: sendReq: waiting for reply: context deadline exceeded\n", pin.Blk, pin.Rev))
	require.Contains(t, log, fmt.Sprintf("pid%d: <- SIGKILL\npid%[1]d:    cannot end, since it waits for another filesystem or device; "+
		"it will not run again, and counts as ended\npid%[1]d: terminated\n", f.Pid))
	require.Equal(t, 1, sc.Server.Stats()["pinkill"])
	good.Sees(sc.File)
	f.RequireAlive()
	far.Server.Signal(unix.SIGCONT)
	requireEnded(t, f.Helper)
	w.Write("2 ack\n3 bye\n")
	afterwards(sc)
	require.NoError(t, unix.Access(far.Server.Path("head/at"), unix.R_OK))
}

// TestClientKilledInItsOwnFaultEnds: the fault waits for the READ, the READ for a pin,
// and the pin for the client, which somebody kills meanwhile. It ends at once, the
// READs of others go on, and nobody is blamed.
func TestClientKilledInItsOwnFaultEnds(t *testing.T) {
	t.Parallel()
	harness.ForAllProcs(t, func(t *testing.T, procs int) {
		sc := harness.NewSceneOf(t, procs, 64<<10, "-pintimeout=30s")
		sc.Commit(1, 2)
		sc.Map(4)
		f := sc.Server.Faulty()
		f.Do("map %s", sc.File.Path(sc.Server, "head"))
		f.Watching(sc.File, sc.At[1])
		sc.Commit(1)
		f.Do("touch %d", sc.File.BlkSize)
		require.Equal(t, message(harness.WatchPin{Stream: 2, Oid: sc.File.Oid, Blk: 1, Rev: sc.At[1]}), f.Read())
		finish := sc.StartRead(1) // another process wants the same page
		sc.StillReading()
		start := time.Now()
		require.NoError(t, f.Cmd.Process.Kill())
		requireEnded(t, f.Helper)
		finish()
		took := time.Since(start)
		require.Less(t, took, 5*time.Second)
		requireOneLinkLess(sc)
		require.Zero(t, sc.Server.Stats()["pinkill"])
		require.Empty(t, logOf(sc.Server, f.Pid))
		afterwards(sc)
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
	sc := harness.NewSceneOf(t, 0, 64<<10, "-pintimeout="+pinTimeout.String())
	f, _, finish := stuckRead(sc, func(*harness.Faulty) {})
	time.Sleep(time.Until(f.Started.Add(pinTimeout * 8 / 10)))
	f.Do("close")
	harness.Until(t, "the client has ended", func() bool { return harness.HasEnded(f.Pid) })
	require.Less(t, time.Since(f.Started), pinTimeout*3/2)
	finish()
	requireOneLinkLess(sc)
	require.Equal(t, 1, sc.Server.Stats()["pinkill"])
	afterwards(sc)
}
