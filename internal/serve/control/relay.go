package control

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"github.com/wcfs/wcfs/internal/zodb/fault"
)

const (
	// errorPrefix begins the line by which a server says why it ends.
	errorPrefix = "wcfs: "

	// maxLine bounds a line that is handed on, in bytes.
	maxLine = 64 << 10
)

// relay hands on what a server says. The line that says why it ends is kept.
type relay struct {
	to     io.Writer
	reason string // last line with errorPrefix, without it
}

func newRelay(to io.Writer) *relay { return &relay{to: to} }

// copy hands on from until it ends, and closes it. Lines that only inform stay
// out: a program that went to the background has nothing to say.
func (r *relay) copy(from *os.File) {
	defer from.Close()
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		line := lines.Text()
		if reason, ok := strings.CutPrefix(line, errorPrefix); ok {
			r.say(r.reason)
			r.reason = reason
		} else if !isInfo(line) {
			fmt.Fprintln(r.to, line)
		}
	}
	_, _ = io.Copy(r.to, from) // a line that is too long
}

func (r *relay) say(reason string) {
	if reason != "" {
		fmt.Fprintln(r.to, errorPrefix+reason)
	}
}

// isInfo reports whether a line is of glog and of the least severity: Immdd ...
func isInfo(line string) bool {
	return len(line) > 5 && line[0] == 'I' && strings.Trim(line[1:5], "0123456789") == "" && line[5] == ' '
}

// outcome returns how a server ended that was not told to, as an error of the kind that the
// server has made of it.
func (r *relay) outcome(state *os.ProcessState) error {
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		r.say(r.reason)
		return &fault.Error{Msg: fmt.Sprintf("the server was ended by a signal (%s) before it was ready", status.Signal())}
	}
	reason := cmp.Or(r.reason, fmt.Sprintf("the server ended with code %d before it was ready, and did not say why", state.ExitCode()))
	return &fault.Error{Kind: fault.OfExit(state.ExitCode()), Msg: reason}
}
