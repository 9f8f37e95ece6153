package harness

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Terminal is a pseudoterminal with a program on it: see pty(7).
type Terminal struct {
	Before unix.Termios // mode of the terminal before the program has begun

	t      testing.TB
	master *os.File
	slave  *os.File // kept open: else the master reads EIO when the program ends
	cmd    *exec.Cmd
	ended  chan struct{}
	read   chan struct{}

	mu  sync.Mutex
	out strings.Builder
}

// StartOnTerminal runs wcfs on a terminal of its own, which is told to be a xterm.
func StartOnTerminal(t testing.TB, rows, columns int, args ...string) *Terminal {
	t.Helper()
	term := &Terminal{t: t, ended: make(chan struct{}), read: make(chan struct{})}
	var err error
	term.master, err = os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	require.NoError(t, err)
	number, err := unix.IoctlGetInt(int(term.master.Fd()), unix.TIOCGPTN)
	require.NoError(t, err)
	require.NoError(t, unix.IoctlSetPointerInt(int(term.master.Fd()), unix.TIOCSPTLCK, 0))
	term.slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	term.Resize(rows, columns)
	term.Before = term.Mode()
	term.cmd = exec.Command(Binary, args...)
	term.cmd.Env = append(os.Environ(), "TERM=xterm")
	term.cmd.Stdin, term.cmd.Stdout, term.cmd.Stderr = term.slave, term.slave, term.slave
	term.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Pdeathsig: syscall.SIGKILL}
	require.NoError(t, StartProcess(term.cmd))
	go term.receive()
	go func() {
		_ = term.cmd.Wait()
		close(term.ended)
	}()
	t.Cleanup(term.close)
	return term
}

// receive takes what the program says until the terminal is closed.
func (term *Terminal) receive() {
	defer close(term.read)
	buf := make([]byte, 4096)
	for {
		n, err := term.master.Read(buf)
		term.mu.Lock()
		term.out.Write(buf[:n])
		term.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (term *Terminal) close() {
	_ = term.cmd.Process.Kill()
	<-term.ended
	term.slave.Close()
	term.master.Close()
	<-term.read
}

// Output returns all that the program has said so far.
func (term *Terminal) Output() string {
	term.mu.Lock()
	defer term.mu.Unlock()
	return term.out.String()
}

// Resize makes the terminal another size, which the program is told.
func (term *Terminal) Resize(rows, columns int) {
	term.t.Helper()
	require.NoError(term.t, unix.IoctlSetWinsize(int(term.slave.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: uint16(rows), Col: uint16(columns)}))
}

// Type sends keys to the program.
func (term *Terminal) Type(keys string) {
	term.t.Helper()
	_, err := term.master.WriteString(keys)
	require.NoError(term.t, err)
}

// Pid returns the process of the program.
func (term *Terminal) Pid() int { return term.cmd.Process.Pid }

// Mode returns how the terminal is set up.
func (term *Terminal) Mode() unix.Termios {
	term.t.Helper()
	mode, err := unix.IoctlGetTermios(int(term.slave.Fd()), unix.TCGETS)
	require.NoError(term.t, err)
	return *mode
}

// WaitExit waits until the program has ended, and returns its exit code.
func (term *Terminal) WaitExit() int {
	term.t.Helper()
	select {
	case <-term.ended:
	case <-time.After(Patience):
		term.t.Fatalf("the program does not end:\n%q", term.Output())
	}
	return term.cmd.ProcessState.ExitCode()
}
