package operate

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/t/harness"
	"golang.org/x/sys/unix"
)

// TestTopTellsWhatHappens: commits, READs, and a client that keeps others waiting, by pid and
// command.
func TestTopTellsWhatHappens(t *testing.T) {
	t.Parallel()
	const size = 64 << 10
	sc := harness.NewSceneOf(t, 0, size)
	s := sc.Server
	at := sc.Commit(0)
	harness.ReadAt(t, sc.File.Path(s, "head"), 0, size)
	slow := s.Faulty()
	slow.Watching(sc.File, at)
	sc.Commit(0)
	sc.Map(1)
	read := sc.StartRead(0) // waits for the client
	harness.Until(t, "the pin is sent", func() bool { return strings.Contains(clientsOf(t, s), " unanswered=1 ") })

	name := strings.TrimSpace(harness.Content(t, fmt.Sprintf("/proc/%d/comm", slow.Pid)))
	require.Regexp(t, fmt.Sprintf(`^pid=%d links=1 watches=1 pinned=0 unanswered=1 since=20\S+Z comm=%s\n$`, slow.Pid, regexp.QuoteMeta(name)), clientsOf(t, s))

	code, out, words := harness.Run(t, "top", "--json", "--interval", "100ms", s.Dir)
	require.Zero(t, code, words)
	var doc struct {
		Version int
		Servers []struct {
			Mountpoint, State string
			Head              string `json:"head_at"`
			Figures           map[string]map[string]float64
			Clients           []struct {
				PID        int
				Command    string
				Unanswered int     `json:"unanswered_pins"`
				Since      *string `json:"unanswered_since"`
			}
		}
	}
	require.NoError(t, json.Unmarshal([]byte(out), &doc), out)
	require.Len(t, doc.Servers, 1)
	got := doc.Servers[0]
	require.Equal(t, s.Dir, got.Mountpoint)
	require.Equal(t, "ok", got.State)
	require.Equal(t, harness.Content(t, s.Path("head/at")), got.Head)
	require.EqualValues(t, 1, got.Figures["reads"]["waiting_for_clients"], out)
	require.EqualValues(t, 1, got.Figures["clients"]["watches"])
	require.Positive(t, got.Figures["reads"]["per_second"], "the looks")
	require.Zero(t, got.Figures["head"]["lag_seconds"])
	require.Len(t, got.Clients, 1)
	require.Equal(t, slow.Pid, got.Clients[0].PID)
	require.Equal(t, name, got.Clients[0].Command)
	require.NotNil(t, got.Clients[0].Since)

	code, out, words = harness.Run(t, "top", "--once", "--interval", "100ms", s.Dir)
	require.Zero(t, code, words)
	require.Regexp(t, fmt.Sprintf(`(?m)^%s +%d +1 `, regexp.QuoteMeta(name), slow.Pid), out)
	require.Contains(t, out, "1 wait for clients")
	require.NotContains(t, out, "\x1b")

	slow.Write("2 ack\n")
	read()
	harness.Until(t, "it has answered", func() bool { return strings.Contains(clientsOf(t, s), " pinned=1 unanswered=0 since=- ") })
	slow.Write("3 bye\n")
	harness.Until(t, "it is gone", func() bool { return clientsOf(t, s) == "" })
}

// clientsOf returns .wcfs/clients.
func clientsOf(t *testing.T, s *harness.Server) string {
	t.Helper()
	return harness.Content(t, s.Path(".wcfs/clients"))
}

// frames returns what top has drawn so far, without what makes colours.
func frames(term *harness.Terminal) []string {
	text := regexp.MustCompile(`\x1b\[[0-9;]*m|\x1b\[K|\x1b\[J`).ReplaceAllString(term.Output(), "")
	return strings.Split(text, "\x1b[H")[1:]
}

// lastFrame returns the last frame that is complete.
func lastFrame(term *harness.Terminal) string {
	all := frames(term)
	for i := len(all) - 1; i >= 0; i-- {
		if strings.Contains(all[i], "q: quit") {
			return all[i]
		}
	}
	return ""
}

