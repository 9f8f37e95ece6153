package pgtest

import (
	"fmt"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// Saved is a copy of all data of a cluster.
type Saved string

// Save copies all data while the server is stopped.
func (c *Cluster) Save(t testing.TB) Saved {
	t.Helper()
	require.Nil(t, c.cmd, "the server runs")
	to := filepath.Join(c.dir, "saved")
	c.g.run(t, "rm", "-rf", to)
	c.g.run(t, "cp", "-a", c.data(), to)
	return Saved(to)
}

// Restore brings the data back while the server is stopped, as if there had been nothing
// since.
func (c *Cluster) Restore(t testing.TB, from Saved) {
	t.Helper()
	require.Nil(t, c.cmd, "the server runs")
	c.g.run(t, "rm", "-rf", c.data())
	c.g.run(t, "cp", "-a", string(from), c.data())
}

// Standby starts a server that follows this one, and can be read, for as long as the
// test.
func (c *Cluster) Standby(t testing.TB) *Cluster {
	t.Helper()
	s := func() *Cluster {
		c.g.mu.Lock()
		defer c.g.mu.Unlock()
		return c.g.place(t)
	}()
	t.Cleanup(func() { s.remove(t) })
	c.g.run(t, "pg_basebackup", "-h", c.socket, "-p", fmt.Sprint(c.Port), "-U", "postgres", "-D", s.data(),
		"-X", "stream", "-c", "fast", "--no-sync", "-R")
	s.Start(t)
	return s
}

// Replay has a standby go on with what it gets, or stand still. It stands still when Replay
// has returned.
func (c *Cluster) Replay(t testing.TB, on bool) {
	t.Helper()
	if on {
		c.Query(t, "postgres", "SELECT pg_wal_replay_resume()")
		return
	}
	c.Query(t, "postgres", "SELECT pg_wal_replay_pause()")
	require.Eventually(t, func() bool {
		return c.Query(t, "postgres", "SELECT pg_get_wal_replay_pause_state()") == "paused"
	}, patience, tick)
}

// AwaitReceived waits until a standby has all that its primary has by now, also if it does
// not replay it.
func (c *Cluster) AwaitReceived(t testing.TB, primary *Cluster) {
	t.Helper()
	upto := primary.Query(t, "postgres", "SELECT pg_current_wal_lsn()")
	require.Eventually(t, func() bool {
		return c.Query(t, "postgres", "SELECT pg_last_wal_receive_lsn() >= '"+upto+"'") == "t"
	}, patience, tick)
}

// Promote has a standby become a server of its own.
func (c *Cluster) Promote(t testing.TB) {
	t.Helper()
	require.Equal(t, "t", c.Query(t, "postgres", "SELECT pg_promote()"))
}

// remove ends a cluster with its test.
func (c *Cluster) remove(t testing.TB) {
	c.stop(syscall.SIGQUIT)
	if t.Failed() {
		t.Logf("server:\n%s", c.Log())
	}
	c.g.run(t, "rm", "-rf", c.dir)
}
