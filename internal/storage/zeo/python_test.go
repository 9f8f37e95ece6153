package zeo

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/storage"
	"github.com/wcfs/wcfs/internal/storage/remote"
	"github.com/wcfs/wcfs/internal/storage/storagetest"
)

// pythons are the Pythons with ZEO, by its version. They are made when needed.
type pythons struct {
	mu  sync.Mutex
	dir map[string]string
}

var made = pythons{dir: make(map[string]string)}

// python returns the Python with a version of ZEO.
func python(t testing.TB, version string) string {
	made.mu.Lock()
	defer made.mu.Unlock()
	if made.dir[version] == "" {
		if _, err := exec.LookPath("python3"); err != nil {
			t.Skip("there is no python3, which the real ZEO server needs; on Debian: sudo apt-get install python3-venv")
		}
		dir, err := filepath.Abs("../../../bin/venv-zeo" + version)
		require.NoError(t, err)
		out, err := exec.Command("testdata/venv.sh", dir, "testdata/requirements-"+version+".txt").CombinedOutput()
		require.NoError(t, err, "make a Python with ZEO %s: %s", version, out)
		made.dir[version] = dir
	}
	return filepath.Join(made.dir[version], "bin/python")
}

// server is a real ZEO server.
type server struct {
	t      testing.TB
	python string
	dir    string
	conf   string // of its <zeo> section
	addr   Addr
	tls    *TLS // how to connect
	cmd    *exec.Cmd
}

// eachServer runs a test with every real server and encoding.
func eachServer(t *testing.T, test func(t *testing.T, s *server)) {
	for _, version := range []string{"5", "6"} {
		for _, encoding := range []string{"Z", "M"} {
			t.Run(version+encoding, func(t *testing.T) { test(t, newServer(t, version, encoding, "")) })
		}
	}
}

// newServer starts a server with an empty FileStorage, at a socket.
func newServer(t testing.TB, version, encoding, conf string) *server {
	s := &server{t: t, python: python(t, version), dir: t.TempDir()}
	s.addr = Addr{"unix", filepath.Join(s.dir, "zeo")}
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
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o666)
	require.NoError(s.t, err)
	defer log.Close()
	s.cmd = exec.Command(s.python, "-m", "ZEO.runzeo", "-C", conf)
	s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr = s.dir, log, log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // should the test be ended
	require.NoError(s.t, s.cmd.Start())
	require.Eventually(s.t, func() bool {
		c, _, err := Dial(s.config())(context.Background(), ignore)
		if err == nil {
			c.Close()
		}
		return err == nil
	}, time.Minute, 20*time.Millisecond, "the server does not start")
}

func (s *server) kill() {
	if s.cmd == nil || s.cmd.Process == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	os.Remove(s.addr.Address)
}

func (s *server) signal(sig syscall.Signal) { require.NoError(s.t, s.cmd.Process.Signal(sig)) }

func (s *server) config() Config {
	return Config{Addrs: []Addr{s.addr}, Storage: "1", TLS: s.tls, ConnectTimeout: 30 * time.Second, MaxMessage: DefaultMaxMessage}
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
	t   testing.TB
	in  *json.Encoder
	out *bufio.Scanner
}

func (s *server) writer() *writer {
	cmd := exec.Command(s.python, "testdata/writer.py", s.addr.Address)
	stderr := &strings.Builder{}
	cmd.Stderr = stderr
	in, err := cmd.StdinPipe()
	require.NoError(s.t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(s.t, err)
	require.NoError(s.t, cmd.Start())
	s.t.Cleanup(func() {
		in.Close()
		if s.t.Failed() {
			_ = cmd.Process.Kill()
		}
		_ = cmd.Wait()
		if s.t.Failed() {
			s.t.Logf("writer: %s", stderr)
		}
	})
	return &writer{s.t, json.NewEncoder(in), bufio.NewScanner(out)}
}

// order is what the writer is to do.
type order struct {
	Do          string  `json:"do"`
	Tid         string  `json:"tid,omitempty"`
	User        []byte  `json:"user"`
	Description []byte  `json:"description"`
	Extension   []byte  `json:"extension"`
	Records     []entry `json:"records"`
	Undo        string  `json:"undo,omitempty"`
}

type entry struct {
	Oid     string  `json:"oid"`
	Data    *[]byte `json:"data"` // nil: delete
	Restore bool    `json:"restore"`
}

func put(oid zodb.Oid, data string) entry {
	b := []byte(data)
	return entry{Oid: oid.String(), Data: &b}
}

func remove(oid zodb.Oid) entry { return entry{Oid: oid.String()} }

func (w *writer) do(o order) zodb.Tid {
	w.t.Helper()
	require.NoError(w.t, w.in.Encode(o))
	require.True(w.t, w.out.Scan(), "the writer has ended")
	var answer struct{ Tid, Error string }
	require.NoError(w.t, json.Unmarshal(w.out.Bytes(), &answer))
	require.Empty(w.t, answer.Error)
	tid, _ := storage.ParseID(answer.Tid)
	return zodb.Tid(tid)
}

func (w *writer) commit(records ...entry) zodb.Tid {
	w.t.Helper()
	return w.do(order{Do: "commit", Records: records})
}

// commitTxn commits a transaction of a model, with its tid.
func (w *writer) commitTxn(txn storagetest.Txn) {
	w.t.Helper()
	o := order{Do: "commit", Tid: txn.Tid.String(), User: txn.User, Description: txn.Description, Extension: txn.Extension}
	for _, r := range txn.Records {
		if r.Data == nil {
			o.Records = append(o.Records, remove(r.Oid))
			continue
		}
		o.Records = append(o.Records, put(r.Oid, string(r.Data)))
	}
	require.Equal(w.t, txn.Tid, w.do(o))
}
