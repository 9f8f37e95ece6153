package harness

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Trace is an open .wcfs/trace.
type Trace struct {
	t    testing.TB
	fd   int
	data []byte // read, no full line yet
}

// OpenTrace opens .wcfs/trace at what happens from now on.
func (s *Server) OpenTrace() *Trace {
	s.T.Helper()
	fd, err := OpenFile(s.Path(".wcfs/trace"), unix.O_RDONLY)
	require.NoError(s.T, err)
	tr := &Trace{t: s.T, fd: fd}
	s.T.Cleanup(tr.Close)
	require.Empty(s.T, tr.more(), "it begins now")
	return tr
}

// Close ends reading the trace.
func (tr *Trace) Close() {
	if tr.fd >= 0 {
		unix.Close(tr.fd)
	}
	tr.fd = -1
}

// more returns what there is to read.
func (tr *Trace) more() []byte {
	tr.t.Helper()
	buf := make([]byte, 64<<10)
	var n int
	require.NoError(tr.t, Uninterrupted(func() (err error) {
		n, err = unix.Read(tr.fd, buf)
		return err
	}))
	return buf[:n]
}

// Line returns the next line, and looks for it again and again as tail -f does.
func (tr *Trace) Line() string {
	tr.t.Helper()
	for {
		if line, rest, ok := strings.Cut(string(tr.data), "\n"); ok {
			tr.data = []byte(rest)
			return line
		}
		Until(tr.t, "there is more in the trace", func() bool {
			more := tr.more()
			tr.data = append(tr.data, more...)
			return len(more) > 0
		})
	}
}

// traceLine takes apart what is there to check of a line: the level, what happened,
// and the result.
var traceLine = regexp.MustCompile(`^([IWE])\d{4} \d\d:\d\d:\d\d\.\d{6} (.*?)( pid=\d+ uid=(\d+) comm=(\S+)|( pid=\d+))?: (.*) <\d+\.\d{6}>$`)

// Next returns the next line about what, as level, event and result.
func (tr *Trace) Next(what string) string {
	tr.t.Helper()
	for {
		line := tr.Line()
		require.NotContains(tr.t, line, ".wcfs/trace", "it does not tell about itself")
		if !strings.Contains(line, what) {
			continue
		}
		m := traceLine.FindStringSubmatch(line)
		require.NotNil(tr.t, m, line)
		if m[4] != "" && !strings.HasPrefix(m[2], "release ") { // the kernel does not tell who closed last
			// The server's own probes ask, too, and a child that another test has started
			// flushes what it inherited when it becomes another program.
			if m[5] != strings.TrimSpace(Content(tr.t, "/proc/self/comm")) {
				continue
			}
			require.Equal(tr.t, fmt.Sprint(os.Getuid()), m[4], line)
		}
		return fmt.Sprintf("%s %s: %s", m[1], m[2], m[7])
	}
}
