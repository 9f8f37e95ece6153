package harness

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"lab.nexedi.com/kirr/neo/go/zodb"
)

// Faulty is a client in another process that misbehaves.
type Faulty struct {
	*Helper
	T       testing.TB
	Pid     int
	Started time.Time // when it was sent the pin that it does not handle
}

// Faulty starts a client that misbehaves.
func (s *Server) Faulty() *Faulty {
	s.T.Helper()
	h := StartHelper(s.T, "rawlink", s.Dir)
	require.Equal(s.T, "ready", h.Line())
	return &Faulty{Helper: h, T: s.T, Pid: h.Cmd.Process.Pid}
}

// Do asks for something that must succeed.
func (f *Faulty) Do(format string, args ...any) {
	f.T.Helper()
	command := fmt.Sprintf(format, args...)
	require.Equal(f.T, "ok", f.Ask(command), command)
}

// Write writes to the link.
func (f *Faulty) Write(text string) { f.T.Helper(); f.Do("write %q", text) }

// Refuse writes to the link what the process may not survive.
func (f *Faulty) Refuse(text string) { f.T.Helper(); f.Tell(fmt.Sprintf("write %q", text)) }

// Read reads the next line of the link.
func (f *Faulty) Read() string {
	f.T.Helper()
	answer := f.Ask("line")
	line, err := strconv.Unquote(answer)
	if err != nil {
		return answer
	}
	return line
}

// RequireAlive requires that the process has not ended.
func (f *Faulty) RequireAlive() { f.T.Helper(); require.False(f.T, HasEnded(f.Pid)) }

// Watching sets a watch up that needs no pins.
func (f *Faulty) Watching(file *LiveFile, at zodb.Tid) {
	f.T.Helper()
	f.Write("1 " + WatchRequest(file.Oid, at) + "\n")
	require.Equal(f.T, "1 ok", f.Read())
}

// HasEnded reports whether a process, which is a child of this one, has ended.
func HasEnded(pid int) bool {
	var info unix.Siginfo
	for {
		err := unix.Waitid(unix.P_PID, pid, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
		if err != unix.EINTR {
			return err == nil && info.Signo != 0 || err == unix.ECHILD
		}
	}
}
