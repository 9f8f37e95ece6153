package zeo

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/link"
	"github.com/wcfs/wcfs/internal/zodb/remote"
	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/internal/zodb/storage/pythontest"
	"github.com/wcfs/wcfs/internal/zodb/storage/storagetest"
)

// server is a real ZEO server.
type server struct {
	t      testing.TB
	python *pythontest.Host
	dir    string
	conf   string // of its <zeo> section
	addr   link.Addr
	tls    *link.TLS // how to connect
	run    *pythontest.Process
}

// python returns the Python with a version of ZEO.
func python(t testing.TB, version string) *pythontest.Host {
	return running.Get(t, pythontest.Venv{
		Dir:          "bin/venv-zeo" + version,
		Script:       "internal/zodb/zeo/testdata/venv.sh",
		Requirements: "internal/zodb/zeo/testdata/requirements-" + version + ".txt",
		Modules:      []string{"ZEO.runzeo", "ZEO.StorageServer"},
	})
}

// running are the Pythons with ZEO.
var running pythontest.Hosts

// eachServer runs a test with every real server and encoding.
func eachServer(t *testing.T, test func(t *testing.T, s *server)) {
	for _, kind := range kinds() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel() // much of it is waiting
			test(t, newServer(t, kind[:1], kind[1:], ""))
		})
	}
}

// kinds returns the kinds of servers: each version with each encoding, or if tests are to
// be short each of them once.
func kinds() []string {
	if testing.Short() {
		return []string{"5Z", "6M"}
	}
	return []string{"5Z", "5M", "6Z", "6M"}
}

// newServer starts a server with an empty FileStorage, at a socket.
func newServer(t testing.TB, version, encoding, conf string) *server {
	s := &server{t: t, python: python(t, version), dir: t.TempDir()}
	s.addr = link.Unix(filepath.Join(s.dir, "zeo"))
	s.conf = fmt.Sprintf("address %s\nmsgpack %v\n%s", s.addr.Address, encoding == "M", conf)
	t.Cleanup(func() {
		s.kill()
		if t.Failed() {
			t.Logf("server:\n%s", s.log())
		}
	})
	s.start()
	return s
}

func (s *server) log() string {
	log, _ := os.ReadFile(filepath.Join(s.dir, "log"))
	return string(log)
}

func (s *server) start() {
	conf := filepath.Join(s.dir, "conf")
	text := fmt.Sprintf("<zeo>\n%s\n</zeo>\n<filestorage 1>\npath %s/data.fs\npack-gc false\n</filestorage>\n", s.conf, s.dir)
	require.NoError(s.t, os.WriteFile(conf, []byte(text), 0o666))
	s.run = s.python.Run(s.t, map[string]string{"server": conf, "log": filepath.Join(s.dir, "log")})
	require.Eventually(s.t, func() bool {
		c, _, err := Dial(s.config())(context.Background(), ignore)
		if err == nil {
			c.Close()
		}
		return err == nil
	}, time.Minute, 5*time.Millisecond, "the server does not start")
}

func (s *server) kill() {
	if s.run == nil {
		return
	}
	s.run.Kill()
	s.run = nil
	os.Remove(s.addr.Address)
}

func (s *server) signal(sig syscall.Signal) { s.run.Signal(sig) }

// file is the database.
func (s *server) file() string { return filepath.Join(s.dir, "data.fs") }

func (s *server) config() Config {
	return Config{Addrs: []link.Addr{s.addr}, Storage: "1", TLS: s.tls, ConnectTimeout: 30 * time.Second, MaxMessage: DefaultMaxMessage}
}

// url names the database as a user does.
func (s *server) url(t testing.TB) storage.URL {
	u, err := storage.ParseURL("zeo://localhost/?unix=" + s.addr.Address)
	require.NoError(t, err)
	return u
}

// commit is one that was told.
type commit struct {
	tid  zodb.Tid
	oids []zodb.Oid
}

// told collects commits.
type told struct{ commits chan commit }

func newTold() told { return told{make(chan commit, 10000)} }

func (c told) put(tid zodb.Tid, oids []zodb.Oid) { c.commits <- commit{tid, oids} }

func (c told) next(t testing.TB) commit {
	t.Helper()
	select {
	case got := <-c.commits:
		return got
	case <-time.After(time.Minute):
		t.Fatal("a commit is not told")
		return commit{}
	}
}

// dial opens a session, for as long as the test.
func dial(t testing.TB, cfg Config, commits remote.Commits) (remote.Session, zodb.Tid) {
	t.Helper()
	s, last, err := Dial(cfg)(t.Context(), commits)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s, last
}

func ignore(zodb.Tid, []zodb.Oid) {}

// writer is an application that commits to a server.
type writer struct {
	*pythontest.Writer
	t testing.TB
}

// Names of what writers are told.
type (
	order = pythontest.Order
	entry = pythontest.Entry
)

func put(oid zodb.Oid, data string) entry { return pythontest.Put(oid, data) }
func remove(oid zodb.Oid) entry           { return pythontest.Remove(oid) }

func (s *server) writer() *writer {
	w := &writer{s.python.Writer(s.t), s.t}
	w.online(s)
	return w
}

// online has the writer commit to the server, offline to its file.
func (w *writer) online(s *server) {
	w.Do(order{Do: "work", Server: s.addr.Address, Storage: "1"})
}

func (w *writer) offline(s *server) { w.Do(order{Do: "work", File: s.file()}) }

// idle has the writer let go of both.
func (w *writer) idle() { w.Do(order{Do: "work"}) }

// undoTxn undoes the last transaction of a model as applications do, if ZODB lets it, and
// returns what it is.
func (w *writer) undoTxn(m *storagetest.Model, tid zodb.Tid) (txn storagetest.Txn, ok bool) {
	w.t.Helper()
	last := m.Txns[len(m.Txns)-1]
	txn.Tid = tid
	var undone []string
	for _, oid := range last.Oids() {
		data, serial, _ := m.Load(zodb.Xid{At: last.Tid - 1, Oid: oid})
		txn.Records = append(txn.Records, storagetest.Record{Oid: oid, Data: data, SameAs: serial})
		undone = append(undone, oid.String())
	}
	_, refused := w.Try(order{Do: "commit", Tid: tid.String(), Undo: last.Tid.String(), Undone: undone})
	return txn, refused == ""
}
