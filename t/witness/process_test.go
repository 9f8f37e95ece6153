package witness

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Process is a child, and what it has printed.
type Process struct {
	Name  string
	cmd   *exec.Cmd
	log   string
	stdin io.WriteCloser
	Done  chan struct{} // closed when it was waited for
}

// forks is what the thread that forks is asked to do. It lives as long as the test:
// children get their parent death signal when the thread ends that forked.
var forks = func() chan<- func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range work {
			f()
		}
	}()
	return work
}()

func spawn(dir, name, program string, args ...string) (*Process, error) {
	p := &Process{Name: name, log: filepath.Join(dir, name+".log"), Done: make(chan struct{})}
	log, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p.cmd = exec.Command(program, args...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	started := make(chan error)
	forks <- func() { started <- p.cmd.Start() }
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.Done)
	}()
	return p, nil
}

// Log returns what the process has printed.
func (p *Process) Log() string {
	text, _ := os.ReadFile(p.log)
	return string(text)
}

// Tail returns the end of that.
func (p *Process) Tail(lines int) string {
	all := bytes.Split(bytes.TrimSpace([]byte(p.Log())), []byte("\n"))
	return string(bytes.Join(all[max(0, len(all)-lines):], []byte("\n")))
}

func (p *Process) Signal(sig syscall.Signal) { _ = p.cmd.Process.Signal(sig) }

// Status is valid when the process was waited for.
func (p *Process) Status() syscall.WaitStatus { return p.cmd.ProcessState.Sys().(syscall.WaitStatus) }

// WaitFor waits for the end of the process, and tells whether it came in time.
func (p *Process) WaitFor(limit time.Duration) bool {
	select {
	case <-p.Done:
		return true
	case <-time.After(limit):
		return false
	}
}

// Running reports whether the process has not ended.
func (p *Process) Running() bool {
	select {
	case <-p.Done:
		return false
	default:
		return true
	}
}

// waitLog waits until the process has printed text; false if it ends before.
func (p *Process) waitLog(text string) bool {
	for !strings.Contains(p.Log(), text) {
		if p.WaitFor(20 * time.Millisecond) {
			return false
		}
	}
	return true
}

// abort makes the kernel give up the FUSE connection of a mount: whoever waits for
// it is freed, also from waits that SIGKILL cannot end.
func abort(dev uint64) error {
	dir, err := os.MkdirTemp("", "fusectl-")
	if err != nil {
		return err
	}
	defer os.Remove(dir)
	if err := unix.Mount("none", dir, "fusectl", 0, ""); err != nil {
		return err
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	return os.WriteFile(filepath.Join(dir, fmt.Sprint(unix.Minor(dev)), "abort"), []byte("1"), 0)
}
