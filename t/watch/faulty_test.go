package watch

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/t/harness"
	"lab.nexedi.com/kirr/neo/go/zodb"
)

// pinTimeout is that of servers whose clients misbehave.
const pinTimeout = 2 * time.Second

// misbehaviour is what a client does with a pin.
type misbehaviour struct {
	name    string
	do      func(f *harness.Faulty) // with a pin that it has read, unless unread
	unread  bool                    // it does not read its link
	cause   string                  // in the log; "" if it is not killed
	prompt  bool                    // it is killed before the time is over
	stopped bool                    // SIGBUS does not end it
}

var misbehaviours = []misbehaviour{
	{name: "no-pin-read", do: func(*harness.Faulty) {}, unread: true, cause: "sendReq: waiting for reply: context deadline exceeded"},
	{name: "no-pin-reply", do: func(*harness.Faulty) {}, cause: "sendReq: waiting for reply: context deadline exceeded"},
	{name: "stop-on-pin", do: func(f *harness.Faulty) { f.Tell("exit") }},
	{name: "eof-on-pin", do: func(f *harness.Faulty) { f.Do("close") }, cause: "sendReq: waiting for reply: context canceled"},
	{name: "nak", do: func(f *harness.Faulty) { f.Refuse("2 nak: no\n") }, cause: `expect "ack"; got "nak: no"`, prompt: true},
	{name: "nearly ack", do: func(f *harness.Faulty) { f.Refuse("2 ack \n") }, cause: `expect "ack"; got "ack "`, prompt: true},
	{name: "SIGSTOP", do: func(f *harness.Faulty) { f.Do("stop") }, cause: "sendReq: waiting for reply: context deadline exceeded",
		stopped: true},
}

// killLog is what the server says when it kills a client, which may be slow to
// end on a busy machine.
func killLog(pid int, pin harness.WatchPin, m misbehaviour, slow bool) string {
	between := ""
	if slow || m.stopped {
		between = "pidN:    is still alive after SIGBUS\npidN: <- SIGKILL\n"
	}
	return strings.ReplaceAll(fmt.Sprintf(""+
		"pidN: client failed to handle pin notification correctly and timely in %s: pin #%d @%s: %s\n"+
		"pidN: -> killing it because else 1) all other clients will remain stuck, and 2) it itself may see wrong data\n"+
		"pidN:    (see \"Protection against slow or faulty clients\" in the documentation)\n"+
		"pidN: <- SIGBUS\n%spidN: terminated\n", pinTimeout, pin.Blk, pin.Rev, m.cause, between), "pidN", fmt.Sprint("pid", pid))
}

// logOf returns the lines of the log about a process, without when and where.
func logOf(s *harness.Server, pid int) (text string) {
	prefix := regexp.MustCompile(`(?m)^[IWEF]\S+ [0-9:.]+ +\d+ \S+:\d+\] `)
	for line := range strings.Lines(s.Log()) {
		line = prefix.ReplaceAllString(line, "")
		if strings.HasPrefix(line, fmt.Sprintf("pid%d:", pid)) {
			text += line
		}
	}
	return text
}

// requireFate waits until what has to happen to the client did. The process is
// left a zombie until then.
func requireFate(sc *harness.Scene, f *harness.Faulty, pin harness.WatchPin, m misbehaviour, kills int) {
	sc.T.Helper()
	harness.Until(sc.T, "the client has ended", func() bool { return harness.HasEnded(f.Pid) })
	took := time.Since(f.Started)
	require.Less(sc.T, took, 2*pinTimeout)
	if m.prompt {
		require.Less(sc.T, took, pinTimeout/2)
	}
	requireOneLinkLess(sc)
	if m.cause == "" {
		require.Empty(sc.T, logOf(sc.Server, f.Pid))
	} else {
		kills++
		require.Contains(sc.T, []string{killLog(f.Pid, pin, m, false), killLog(f.Pid, pin, m, true)}, logOf(sc.Server, f.Pid))
	}
	require.Equal(sc.T, kills, sc.Server.Stats()["pinkill"])
}

// requireOneLinkLess waits until only the good clients are left.
func requireOneLinkLess(sc *harness.Scene) {
	sc.T.Helper()
	good := 0
	for _, w := range sc.Watchers {
		if w.FD >= 0 {
			good++
		}
	}
	harness.Until(sc.T, "the server has forgotten the bad client", func() bool { return sc.Server.Stats()["WatchLink"] == good })
}