// TestTopLivesOnATerminal of whatever size, and leaves that as it was.
func TestTopLivesOnATerminal(t *testing.T) {
	t.Parallel()
	b := MountBackground(t)
	for name, end := range map[string]func(*harness.Terminal){
		"q":       func(term *harness.Terminal) { term.Type("qqq") }, // also what is typed too often
		"Ctrl-C":  func(term *harness.Terminal) { term.Type("\x03") },
		"SIGTERM": func(term *harness.Terminal) { require.NoError(t, unix.Kill(term.Pid(), unix.SIGTERM)) },
	} {
		term := harness.StartOnTerminal(t, 24, 80, "top", "--interval", "100ms", b.Path)
		before := term.Before
		fits := func(rows, columns int) bool {
			frame := lastFrame(term)
			lines := strings.Split(frame, "\r\n")
			for _, l := range lines {
				if len(l) > columns {
					return false
				}
			}
			return strings.Contains(frame, "database") && len(lines) <= rows
		}
		harness.Until(t, name+": a frame of 80 columns", func() bool { return fits(24, 80) && strings.Contains(lastFrame(term), " ok ") })
		require.NotEqual(t, before, term.Mode(), "keys are not echoed")
		term.Resize(12, 40)
		harness.Until(t, name+": a frame of 40 columns", func() bool { return fits(12, 40) })
		term.Resize(2, 10)
		harness.Until(t, name+": nearly none", func() bool { return len(strings.Split(lastFrame(term), "\r\n")) <= 2 })
		term.Resize(50, 132)
		harness.Until(t, name+": a frame that has all", func() bool { return strings.Contains(lastFrame(term), "process   pid") })
		end(term)
		require.Zero(t, term.WaitExit(), name)
		harness.Until(t, name+": all is read", func() bool { return strings.HasSuffix(term.Output(), "\x1b[?1049l") })
		require.Equal(t, before, term.Mode(), name)
		require.Equal(t, 1, strings.Count(term.Output(), "\x1b[?1049h"), "once on the other screen")
	}
}

// TestTopSurvivesServers that hang, end, and begin anew.
func TestTopSurvivesServers(t *testing.T) {
	t.Parallel()
	b := MountBackground(t)
	term := harness.StartOnTerminal(t, 60, 120, "top", "--interval", "200ms", b.Path)
	shows := func(pattern string) {
		t.Helper()
		harness.Until(t, pattern, func() bool { return regexp.MustCompile(pattern).MatchString(lastFrame(term)) })
	}
	shows(` ok `)
	first := b.Pid()
	b.Signal(unix.SIGSTOP)
	shows(fmt.Sprintf(`(?s) stuck .*is stopped.*kill -CONT %d.*threads of the server`, first))
	b.Signal(unix.SIGCONT)
	shows(fmt.Sprintf(`(?s) ok .*pid %d `, first))
	b.Kill()
	shows(`(?s) dead .*no process serves this mount`)
	b.Mount()
	shows(fmt.Sprintf(`(?s) ok .*pid %d `, b.Pid()))
	code, words := b.Stop()
	require.Zero(t, code, words)
	shows(`no server is running`)
	b.Mount()
	shows(fmt.Sprintf(`(?s) ok .*pid %d `, b.Pid()))
	term.Type("q")
	require.Zero(t, term.WaitExit())
}

// TestTopIsStoppedAndGoesOn by Ctrl-Z, as shells do it: it gives the terminal back meanwhile.
func TestTopIsStoppedAndGoesOn(t *testing.T) {
	t.Parallel()
	b := MountBackground(t)
	term := harness.StartOnTerminal(t, 24, 80, "top", "--interval", "100ms", b.Path)
	before := term.Before
	harness.Until(t, "a frame", func() bool { return strings.Contains(lastFrame(term), " ok ") })
	require.NoError(t, unix.Kill(term.Pid(), unix.SIGSTOP))
	require.NoError(t, unix.Kill(term.Pid(), unix.SIGCONT))
	harness.Until(t, "it is drawn anew", func() bool { return strings.Count(term.Output(), "\x1b[?1049h") >= 2 })
	// There is no shell here, so nothing stops it: it is there again at once.
	term.Type("\x1a")
	harness.Until(t, "the terminal is given back", func() bool { return strings.Contains(term.Output(), "\x1b[?1049l") })
	harness.Until(t, "it is there again", func() bool { return strings.Count(term.Output(), "\x1b[?1049h") >= 3 })
	term.Type("q")
	require.Zero(t, term.WaitExit())
	require.Equal(t, before, term.Mode())
}

// TestTopWithoutATerminal says what to do, and without a server that there is none.
func TestTopWithoutATerminal(t *testing.T) {
	t.Parallel()
	b := NewBackground(t)
	code, out, words := harness.Run(t, "top", b.Path)
	require.Equal(t, 2, code)
	require.Empty(t, out)
	require.Contains(t, words, "wcfs top --once")
	began := time.Now()
	code, out, words = harness.Run(t, "top", "--once", "--interval", "1m", b.Path)
	require.Equal(t, 4, code)
	require.Empty(t, out)
	require.Contains(t, words, "no server is running")
	require.Less(t, time.Since(began), 30*time.Second)
	code, _, words = harness.Run(t, "top", "--interval", "1ms", b.Path)
	require.Equal(t, 2, code, words)

	first, second := MountBackground(t), MountBackground(t)
	code, out, words = harness.Run(t, "top", "--once", "--interval", "100ms")
	require.Zero(t, code, words)
	require.Contains(t, out, "MOUNTPOINT")
	for _, b := range []*Background{first, second} {
		require.Regexp(t, `(?m)`+b.Dir[len(b.Dir)-20:]+` +ok `, out)
	}
}
