package cli

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/internal/arrays/ndarray"
	"github.com/wcfs/wcfs/t/harness"
	"golang.org/x/sys/unix"
)

// rawFile writes a file with n random bytes, and returns its path and the bytes.
func rawFile(t testing.TB, n int) (path string, data []byte) {
	t.Helper()
	path, data = filepath.Join(t.TempDir(), "raw"), make([]byte, n)
	rnd := rand.NewChaCha8([32]byte{byte(n), byte(n >> 8)})
	_, _ = rnd.Read(data)
	require.NoError(t, os.WriteFile(path, data, 0o600))
	return path, data
}

// must runs wcfs, which must succeed.
func must(t testing.TB, args ...string) (stdout string) {
	t.Helper()
	code, stdout, stderr := harness.Run(t, args...)
	require.Zero(t, code, "%v: %s", args, stderr)
	return stdout
}

// requireNames checks what names there are, as wcfs sees it.
func requireNames(t testing.TB, zurl string, names ...string) {
	t.Helper()
	var listed struct{ Entries []struct{ Name string } }
	require.NoError(t, json.Unmarshal([]byte(must(t, "ls", "--json", zurl)), &listed))
	var got []string
	for _, entry := range listed.Entries {
		got = append(got, entry.Name)
	}
	require.ElementsMatch(t, names, got)
}

// TestDatabasesOfServersAreWrittenLikeFiles: what wcfs imports through a ZEO server is
// what applications and wcfs read.
func TestDatabasesOfServersAreWrittenLikeFiles(t *testing.T) {
	t.Parallel()
	harness.EachZEO(t, func(t *testing.T, z *harness.ZEO) {
		zurl, app := z.URL(""), application(z)
		raw, data := rawFile(t, 3<<20)
		check := func(name string, want []byte) {
			t.Helper()
			require.True(t, bytes.Equal(want, app.array(name)), "the application reads other data of %s", name)
			require.True(t, bytes.Equal(want, []byte(must(t, "cat", zurl, name))), "wcfs reads other data of %s", name)
		}
		must(t, "import", raw, zurl, "big", "--raw")
		check("big", data)
		must(t, "import", raw, zurl, "chunks", "--dtype", "<i4", "--block-format", "ZBlk1", "--blksize", "64K")
		check("chunks", data)

		twice := append(data[:len(data):len(data)], data...)
		must(t, "import", raw, zurl, "big", "--raw", "--append")
		check("big", twice)
		must(t, "import", raw, zurl, "chunks", "--raw", "--append")
		check("chunks", twice)

		npz := filepath.Join(t.TempDir(), "two.npz")
		members := writeNPZ(t, npz, "x", "y")
		must(t, "import", npz, zurl, "folder")
		check("folder/x", members["x"])
		check("folder/y", members["y"])

		must(t, "mv", zurl, "chunks", "folder/moved")
		check("folder/moved", twice)
		must(t, "rm", zurl, "folder/x")
		require.NotEmpty(t, app.do("set", "mine")) // the application goes on
		must(t, "import", raw, zurl, "big", "--raw", "--replace")
		check("big", data)
		requireNames(t, zurl, "big", "folder/y", "folder/moved")
		require.Equal(t, "big folder mine", app.do("names"))

		code, _, stderr := harness.Run(t, "import", raw, zurl, "big", "--raw")
		require.Equal(t, 13, code, stderr)
		code, _, stderr = harness.Run(t, "rm", zurl, "mine")
		require.Zero(t, code, stderr) // an empty folder
		log, err := os.ReadFile(z.Path("log"))
		require.NoError(t, err)
		for line := range strings.Lines(string(log)) {
			if !strings.Contains(line, " Disconnected ") { // whoever has heard enough does that
				require.NotContains(t, line, " ERROR ")
			}
		}
	})
}

// writeNPZ writes an archive of arrays and returns their data.
func writeNPZ(t testing.TB, path string, names ...string) map[string][]byte {
	t.Helper()
	f, err := os.Create(path)
	require.NoError(t, err)
	defer f.Close()
	z := zip.NewWriter(f)
	all := make(map[string][]byte)
	uint8s, err := ndarray.ParseDType("uint8")
	require.NoError(t, err)
	for i, name := range names {
		_, data := rawFile(t, 3000+i)
		header, err := (&ndarray.Header{DType: uint8s, Shape: []int64{int64(len(data))}, Order: ndarray.RowMajor}).Encode()
		require.NoError(t, err)
		w, err := z.Create(name + ".npy")
		require.NoError(t, err)
		_, err = w.Write(append(header, data...))
		require.NoError(t, err)
		all[name] = data
	}
	require.NoError(t, z.Close())
	return all
}

