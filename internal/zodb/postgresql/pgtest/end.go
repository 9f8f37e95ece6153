package pgtest

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// Stop ends the server as an administrator does: connections are cut, and it shuts down.
func (c *Cluster) Stop(t testing.TB) {
	t.Helper()
	require.NotNil(t, c.cmd, "the server does not run")
	c.stop(syscall.SIGINT)
}

// Abort ends the server at once, as its immediate shutdown does.
func (c *Cluster) Abort(t testing.TB) {
	t.Helper()
	require.NotNil(t, c.cmd, "the server does not run")
	c.stop(syscall.SIGQUIT)
}

// Kill kills the server and all its processes.
func (c *Cluster) Kill(t testing.TB) {
	t.Helper()
	c.Pause(t) // so it starts no others
	children := childrenOf(c.cmd.Process.Pid)
	c.stop(syscall.SIGKILL)
	for _, pid := range children {
		_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended with the server
	}
	require.Eventually(t, func() bool {
		for _, pid := range children {
			if runs(pid) {
				return false
			}
		}
		return true
	}, patience, tick, "a process of the server does not end")
	require.NoError(t, os.Remove(filepath.Join(c.data(), "postmaster.pid")))
}

// stop ends the server by a signal, if it runs, and waits for it.
func (c *Cluster) stop(sig syscall.Signal) {
	if c.cmd == nil {
		return
	}
	c.signal(sig, syscall.SIGCONT) // for it may be stopped
	_ = c.cmd.Wait()               // its status says how it ended, which is known
	c.cmd = nil
}

// Pause has all processes of the server stand still. Connections stay, and new ones are
// made by the kernel.
func (c *Cluster) Pause(t testing.TB) {
	t.Helper()
	require.NotNil(t, c.cmd, "the server does not run")
	c.signal(syscall.SIGSTOP)
}

// Resume has them go on.
func (c *Cluster) Resume() { c.signal(syscall.SIGCONT) }

// signal sends signals to the server, and those that stop or go on to its children, too,
// which are in sessions of their own.
func (c *Cluster) signal(signals ...syscall.Signal) {
	for _, sig := range signals {
		_ = syscall.Kill(c.cmd.Process.Pid, sig) // nobody has waited for it, so it is this one
		if sig != syscall.SIGSTOP && sig != syscall.SIGCONT {
			continue
		}
		for _, pid := range childrenOf(c.cmd.Process.Pid) {
			_ = syscall.Kill(pid, sig) // it may have ended
		}
	}
}

// childrenOf returns the children of a process.
func childrenOf(parent int) (pids []int) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		panic(fmt.Sprintf("pgtest: %s", err))
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if state := stateOf(pid); len(state) > 1 && state[1] == strconv.Itoa(parent) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// runs reports whether there is a process that has not ended.
func runs(pid int) bool {
	state := stateOf(pid)
	return len(state) > 0 && state[0] != "Z" && state[0] != "X"
}

// stateOf returns what /proc tells of a process behind its name: state, parent, and more.
// There is nothing if it is gone.
func stateOf(pid int) (fields []string) {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	for _, field := range bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:]) {
		fields = append(fields, string(field))
	}
	return fields
}
