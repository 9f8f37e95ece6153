package pgtest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// patience is how long states are waited for, and tick how often they are looked at.
const (
	patience = time.Minute
	tick     = 2 * time.Millisecond
)

// Options says what a cluster is like.
type Options struct {
	TCP      bool     // listens at 127.0.0.1, too, where passwords are asked for
	Cert     string   // the file of its certificate, for TLS
	Key      string   // that of its key
	Access   []string // lines of pg_hba.conf before all others
	Settings []string // lines of postgresql.conf, as in "max_connections = 10"
}

// Cluster is a PostgreSQL server with databases. Its methods are for one goroutine at a
// time, but for those of the shared one that do not touch its server.
type Cluster struct {
	Port int // of TCP, and in the name of the socket

	g      *Ground
	dir    string    // has the data
	socket string    // the directory of the socket
	cmd    *exec.Cmd // nil: it is stopped
}

// Shared returns the cluster that all tests share.
func (g *Ground) Shared(t testing.TB) *Cluster {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shared == nil {
		c := g.copy(t, Options{})
		c.Start(t)
		g.shared = c
	}
	return g.shared
}

// New starts a cluster, for as long as the test.
func (g *Ground) New(t testing.TB, opt Options) *Cluster {
	t.Helper()
	c := func() *Cluster {
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.copy(t, opt)
	}()
	t.Cleanup(func() { c.remove(t) })
	c.Start(t)
	return c
}

// copy makes a cluster that is not started yet. g.mu must be held.
func (g *Ground) copy(t testing.TB, opt Options) *Cluster {
	t.Helper()
	g.make(t)
	c := g.place(t)
	g.run(t, "cp", "-a", filepath.Join(g.dir, "template/data"), c.data())
	c.configure(t, opt)
	return c
}

// place makes the directory of a cluster. g.mu must be held.
func (g *Ground) place(t testing.TB) *Cluster {
	t.Helper()
	g.clusters++
	c := &Cluster{g: g, dir: filepath.Join(g.dir, fmt.Sprint(g.clusters)), Port: 5432}
	g.run(t, "mkdir", c.dir)
	return c
}

// Dir returns the directory of the socket, which is a host for PostgreSQL.
func (c *Cluster) Dir() string { return c.dir }

func (c *Cluster) data() string { return filepath.Join(c.dir, "data") }

// Log returns what the server has written to its log.
func (c *Cluster) Log() string {
	log, _ := os.ReadFile(filepath.Join(c.dir, "log"))
	return string(log)
}

// settings are those of all clusters: what costs is left out, and connections are not
// few.
const settings = `
fsync = off
full_page_writes = off
autovacuum = off
jit = off
huge_pages = off
shared_buffers = 8MB
max_connections = 200
max_wal_senders = 4
wal_level = replica
hot_standby = on
listen_addresses = ''
`

// configure writes the files that say what the server is like.
func (c *Cluster) configure(t testing.TB, opt Options) {
	t.Helper()
	conf := settings
	access := append([]string(nil), opt.Access...)
	if opt.TCP {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		c.Port = l.Addr().(*net.TCPAddr).Port
		require.NoError(t, l.Close())
		conf += "listen_addresses = '127.0.0.1'\n"
		access = append(access, "host all all 127.0.0.1/32 scram-sha-256")
	}
	conf += fmt.Sprintf("port = %d\n", c.Port)
	if opt.Cert != "" {
		conf += "ssl = on\n"
		c.write(t, "server.crt", read(t, opt.Cert))
		c.write(t, "server.key", read(t, opt.Key))
	}
	access = append(access, "local all all trust", "local replication all trust")
	c.write(t, "postgresql.conf", conf+strings.Join(opt.Settings, "\n")+"\n")
	c.write(t, "pg_hba.conf", strings.Join(access, "\n")+"\n")
}

func read(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(text)
}

// write writes a file of the data directory that nobody else may read.
func (c *Cluster) write(t testing.TB, name, text string) {
	t.Helper()
	path := filepath.Join(c.data(), name)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	if c.g.user != nil {
		require.NoError(t, os.Chown(path, int(c.g.user.Uid), int(c.g.user.Gid)))
	}
}

// Start starts the server and waits until it can be connected to.
func (c *Cluster) Start(t testing.TB) {
	t.Helper()
	c.start(t, c.dir)
}

// StartAside starts it at a socket that only its owner knows of. So there are commits
// while everybody else thinks that the server is away.
func (c *Cluster) StartAside(t testing.TB) {
	t.Helper()
	aside := filepath.Join(c.dir, "aside")
	c.g.run(t, "mkdir", "-p", aside)
	c.start(t, aside, "-c", "listen_addresses=")
}

func (c *Cluster) start(t testing.TB, socket string, args ...string) {
	t.Helper()
	require.Nil(t, c.cmd, "the server runs already")
	log, err := os.OpenFile(filepath.Join(c.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o666)
	require.NoError(t, err)
	defer log.Close()
	c.socket = socket
	cmd := c.g.command("postgres", append([]string{"-D", c.data(), "-k", socket}, args...)...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr.Setpgid = true
	require.NoError(t, cmd.Start())
	c.cmd = cmd
	require.Eventually(t, func() bool {
		require.True(t, runs(cmd.Process.Pid), "the server does not start: %s", c.Log())
		return c.isReady()
	}, patience, tick, "the server is not ready")
}

// isReady reports whether the server says so in its file, where a program of PostgreSQL
// looks for it too (pg_ctl, wait_for_postmaster_start).
func (c *Cluster) isReady() bool {
	text, _ := os.ReadFile(filepath.Join(c.data(), "postmaster.pid"))
	lines := strings.Split(string(text), "\n")
	if len(lines) < 8 || lines[0] != fmt.Sprint(c.cmd.Process.Pid) {
		return false
	}
	state := strings.TrimSpace(lines[7])
	return state == "ready" || state == "standby"
}
