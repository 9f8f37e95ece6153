package t

import (
	"bufio"
	"bytes"
	be "encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// zeoVenvs are the Pythons with ZEO, by its version. They are made when needed.
var zeoVenvs struct {
	sync.Mutex
	dir map[string]string
}

// zeoPython returns the Python with a version of ZEO.
func zeoPython(t testing.TB, version string) string {
	t.Helper()
	zeoVenvs.Lock()
	defer zeoVenvs.Unlock()
	if zeoVenvs.dir[version] == "" {
		if _, err := exec.LookPath("python3"); err != nil {
			t.Skip("there is no python3, which the real ZEO server needs; on Debian: sudo apt-get install python3-venv")
		}
		dir, err := filepath.Abs("../bin/venv-zeo" + version)
		require.NoError(t, err)
		const source = "../internal/zodb/zeo/testdata/"
		out, err := exec.Command(source+"venv.sh", dir, source+"requirements-"+version+".txt").CombinedOutput()
		require.NoError(t, err, "make a Python with ZEO %s: %s", version, out)
		if zeoVenvs.dir == nil {
			zeoVenvs.dir = make(map[string]string)
		}
		zeoVenvs.dir[version] = dir
	}
	return filepath.Join(zeoVenvs.dir[version], "bin/python")
}

// zeod is a real ZEO server of a FileStorage, at a socket.
type zeod struct {
	t       testing.TB
	python  string
	dir     string
	server  string // what there is in its <zeo> section
	storage string // and in <filestorage>
	cmd     *exec.Cmd
}

// eachZEO runs a test with every version of the server and each encoding.
func eachZEO(t *testing.T, test func(t *testing.T, z *zeod)) {
	for _, version := range []string{"5", "6"} {
		for _, msgpack := range []string{"false", "true"} {
			t.Run(version+map[string]string{"false": "Z", "true": "M"}[msgpack], func(t *testing.T) {
				t.Parallel()
				test(t, startZEO(t, version, "msgpack "+msgpack, ""))
			})
		}
	}
}

// startZEO starts a server with an empty database.
func startZEO(t testing.TB, version, server, storage string) *zeod {
	t.Helper()
	z := &zeod{t: t, python: zeoPython(t, version), dir: t.TempDir(), server: server, storage: storage}
	t.Cleanup(func() {
		z.kill()
		if t.Failed() {
			log, _ := os.ReadFile(z.path("log"))
			t.Logf("server:\n%s", log)
		}
	})
	z.start()
	return z
}

func (z *zeod) path(name string) string { return filepath.Join(z.dir, name) }

// url returns the url of the database by a socket, the server's own if it is "".
func (z *zeod) url(socket string) string {
	if socket == "" {
		socket = z.path("zeo")
	}
	return "zeo://localhost/?unix=" + socket
}

func (z *zeod) start() {
	z.t.Helper()
	conf := fmt.Sprintf("<zeo>\naddress %s\n%s\n</zeo>\n<filestorage 1>\npath %s\n%s\n</filestorage>\n", z.path("zeo"), z.server, z.path("data.fs"), z.storage)
	require.NoError(z.t, os.WriteFile(z.path("conf"), []byte(conf), 0o666))
	log, err := os.OpenFile(z.path("log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o666)
	require.NoError(z.t, err)
	defer log.Close()
	z.cmd = exec.Command(z.python, "-m", "ZEO.runzeo", "-C", z.path("conf"))
	z.cmd.Dir, z.cmd.Stdout, z.cmd.Stderr = z.dir, log, log
	z.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(z.t, start(z.cmd))
	until(z.t, "the ZEO server listens", func() bool {
		conn, err := net.Dial("unix", z.path("zeo"))
		if err != nil {
			return false
		}
		defer conn.Close()
		_, err = readZEO(conn)
		require.NoError(z.t, err)
		_, err = conn.Write([]byte("\x00\x00\x00\x04ruok")) // a connection without a word is worth a line in its log
		require.NoError(z.t, err)
		_, err = readZEO(conn)
		return err == nil
	})
}

// kill ends the server as a crash would. It may be started again.
func (z *zeod) kill() {
	if z.cmd == nil || z.cmd.Process == nil {
		return
	}
	_ = z.cmd.Process.Kill()
	_ = z.cmd.Wait()
	z.cmd = nil
	os.Remove(z.path("zeo"))
}

// zeoClient is a Python client of a server.
type zeoClient struct {
	t   testing.TB
	in  io.Writer
	out *bufio.Scanner
}

// application starts one, for as long as the test.
func (z *zeod) application() *zeoClient {
	z.t.Helper()
	cmd := exec.Command(z.python, "testdata/zeoclient.py", z.path("zeo"))
	var words bytes.Buffer
	cmd.Stderr = &words
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	require.NoError(z.t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(z.t, err)
	require.NoError(z.t, start(cmd))
	z.t.Cleanup(func() {
		in.Close()
		timer := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() }) // it may wait for a server that is gone
		_ = cmd.Wait()
		timer.Stop()
		if z.t.Failed() {
			z.t.Logf("application: %s", &words)
		}
	})
	a := &zeoClient{z.t, in, bufio.NewScanner(out)}
	require.Equal(z.t, "open", a.answer())
	return a
}

func (a *zeoClient) answer() string {
	if !a.out.Scan() {
		a.t.Error("the application has ended")
	}
	return a.out.Text()
}

// do has it do something and returns its answer. It may be called from any goroutine.
func (a *zeoClient) do(command string, args ...string) string {
	for _, arg := range args {
		command += " '" + arg + "'"
	}
	if _, err := io.WriteString(a.in, command+"\n"); err != nil {
		a.t.Error(err)
	}
	return a.answer()
}

// array returns the data of an array as the application reads it.
func (a *zeoClient) array(name string) []byte {
	a.t.Helper()
	out := filepath.Join(a.t.TempDir(), "out")
	require.Equal(a.t, "done", a.do("read", name, out))
	data, err := os.ReadFile(out)
	require.NoError(a.t, err)
	return data
}

// relay stands between clients and a server. It may cut connections anywhere.
type relay struct {
	z      *zeod
	socket string
	l      net.Listener
	work   sync.WaitGroup

	// request and reply are asked about each message, by its method or none, whether it
	// goes on. If not, its connection is cut. They may be nil.
	request, reply func(method string) bool
}

// relay starts one, for as long as the test.
func (z *zeod) relay(request, reply func(method string) bool) *relay {
	z.t.Helper()
	r := &relay{z: z, socket: filepath.Join(z.t.TempDir(), "relay"), request: request, reply: reply}
	var err error
	r.l, err = net.Listen("unix", r.socket)
	require.NoError(z.t, err)
	r.work.Go(func() {
		for {
			conn, err := r.l.Accept()
			if err != nil {
				return
			}
			r.work.Go(func() { r.serve(conn) })
		}
	})
	z.t.Cleanup(func() {
		r.l.Close()
		r.work.Wait()
	})
	return r
}

func (r *relay) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("unix", r.z.path("zeo"))
	if err != nil {
		return
	}
	defer server.Close()
	var both sync.WaitGroup
	pass := func(from, to net.Conn, ask func(string) bool) {
		both.Go(func() {
			defer client.Close()
			defer server.Close()
			for in := bufio.NewReader(from); ; {
				frame, err := readZEO(in)
				if err != nil || ask != nil && !ask(methodOf(frame)) {
					return
				}
				if _, err := to.Write(frame); err != nil {
					return
				}
			}
		})
	}
	pass(client, server, r.request)
	pass(server, client, r.reply)
	both.Wait()
}

// readZEO reads a message with its length before it.
func readZEO(in io.Reader) ([]byte, error) {
	frame := make([]byte, 4)
	if _, err := io.ReadFull(in, frame); err != nil {
		return nil, err
	}
	frame = append(frame, make([]byte, be.BigEndian.Uint32(frame))...)
	_, err := io.ReadFull(in, frame[4:])
	return frame, err
}

// methodOf finds the name of one of the methods that tests ask about.
func methodOf(frame []byte) string {
	head := string(frame[:min(len(frame), 60)])
	for _, method := range []string{"storea", "vote", "tpc_finish", "tpc_begin", "tpc_abort", "new_oids", ".reply"} {
		if strings.Contains(head, method) {
			return method
		}
	}
	return ""
}

// once returns a hook that calls f for the first message of a method, and lets all pass
// but those that f does not.
func once(method string, f func() bool) func(string) bool {
	var first sync.Once
	return func(m string) (goOn bool) {
		goOn = true
		if m == method {
			first.Do(func() { goOn = f() })
		}
		return goOn
	}
}
