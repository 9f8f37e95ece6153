package t

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"
)

// pinTimeout is that of servers whose clients misbehave.
const pinTimeout = 2 * time.Second

// faulty is a client in another process that misbehaves.
type faulty struct {
	*Helper
	t       testing.TB
	pid     int
	started time.Time // when it was sent the pin that it does not handle
}

func (s *Server) faulty() *faulty {
	s.t.Helper()
	h := StartHelper(s.t, "rawlink", s.Dir)
	require.Equal(s.t, "ready", h.Line())
	return &faulty{Helper: h, t: s.t, pid: h.cmd.Process.Pid}
}

// Do asks for something that must succeed.
func (f *faulty) Do(format string, args ...any) {
	f.t.Helper()
	command := fmt.Sprintf(format, args...)
	require.Equal(f.t, "ok", f.Ask(command), command)
}

// Write writes to the link.
func (f *faulty) Write(text string) { f.t.Helper(); f.Do("write %q", text) }

// Refuse writes to the link what the process may not survive.
func (f *faulty) Refuse(text string) { f.t.Helper(); f.Tell(fmt.Sprintf("write %q", text)) }

// Read reads the next line of the link.
func (f *faulty) Read() string {
	f.t.Helper()
	answer := f.Ask("line")
	line, err := strconv.Unquote(answer)
	if err != nil {
		return answer
	}
	return line
}

// requireAlive requires that the process has not ended.
func (f *faulty) requireAlive() { f.t.Helper(); require.False(f.t, hasEnded(f.pid)) }

// misbehaviour is what a client does with a pin.
type misbehaviour struct {
	name    string
	do      func(f *faulty) // with a pin that it has read, unless unread
	unread  bool            // it does not read its link
	cause   string          // in the log; "" if it is not killed
	prompt  bool            // it is killed before the time is over
	stopped bool            // SIGBUS does not end it
}

var misbehaviours = []misbehaviour{
	{name: "no-pin-read", do: func(*faulty) {}, unread: true, cause: "sendReq: waiting for reply: context deadline exceeded"},
	{name: "no-pin-reply", do: func(*faulty) {}, cause: "sendReq: waiting for reply: context deadline exceeded"},
	{name: "stop-on-pin", do: func(f *faulty) { f.Tell("exit") }},
	{name: "eof-on-pin", do: func(f *faulty) { f.Do("close") }, cause: "sendReq: waiting for reply: context canceled"},
	{name: "nak", do: func(f *faulty) { f.Refuse("2 nak: no\n") }, cause: `expect "ack"; got "nak: no"`, prompt: true},
	{name: "nearly ack", do: func(f *faulty) { f.Refuse("2 ack \n") }, cause: `expect "ack"; got "ack "`, prompt: true},
	{name: "SIGSTOP", do: func(f *faulty) { f.Do("stop") }, cause: "sendReq: waiting for reply: context deadline exceeded",
		stopped: true},
}

// killLog is what the server says when it kills a client, which may be slow to
// end on a busy machine.
func killLog(pid int, pin watchPin, m misbehaviour, slow bool) string {
	between := ""
	if slow || m.stopped {
		between = "pidN:    is still alive after SIGBUS\npidN: <- SIGKILL\n"
	}
	return strings.ReplaceAll(fmt.Sprintf(""+
		"pidN: client failed to handle pin notification correctly and timely in %s: pin #%d @%s: %s\n"+
		"pidN: -> killing it because else 1) all other clients will remain stuck, and 2) it itself may see wrong data\n"+
		"pidN:    (see \"Protection against slow or faulty clients\" in the documentation)\n"+
		"pidN: <- SIGBUS\n%spidN: terminated\n", pinTimeout, pin.blk, pin.rev, m.cause, between), "pidN", fmt.Sprint("pid", pid))
}

