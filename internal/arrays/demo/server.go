package demo

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/wcfs/wcfs/client"

	"github.com/wcfs/wcfs/internal/serve/mount"
	"github.com/wcfs/wcfs/internal/zodb/fault"
)

const (
	// joinPoll is how often a server that starts is asked whether it is ready.
	joinPoll = 5 * time.Millisecond

	// startWait is how long a server may take until its mount answers.
	startWait = 30 * time.Second

	// stopWait is how long a server may take to stop, and how long after the
	// end of the context it may go on, before it is killed.
	stopWait = 10 * time.Second

	// crashWait is how long it may take to learn why the server is gone, also on a
	// machine that has much else to do.
	crashWait = 5 * time.Second

	// logBytes is how much of the log is kept: its end tells why a server ended.
	logBytes = 16 << 10
)

// server is the process that serves the database.
type server struct {
	cmd    *exec.Cmd
	point  string // mount point
	log    logTail
	exited chan struct{} // closed when it has been waited for
}

// startServer starts cmd, which serves at point. ended is called with an error when the process
// has ended. When ctx has ended the server is killed after a while: that frees who
// waits for an answer of the mount.
func startServer(ctx context.Context, cmd *exec.Cmd, point string, ended func(error)) (*server, error) {
	s := &server{cmd: cmd, point: point, exited: make(chan struct{})}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = nil, nil, &s.log
	cmd.WaitDelay = crashWait // whoever else has its stderr is not waited for
	// Ctrl-C in a terminal is for us: we leave the mount, and then stop it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the server: %w", err)
	}
	go func() {
		_ = cmd.Wait() // what it returns is in ProcessState too
		close(s.exited)
		ended(s.failure())
	}()
	context.AfterFunc(ctx, func() { _ = s.waitOrKill() })
	return s, nil
}

// join waits until the mount answers.
func (s *server) join(ctx context.Context) (*client.WCFS, error) {
	late := time.AfterFunc(startWait, s.kill)
	defer late.Stop()
	tick := time.NewTicker(joinPoll)
	defer tick.Stop()
	for {
		w, err := client.JoinMount(ctx, s.point)
		if err == nil || !errors.Is(err, client.ErrNotRunning) {
			return w, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// why returns the reason behind err, which looking at the mount gave: if the
// server is gone, that is what matters, however it was noticed. ctx ends with
// the server.
func (s *server) why(ctx context.Context, err error) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(crashWait):
		return err
	}
}

// stop ends the server as Ctrl-C does.
func (s *server) stop() error {
	_ = s.cmd.Process.Signal(syscall.SIGINT) // it fails if the process has ended
	return s.waitOrKill()
}

func (s *server) waitOrKill() error {
	select {
	case <-s.exited:
		return nil
	case <-time.After(stopWait):
		s.kill()
		return fmt.Errorf("the server did not end within %s and was killed", stopWait)
	}
}

// kill ends the server, whatever its state. A process that waits for an answer
// of a mount may be one that even SIGKILL does not end; should the server be
// one, or hang, giving up the connection frees it, and us.
func (s *server) kill() {
	_ = s.cmd.Process.Kill()
	select {
	case <-s.exited:
		return
	case <-time.After(crashWait):
	}
	entries, _ := mount.List()
	for _, e := range entries {
		if e.Dir == s.point {
			_ = e.Abort()
		}
	}
	<-s.exited
}

// failure tells why the server ended: as itself says, if it does. Requires: it has.
func (s *server) failure() error {
	state := s.cmd.ProcessState
	if line, ok := s.log.lastWord(); ok && state.ExitCode() > 0 {
		return &fault.Error{Kind: fault.OfExit(state.ExitCode()), Msg: line}
	}
	line := fmt.Sprintf("the server has ended (%s)", state)
	if last := s.log.lastLine(); last != "" {
		line += "; the last line of its log: " + last
	}
	return &fault.Error{Kind: fault.OfExit(state.ExitCode()), Msg: line}
}

// logTail keeps the end of what the server logs.
type logTail struct {
	mu   sync.Mutex
	text []byte
}

func (l *logTail) Write(data []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, data...)
	if extra := len(l.text) - logBytes; extra > 0 {
		l.text = append(l.text[:0], l.text[extra:]...)
	}
	return len(data), nil
}

func (l *logTail) lines() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Split(strings.TrimSpace(string(l.text)), "\n")
}

// lastWord returns what the server said about its end.
func (l *logTail) lastWord() (line string, ok bool) {
	for _, l := range l.lines() {
		if text, found := strings.CutPrefix(l, "wcfs: "); found {
			line, ok = text, true
		}
	}
	return line, ok
}

func (l *logTail) lastLine() string {
	lines := l.lines()
	return lines[len(lines)-1]
}