// requireRefusal runs wcfs, which must fail with that code and a line that has these
// texts, and leave the database of the server as it was.
func requireRefusal(z *harness.ZEO, code int, args []string, texts ...string) {
	z.T.Helper()
	zurl := z.URL("")
	before := must(z.T, "log", zurl)
	got, stdout, stderr := harness.Run(z.T, args...)
	require.Equal(z.T, code, got, stdout+stderr)
	require.Equal(z.T, 1, strings.Count(stderr, "\n"), stderr)
	for _, text := range texts {
		require.Contains(z.T, stderr, text)
	}
	require.Equal(z.T, before, must(z.T, "log", zurl))
}

func TestReadOnlyServersAreNotWritten(t *testing.T) {
	t.Parallel()
	harness.EachZEO(t, func(t *testing.T, z *harness.ZEO) {
		raw, _ := rawFile(t, 1000)
		must(t, "import", raw, z.URL(""), "a", "--raw")
		for _, readOnly := range []struct{ server, storage string }{{"read-only true", ""}, {"", "read-only true"}} {
			z.Kill()
			server, storage := z.Server, z.Storage
			z.Server, z.Storage = server+"\n"+readOnly.server, readOnly.storage
			z.Start()
			for _, args := range [][]string{{"import", raw, z.URL(""), "b", "--raw"}, {"import", raw, z.URL(""), "a", "--raw", "--append"}, {"rm", z.URL(""), "a"}, {"mv", z.URL(""), "a", "b"}} {
				requireRefusal(z, 6, args, `only lets read from storage "1"; name a server that takes commits`)
			}
			z.Server, z.Storage = server, storage
		}
	})
}

func TestFullDiskOfAServerLeavesNothing(t *testing.T) {
	t.Parallel()
	small, _ := rawFile(t, 3<<20)
	t.Run("quota", func(t *testing.T) {
		t.Parallel()
		for _, version := range []string{"5", "6"} {
			z := harness.StartZEO(t, version, "", "quota 4MB")
			must(t, "import", small, z.URL(""), "a", "--raw")
			requireRefusal(z, 14, []string{"import", small, z.URL(""), "b", "--raw"}, "quota has been exceeded; nothing was written; ", "make room, or raise it")
			must(t, "rm", z.URL(""), "a") // it goes on
		}
	})
	t.Run("file", func(t *testing.T) {
		t.Parallel()
		for _, version := range []string{"5", "6"} {
			z := harness.StartZEO(t, version, "", "")
			must(t, "import", small, z.URL(""), "a", "--raw")
			require.NoError(t, unix.Prlimit(z.Cmd.Process.Pid, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 5 << 20, Max: 5 << 20}, nil))
			// The data fits where the server keeps it at first, and not into the file.
			requireRefusal(z, 14, []string{"import", small, z.URL(""), "b", "--raw"}, "OSError: 27, File too large; nothing was written")
			big, _ := rawFile(t, 20<<20)
			requireRefusal(z, 6, []string{"import", big, z.URL(""), "b", "--raw"},
				"the connection to the server was lost: ", "; nothing was written; the log of the server may say why")
			z.Kill() // FileStorage cannot go on: it keeps what it could not write
			z.Start()
			must(t, "rm", z.URL(""), "a")
		}
	})
}