// pinMessage is the message that asks for p.
func message(p harness.WatchPin) string {
	return fmt.Sprintf("%d pin %s #%d @%s", p.Stream, p.Oid, p.Blk, p.Rev)
}

// failingScene is one in which block 2 has changed since the view it returns, and
// is cached.
func failingScene(t *testing.T, i int) (*harness.Scene, zodb.Tid) {
	sc := harness.NewSceneOf(t, i%3, 64<<10, "-pintimeout="+pinTimeout.String())
	at1 := sc.Commit(2)
	sc.Commit(2)
	sc.Map(3)
	sc.Read(2)
	return sc, at1
}

// TestClientThatFailsAtSetupIsEnded, in every way to fail.
func TestClientThatFailsAtSetupIsEnded(t *testing.T) {
	t.Parallel()
	for i, m := range misbehaviours {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			sc, at1 := failingScene(t, i)
			f := sc.Server.Faulty()
			pin := harness.WatchPin{Stream: 2, Oid: sc.File.Oid, Blk: 2, Rev: at1}
			f.Write("1 " + harness.WatchRequest(sc.File.Oid, at1) + "\n")
			f.Started = time.Now()
			if !m.unread {
				require.Equal(t, message(pin), f.Read())
			}
			m.do(f)

			w := sc.Watcher()
			w.Watch(sc.File, at1)
			require.Less(t, time.Since(f.Started), pinTimeout/2, "the good client waits for the bad one")
			w.Expect(sc.File, harness.Pins{2: at1})
			w.Sees(sc.File)
			requireFate(sc, f, pin, m, 0)
			afterwards(sc)
		})
	}
}

// afterwards requires that all goes on as if there had been no bad client.
func afterwards(sc *harness.Scene) {
	sc.T.Helper()
	sc.Commit(1, 2)
	start := time.Now()
	sc.Read(1, 2)
	require.Less(sc.T, time.Since(start), pinTimeout/2)
	sc.See()
	for _, w := range sc.Watchers {
		w.Watch(sc.File, sc.Live.Head())
	}
	sc.See()
	for _, w := range sc.Watchers {
		w.Close()
	}
	sc.Server.RequireNoLinks()
	sc.Mapped.Close()
	sc.Server.Stop()
}

// TestClientThatFailsAtAReadIsEnded: the data is held back until it
// is.
func TestClientThatFailsAtAReadIsEnded(t *testing.T) {
	t.Parallel()
	for i, m := range misbehaviours {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			sc, at1 := failingScene(t, i)
			w := sc.Watching(at1, harness.Pins{2: at1})
			f := sc.Server.Faulty()
			f.Watching(sc.File, sc.At[2])
			sc.Commit(1)
			f.Started = time.Now()
			finish := sc.StartRead(1)
			pin := harness.WatchPin{Stream: 2, Oid: sc.File.Oid, Blk: 1, Rev: sc.At[0]}
			if !m.unread {
				require.Equal(t, message(pin), f.Read())
			}
			sc.StillReading()
			m.do(f)
			finish()
			require.True(t, harness.HasEnded(f.Pid), "data was released while the client could see it")
			w.Expect(sc.File, harness.Pins{1: sc.At[0]})
			w.Sees(sc.File)
			requireFate(sc, f, pin, m, 0)
			afterwards(sc)
		})
	}
}

// stuckRead returns a bad client that was just sent a pin for a READ of block 1
// by another process, which is returned by finish.
func stuckRead(sc *harness.Scene, prepare func(f *harness.Faulty)) (f *harness.Faulty, pin harness.WatchPin, finish func()) {
	sc.T.Helper()
	sc.Commit(2)
	sc.Map(4)
	sc.Read(2)
	f = sc.Server.Faulty()
	prepare(f)
	f.Watching(sc.File, sc.At[1])
	sc.Commit(1)
	f.Started = time.Now()
	finish = sc.StartRead(1)
	pin = harness.WatchPin{Stream: 2, Oid: sc.File.Oid, Blk: 1, Rev: sc.At[0]}
	require.Equal(sc.T, message(pin), f.Read())
	return f, pin, finish
}