// logOf returns the lines of the log about a process, without when and where.
func (s *Server) logOf(pid int) (text string) {
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
func (sc *scene) requireFate(f *faulty, pin watchPin, m misbehaviour, kills int) {
	sc.t.Helper()
	until(sc.t, "the client has ended", func() bool { return hasEnded(f.pid) })
	took := time.Since(f.started)
	require.Less(sc.t, took, 2*pinTimeout)
	if m.prompt {
		require.Less(sc.t, took, pinTimeout/2)
	}
	sc.requireOneLinkLess()
	if m.cause == "" {
		require.Empty(sc.t, sc.s.logOf(f.pid))
	} else {
		kills++
		require.Contains(sc.t, []string{killLog(f.pid, pin, m, false), killLog(f.pid, pin, m, true)}, sc.s.logOf(f.pid))
	}
	require.Equal(sc.t, kills, sc.s.stats()["pinkill"])
}

// requireOneLinkLess waits until only the good clients are left.
func (sc *scene) requireOneLinkLess() {
	sc.t.Helper()
	good := 0
	for _, w := range sc.watchers {
		if w.fd >= 0 {
			good++
		}
	}
	until(sc.t, "the server has forgotten the bad client", func() bool { return sc.s.stats()["WatchLink"] == good })
}

// pinMessage is the message that asks for p.
func (p watchPin) message() string {
	return fmt.Sprintf("%d pin %s #%d @%s", p.stream, p.oid, p.blk, p.rev)
}

// failingScene is one in which block 2 has changed since the view it returns, and
// is cached.
func failingScene(t *testing.T, i int) (*scene, zodb.Tid) {
	sc := newSceneOf(t, i%3, 64<<10, "-pintimeout="+pinTimeout.String())
	at1 := sc.commit(2)
	sc.commit(2)
	sc.mapped(3)
	sc.read(2)
	return sc, at1
}

// TestClientThatFailsAtSetupIsEnded is C1 to C5, and more ways to fail.
func TestClientThatFailsAtSetupIsEnded(t *testing.T) {
	t.Parallel()
	for i, m := range misbehaviours {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			sc, at1 := failingScene(t, i)
			f := sc.s.faulty()
			pin := watchPin{2, sc.f.Oid, 2, at1}
			f.Write("1 " + watchRequest(sc.f.Oid, at1) + "\n")
			f.started = time.Now()
			if !m.unread {
				require.Equal(t, pin.message(), f.Read())
			}
			m.do(f)

			w := sc.watcher()
			w.Watch(sc.f, at1)
			require.Less(t, time.Since(f.started), pinTimeout/2, "the good client waits for the bad one")
			w.Expect(sc.f, pins{2: at1})
			w.Sees(sc.f)
			sc.requireFate(f, pin, m, 0)
			sc.afterwards()
		})
	}
}

// afterwards requires that all goes on as if there had been no bad client.
func (sc *scene) afterwards() {
	sc.t.Helper()
	sc.commit(1, 2)
	start := time.Now()
	sc.read(1, 2)
	require.Less(sc.t, time.Since(start), pinTimeout/2)
	sc.see()
	for _, w := range sc.watchers {
		w.Watch(sc.f, sc.l.Head())
	}
	sc.see()
	for _, w := range sc.watchers {
		w.Close()
	}
	sc.s.requireNoLinks()
	sc.m.Close()
	sc.s.Stop()
}

// TestClientThatFailsAtAReadIsEnded is C6 to C10: the data is held back until it
// is.
func TestClientThatFailsAtAReadIsEnded(t *testing.T) {
	t.Parallel()
	for i, m := range misbehaviours {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			sc, at1 := failingScene(t, i)
			w := sc.watching(at1, pins{2: at1})
			f := sc.s.faulty()
			f.watching(sc.f, sc.at[2])
			sc.commit(1)
			f.started = time.Now()
			finish := sc.startRead(1)
			pin := watchPin{2, sc.f.Oid, 1, sc.at[0]}
			if !m.unread {
				require.Equal(t, pin.message(), f.Read())
			}
			sc.stillReading()
			m.do(f)
			finish()
			require.True(t, hasEnded(f.pid), "data was released while the client could see it")
			w.Expect(sc.f, pins{1: sc.at[0]})
			w.Sees(sc.f)
			sc.requireFate(f, pin, m, 0)
			sc.afterwards()
		})
	}
}

// watching sets a watch up that needs no pins.
func (f *faulty) watching(file *LiveFile, at zodb.Tid) {
	f.t.Helper()
	f.Write("1 " + watchRequest(file.Oid, at) + "\n")
	require.Equal(f.t, "1 ok", f.Read())
}

// stuckRead returns a bad client that was just sent a pin for a READ of block 1
// by another process, which is returned by finish.
func (sc *scene) stuckRead(prepare func(f *faulty)) (f *faulty, pin watchPin, finish func()) {
	sc.t.Helper()
	sc.commit(2)
	sc.mapped(4)
	sc.read(2)
	f = sc.s.faulty()
	prepare(f)
	f.watching(sc.f, sc.at[1])
	sc.commit(1)
	f.started = time.Now()
	finish = sc.startRead(1)
	pin = watchPin{2, sc.f.Oid, 1, sc.at[0]}
	require.Equal(sc.t, pin.message(), f.Read())
	return f, pin, finish
}
