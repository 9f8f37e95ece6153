package cli

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/t/harness"
)

// python returns a Python that has ZODB: that of the witnesses. The test is skipped if
// it was not made (make bin/venv).
func python(t testing.TB) string {
	t.Helper()
	path, err := filepath.Abs(harness.Repo("bin/venv/bin/python"))
	require.NoError(t, err)
	if _, err := os.Stat(path); err != nil {
		t.Skip("no Python with ZODB: make bin/venv")
	}
	return path
}

// applicationScript has a database open for writing until it is told to commit something and
// to end.
const applicationScript = `
import sys, transaction
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage
db = DB(FileStorage(sys.argv[1]))
root = db.open().root()
root["mine"] = "kept"
transaction.commit()
print("open", flush=True)
sys.stdin.read()
root["more"] = "kept"
transaction.commit()
db.close()
`

// TestApplicationIsNotWrittenBesideOf whatever names it and the import have for the
// database: its lock is that of real ZODB.
func TestApplicationIsNotWrittenBesideOf(t *testing.T) {
	t.Parallel()
	python := python(t)
	dir := t.TempDir()
	data, link, other := filepath.Join(dir, "Data.fs"), filepath.Join(dir, "link.fs"), filepath.Join(dir, "other.fs")
	raw := filepath.Join(dir, "raw")
	require.NoError(t, os.WriteFile(raw, []byte("some data"), 0o600))
	code, _, stderr := harness.Run(t, "import", raw, data, "array", "--raw")
	require.Zero(t, code, stderr)
	require.NoError(t, os.Symlink(data, link))
	require.NoError(t, os.Symlink("link.fs", other))
	for _, name := range []string{data, link, other} {
		cmd := exec.Command(python, "-c", applicationScript, name)
		var errors bytes.Buffer
		cmd.Stderr = &errors
		in, err := cmd.StdinPipe()
		require.NoError(t, err)
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, harness.StartProcess(cmd))
		timer := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
		line, _ := bufio.NewReader(out).ReadString('\n')
		require.Equal(t, "open\n", line)
		for _, ours := range []string{data, link, other} {
			code, _, stderr := harness.Run(t, "import", raw, ours, "lost", "--raw")
			require.Equal(t, 16, code, "%s while the application has %s: %s", ours, name, stderr)
		}
		in.Close()
		_, _ = io.Copy(io.Discard, out)
		require.NoError(t, cmd.Wait(), "%s: %s", name, &errors)
		timer.Stop()
	}
	code, stdout, stderr := harness.Run(t, "import", raw, other, "later", "--raw")
	require.Zero(t, code, stdout+stderr)
	output, err := exec.Command(python, "-c", `
import sys
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage
print(*sorted(DB(FileStorage(sys.argv[1])).open().root().keys()))
`, data).CombinedOutput()
	require.NoError(t, err, string(output))
	require.Contains(t, string(output), "array later mine more\n")
}

// packPython2 reads all records of a database of Python 2 with the rules that Python 3 has
// for its strings, and packs it. It says which protocol their opcodes are of. A pack by
// Python 3 takes oids that are str only if they are below 128.
const packPython2 = `
import pickletools, sys, time
with open(sys.argv[1], "r+b") as f:
    assert f.read(4) == b"FS21"
    f.seek(0)
    f.write(b"FS30")
from zodbpickle import pickle
import io
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage
class Unpickler(pickle.Unpickler):
    def persistent_load(self, ref): return ("ref", ref)
    def find_class(self, module, name): return lambda *args: (name, args)
storage = FileStorage(sys.argv[1])
protocol = 0
for txn in storage.iterator():
    for record in txn:
        f = io.BytesIO(record.data)
        for i in range(2):
            at = f.tell()
            protocol = max([protocol] + [op.proto for op, _, _ in pickletools.genops(f)])
        if b"ZBigArray" not in record.data: # its dtype must be built by numpy
            f.seek(0)
            unpickler = Unpickler(f, encoding="ASCII", errors="bytes")
            unpickler.load()
            unpickler.load()
        assert f.read() == b""
db = DB(storage)
before = len(storage)
db.pack(time.time() + 1)
assert len(storage) == before, (len(storage), before)
print("protocol", protocol, *sorted(db.open().root().keys()))
db.close()
`

// TestDatabaseOfPython2CanBePackedAfterAnImport: all pickles are of the protocol that the
// applicationScript has, and references are understood.
func TestDatabaseOfPython2CanBePackedAfterAnImport(t *testing.T) {
	t.Parallel()
	python := python(t)
	for protocol, head := range map[string]string{"1": "", "2": "\x80\x02"} {
		dir := t.TempDir()
		data, raw := filepath.Join(dir, "Data.fs"), filepath.Join(dir, "raw")
		root := head + "cpersistent.mapping\nPersistentMapping\nq\x01." + head + "}q\x02U\x04dataq\x03}q\x04s."
		require.NoError(t, os.WriteFile(data, append([]byte("FS21"), transaction(root)...), 0o600))
		require.NoError(t, os.WriteFile(raw, bytes.Repeat([]byte("some data"), 5_000), 0o600))
		for _, args := range [][]string{
			{"a", "--dtype", "<f8", "--blksize", "16K"},
			{"b", "--dtype", "[('x', '<i4'), ('y', '|S5')]", "--block-format", "ZBlk1", "--blksize", "64K"},
			{"c", "--dtype", "M8[ns]"},
			{"a", "--append"},
		} {
			code, _, stderr := harness.Run(t, append([]string{"import", "--raw", raw, data}, args...)...)
			require.Zero(t, code, stderr)
		}
		output, err := exec.Command(python, "-c", packPython2, data).CombinedOutput()
		require.NoError(t, err, string(output))
		require.Contains(t, string(output), "protocol "+protocol+" a b c\n")
	}
}

// transaction returns one of a FileStorage, the first one, with the root object.
func transaction(root string) []byte {
	var b bytes.Buffer
	u64 := func(x int) { b.Write([]byte{0, 0, 0, 0, byte(x >> 24), byte(x >> 16), byte(x >> 8), byte(x)}) }
	length := 23 + 42 + len(root)
	u64(1)
	u64(length)
	b.WriteString(" \x00\x00\x00\x00\x00\x00")
	u64(0)
	u64(1)
	u64(0)
	u64(4)
	b.WriteString("\x00\x00")
	u64(len(root))
	b.WriteString(root)
	u64(length)
	return b.Bytes()
}