// TestWhoeverCommitsMeanwhileWins, and is not overwritten: neither what an import stores
// nor what it only relies on may have changed. BTrees are merged by servers, but not here.
func TestWhoeverCommitsMeanwhileWins(t *testing.T) {
	t.Parallel()
	for name, server := range map[string]string{"server": "", "client": "client-conflict-resolution true"} {
		for _, version := range []string{"5", "6"} {
			t.Run(version+name, func(t *testing.T) {
				t.Parallel()
				z := harness.StartZEO(t, version, server, "")
				zurl, app := z.URL(""), application(z)
				raw, data := rawFile(t, 100_000)
				must(t, "import", raw, zurl, "a", "--raw")
				meanwhile := func(do func(), args ...string) {
					t.Helper()
					r := newRelay(z, once("vote", func() bool { do(); return true }), nil)
					for i := range args {
						if args[i] == "DB" {
							args[i] = z.URL(r.socket)
						}
					}
					code, stdout, stderr := harness.Run(t, args...)
					require.Equal(t, 16, code, stdout+stderr)
					require.Regexp(t, "^wcfs: (import|append|rm|mv): somebody has changed a", stderr)
					require.Contains(t, stderr, "meanwhile; nothing was written; try again\n")
				}
				meanwhile(func() { app.do("set", "other") }, "import", raw, "DB", "a2", "--raw")
				meanwhile(func() { app.do("set", "other2") }, "rm", "DB", "a")
				meanwhile(func() { app.do("set", "other3") }, "mv", "DB", "a", "b")
				meanwhile(func() { app.do("touch", "a") }, "import", raw, "DB", "a", "--raw", "--append")
				meanwhile(func() { app.do("set", "other4") }, "import", raw, "DB", "a", "--raw", "--append")
				meanwhile(func() { must(t, "rm", zurl, "a") }, "import", raw, "DB", "a", "--raw", "--append")
				must(t, "import", raw, zurl, "a", "--raw")
				meanwhile(func() { must(t, "import", raw, zurl, "a", "--raw", "--append") }, "import", raw, "DB", "a", "--raw", "--append")
				require.Equal(t, append(data[:len(data):len(data)], data...), app.array("a"))
				require.Equal(t, "a other other2 other3 other4", app.do("names"))
			})
		}
	}
	t.Run("tree", func(t *testing.T) {
		t.Parallel()
		z := harness.StartZEO(t, "6", "", "")
		zurl, app := z.URL(""), application(z)
		npz := filepath.Join(t.TempDir(), "many.npz")
		var names []string
		for i := range 251 {
			names = append(names, fmt.Sprintf("m%03d", i))
		}
		writeNPZ(t, npz, names...)
		must(t, "import", npz, zurl, "folder")
		r := newRelay(z, once("vote", func() bool { must(t, "mv", zurl, "folder/m250", "folder/m252"); return true }), nil)
		code, _, stderr := harness.Run(t, "mv", z.URL(r.socket), "folder/m249", "folder/m253")
		require.Equal(t, 16, code, stderr)
		requireNames(t, zurl, append(prefixed("folder/", names[:250]), "folder/m252")...)
		_ = app
	})
}

func prefixed(prefix string, names []string) (all []string) {
	for _, name := range names {
		all = append(all, prefix+name)
	}
	return all
}

// TestImportIntoAServerTakesLittleMemory, however fast the data comes.
func TestImportIntoAServerTakesLittleMemory(t *testing.T) {
	t.Parallel()
	z := harness.StartZEO(t, "6", "", "")
	raw, data := rawFile(t, 100<<20)
	var run *running
	var status []byte
	begun := make(chan struct{})
	r := newRelay(z, once("tpc_finish", func() bool {
		<-begun
		status, _ = os.ReadFile(fmt.Sprintf("/proc/%d/status", run.cmd.Process.Pid))
		return true
	}), nil)
	run = begin(t, "import", raw, z.URL(r.socket), "a", "--raw")
	close(begun)
	require.Zero(t, run.end(), run.stderr.String())
	_, peak, _ := strings.Cut(string(status), "\nVmHWM:")
	kib, err := strconv.Atoi(strings.Fields(peak)[0])
	require.NoError(t, err)
	t.Logf("%d KiB", kib)
	require.Less(t, kib, 80<<10)
	cat := begin(t, "cat", z.URL(""), "a")
	require.Zero(t, cat.end(), cat.stderr.String())
	require.True(t, bytes.Equal(data, cat.stdout.Bytes()))
}

// TestAppendsOfManyAreAllThereOnce: each is tried again until it is.
func TestAppendsOfManyAreAllThereOnce(t *testing.T) {
	t.Parallel()
	const workers, rounds, size = 3, 4, 1000
	z := harness.StartZEO(t, "6", "msgpack true", "")
	zurl, dir := z.URL(""), t.TempDir()
	piece := func(worker, round int) []byte {
		return bytes.Repeat([]byte{byte('a' + worker*rounds + round)}, size)
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "empty"), []byte("0"), 0o600))
	must(t, "import", filepath.Join(dir, "empty"), zurl, "a", "--raw")
	var all sync.WaitGroup
	for worker := range workers {
		all.Go(func() {
			for round := range rounds {
				path := filepath.Join(dir, fmt.Sprint(worker, round))
				if err := os.WriteFile(path, piece(worker, round), 0o600); err != nil {
					t.Error(err)
				}
				for code := 16; code == 16; {
					var stderr string
					code, _, stderr = harness.Run(t, "import", path, zurl, "a", "--raw", "--append")
					if code != 0 && code != 16 {
						t.Errorf("exit code %d: %s", code, stderr)
					}
				}
			}
		})
	}
	all.Wait()
	got := must(t, "cat", zurl, "a")[1:]
	require.Len(t, got, workers*rounds*size)
	seen := make(map[string]bool)
	for i := 0; i < len(got); i += size {
		require.False(t, seen[got[i:i+size]])
		seen[got[i:i+size]] = true
	}
	for worker := range workers {
		for round := range rounds {
			require.True(t, seen[string(piece(worker, round))])
		}
	}
}
