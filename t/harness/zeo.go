package harness

import (
	be "encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

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
		dir, source := Repo("bin/venv-zeo"+version), Repo("internal/zodb/zeo/testdata")+"/"
		out, err := exec.Command(source+"venv.sh", dir, source+"requirements-"+version+".txt").CombinedOutput()
		require.NoError(t, err, "make a Python with ZEO %s: %s", version, out)
		if zeoVenvs.dir == nil {
			zeoVenvs.dir = make(map[string]string)
		}
		zeoVenvs.dir[version] = dir
	}
	return filepath.Join(zeoVenvs.dir[version], "bin/python")
}

// ZEO is a real ZEO server of a FileStorage, at a socket.
type ZEO struct {
	T       testing.TB
	Python  string
	dir     string
	Server  string // what there is in its <zeo> section
	Storage string // and in <filestorage>
	Cmd     *exec.Cmd
}

// EachZEO runs a test with every version of the server and each encoding.
func EachZEO(t *testing.T, test func(t *testing.T, z *ZEO)) {
	for _, version := range []string{"5", "6"} {
		for _, msgpack := range []string{"false", "true"} {
			t.Run(version+map[string]string{"false": "Z", "true": "M"}[msgpack], func(t *testing.T) {
				t.Parallel()
				test(t, StartZEO(t, version, "msgpack "+msgpack, ""))
			})
		}
	}
}

// StartZEO starts a server with an empty database.
func StartZEO(t testing.TB, version, server, storage string) *ZEO {
	t.Helper()
	z := &ZEO{T: t, Python: zeoPython(t, version), dir: t.TempDir(), Server: server, Storage: storage}
	t.Cleanup(func() {
		z.Kill()
		if t.Failed() {
			log, _ := os.ReadFile(z.Path("log"))
			t.Logf("server:\n%s", log)
		}
	})
	z.Start()
	return z
}

// Path returns the path of a file of the server.
func (z *ZEO) Path(name string) string { return filepath.Join(z.dir, name) }

// URL returns the url of the database by a socket, the server's own if it is "".
func (z *ZEO) URL(socket string) string {
	if socket == "" {
		socket = z.Path("zeo")
	}
	return "zeo://localhost/?unix=" + socket
}

// Start starts the server, also after Kill, and waits until it answers.
func (z *ZEO) Start() {
	z.T.Helper()
	conf := fmt.Sprintf("<zeo>\naddress %s\n%s\n</zeo>\n<filestorage 1>\npath %s\n%s\n</filestorage>\n", z.Path("zeo"), z.Server, z.Path("data.fs"), z.Storage)
	require.NoError(z.T, os.WriteFile(z.Path("conf"), []byte(conf), 0o666))
	log, err := os.OpenFile(z.Path("log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o666)
	require.NoError(z.T, err)
	defer log.Close()
	z.Cmd = exec.Command(z.Python, "-m", "ZEO.runzeo", "-C", z.Path("conf"))
	z.Cmd.Dir, z.Cmd.Stdout, z.Cmd.Stderr = z.dir, log, log
	z.Cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(z.T, StartProcess(z.Cmd))
	Until(z.T, "the ZEO server listens", func() bool {
		conn, err := net.Dial("unix", z.Path("zeo"))
		if err != nil {
			return false
		}
		defer conn.Close()
		_, err = ReadZEO(conn)
		require.NoError(z.T, err)
		_, err = conn.Write([]byte("\x00\x00\x00\x04ruok")) // a connection without a word is worth a line in its log
		require.NoError(z.T, err)
		_, err = ReadZEO(conn)
		return err == nil
	})
}

// Kill ends the server as a crash would. It may be started again.
func (z *ZEO) Kill() {
	if z.Cmd == nil || z.Cmd.Process == nil {
		return
	}
	_ = z.Cmd.Process.Kill()
	_ = z.Cmd.Wait()
	z.Cmd = nil
	os.Remove(z.Path("zeo"))
}

// ReadZEO reads a message with its length before it.
func ReadZEO(in io.Reader) ([]byte, error) {
	frame := make([]byte, 4)
	if _, err := io.ReadFull(in, frame); err != nil {
		return nil, err
	}
	frame = append(frame, make([]byte, be.BigEndian.Uint32(frame))...)
	_, err := io.ReadFull(in, frame[4:])
	return frame, err
}
