package t

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wcfs/wcfs/t/oracle"
)

// TestDropInFormLooksAsClientsExpect: they find the server by its name, its
// last two arguments, and the entry of its mount.
func TestDropInFormLooksAsClientsExpect(t *testing.T) {
	t.Parallel()
	s := Start(t, "topo", "-debug", "-v=1", "-pintimeout", "3s", "--alsologtostderr=true", "-stderrthreshold", "INFO")
	require.Equal(t, "3.0", content(t, s.Path(".wcfs/pintimeout")))
	require.Equal(t, "wcfs\n", content(t, fmt.Sprintf("/proc/%d/comm", s.Pid())))
	args := strings.Split(strings.TrimSuffix(content(t, fmt.Sprintf("/proc/%d/cmdline", s.Pid())), "\x00"), "\x00")
	require.Equal(t, []string{s.ZURL, s.Dir}, args[len(args)-2:])
	entry := mountEntry(t, s.Dir)
	require.Equal(t, "fuse.wcfs", entry.FSType)
	require.Equal(t, s.ZURL, entry.Source)
	require.NotContains(t, entry.VFSOptions, "allow_other")
	require.Contains(t, s.Log(), fmt.Sprintf("start %q %q", s.Dir, s.ZURL))
	require.Contains(t, s.Log(), "(built with go")
	s.Stop()
}

func TestLogGoesWhereGlogFlagsSay(t *testing.T) {
	t.Parallel()
	logs := t.TempDir()
	s := Launch(t, Config{Options: []string{"serve", "-log_dir", logs}, ZURL: "file://" + CopyDatabase(t, "topo")})
	s.Stop()
	require.Empty(t, s.Log())
	require.Contains(t, content(t, filepath.Join(logs, "wcfs.INFO")), "start ")

	// Without any flag it is stderr, and no files in the temporary directory.
	tmp := t.TempDir()
	s = Launch(t, Config{Options: []string{"serve"}, ZURL: "file://" + CopyDatabase(t, "topo"),
		Env: append(os.Environ(), "TMPDIR="+tmp)})
	s.Stop()
	require.Contains(t, s.Log(), "start ")
	require.Empty(t, list(t, tmp))
}

// TestDatabasesCanBeNamedInManyWays: bare, relative and ~ paths become a url; a
// url is left exactly as it is.
func TestDatabasesCanBeNamedInManyWays(t *testing.T) {
	t.Parallel()
	db := oracle.Load(t, "topo")
	path := CopyDatabase(t, "topo")
	dir, name := filepath.Split(path)
	home := append(os.Environ(), "HOME="+dir)
	abs := "file://" + path
	for _, c := range []struct{ typed, zurl string }{
		{path, abs},
		{name, abs},
		{"./" + name, abs},
		{"x/../" + name, abs},
		{"~/" + name, abs},
		{"file://" + path, abs},
		{"file://" + name, "file://" + name}, // others compute the place from the same text
		{"file://~/" + name, "file://~/" + name},
		{"FILE://" + path, "FILE://" + path},
		{"file://" + path + "?read_only=1", "file://" + path + "?read_only=1"},
	} {
		for _, options := range [][]string{{"serve"}, {"-v=0"}} {
			s := Launch(t, Config{Options: options, Typed: c.typed, ZURL: c.zurl, WorkDir: dir, Env: home})
			require.Equal(t, c.zurl, mountEntry(t, s.Dir).Source, c.typed)
			require.Equal(t, db.Head.String(), content(t, s.Path("head/at")), c.typed)
			s.Stop()
		}
	}
}

func TestMountPointCanBeRelative(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "a/b"), 0o755))
	require.NoError(t, os.Symlink("b", filepath.Join(dir, "a/link")))
	path := CopyDatabase(t, "topo")
	for _, typed := range []string{"a/b", "./a//b/", "a/link", "../" + filepath.Base(dir) + "/a/b"} {
		s := Launch(t, Config{ZURL: "file://" + path, Dir: filepath.Join(dir, "a/b"), TypedDir: typed, WorkDir: dir})
		mountEntry(t, s.Dir)
		s.Stop()
	}
}

// TestOddPathsWork: the mount table escapes some of these characters, mount(2)
// and fusermount3 treat others specially.
func TestOddPathsWork(t *testing.T) {
	t.Parallel()
	for _, odd := range []string{"a b", "a,b=c,fd=0", "\u00fcn\u00ef c\u00f6d\u00e9 \U0001f40d", `back\slash\040`, "tab\tnew\nline", "#hash", "50%&co;$HOME`'\"", "-dash", "(~)"} {
		dir := filepath.Join(t.TempDir(), odd)
		require.NoError(t, os.MkdirAll(filepath.Join(dir, "mnt"), 0o755))
		path := filepath.Join(dir, odd+".fs")
		require.NoError(t, os.Rename(CopyDatabase(t, "topo"), path))
		s := Launch(t, Config{ZURL: "file://" + path, Dir: filepath.Join(dir, "mnt")})
		entry := mountEntry(t, s.Dir)
		require.Equal(t, "fuse.wcfs", entry.FSType)
		require.Equal(t, s.ZURL, entry.Source)
		require.Equal(t, s.ZURL, content(t, s.Path(".wcfs/zurl")))
		s.Stop()
	}
}

// TestNoEnvironmentIsNeeded: supervisors start programs with nothing at all.
func TestNoEnvironmentIsNeeded(t *testing.T) {
	t.Parallel()
	path := CopyDatabase(t, "topo")
	s := Launch(t, Config{ZURL: "file://" + path, Env: []string{}})
	s.Stop()
	dir, name := filepath.Split(path)
	s = Launch(t, Config{Options: []string{"serve"}, ZURL: "file://" + path, Typed: name, WorkDir: dir, Env: []string{}})
	s.Stop()
}

// TestServerHasNothingOpenOfItsOwnMount: a server that waits for itself hangs.
func TestServerHasNothingOpenOfItsOwnMount(t *testing.T) {
	t.Parallel()
	db := oracle.Load(t, "basic")
	s := Start(t, "basic")
	for _, view := range []string{"head", "@" + db.Head.String()} {
		for _, path := range files(s, db, view) {
			read(t, path, 0, 100000)
		}
	}
	own := fmt.Sprintf("mnt_id:\t%d\n", mountEntry(t, s.Dir).ID)
	infos, err := filepath.Glob(fmt.Sprintf("/proc/%d/fdinfo/*", s.Pid()))
	require.NoError(t, err)
	require.NotEmpty(t, infos)
	for _, path := range infos {
		if info, err := os.ReadFile(path); err == nil {
			require.NotContains(t, string(info), own)
		}
	}
	require.NotContains(t, content(t, fmt.Sprintf("/proc/%d/maps", s.Pid())), s.Dir)
	require.NotContains(t, content(t, fmt.Sprintf("/proc/%d/mountinfo", s.Pid())), "allow_other")
	s.Stop()
}

// TestDatabaseFilesAreNotTouched: serving neither writes nor locks.
func TestDatabaseFilesAreNotTouched(t *testing.T) {
	t.Parallel()
	db := oracle.Load(t, "basic")
	path := CopyDatabase(t, "basic")
	dir := filepath.Dir(path)
	before, names := sum(t, path), list(t, dir)
	mtime := stat(t, path).Mtim
	s := StartOn(t, path)
	checkView(t, s, db, "head", db.Txns[len(db.Txns)-1])
	lock, err := os.OpenFile(path, os.O_RDWR, 0)
	require.NoError(t, err)
	require.NoError(t, syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB))
	lock.Close()
	s.Stop()
	require.Equal(t, before, sum(t, path))
	require.Equal(t, mtime, stat(t, path).Mtim)
	require.Equal(t, names, list(t, dir))
}

// TestUserWithoutRightsIsTold runs the server as somebody who may do nothing.
func TestUserWithoutRightsIsTold(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can become somebody else")
	}
	t.Parallel()
	open, private := CopyDatabase(t, "topo"), CopyDatabase(t, "topo")
	require.NoError(t, os.Chmod(private, 0o600))
	dir := t.TempDir()
	// Everything on the way must be passable for others.
	for _, path := range []string{open, private, dir, binary} {
		for p := filepath.Dir(path); strings.HasPrefix(p, os.TempDir()); p = filepath.Dir(p) {
			require.NoError(t, os.Chmod(p, 0o755))
		}
	}
	code, words := wcfsAs(t, 65534, "serve", private, dir)
	require.Equal(t, 6, code, words)
	require.Contains(t, words, "permission denied; the data file must be readable for this user")
	require.Equal(t, 1, strings.Count(words, "\n"), words)

	code, words = wcfsAs(t, 65534, "serve", open, dir)
	require.NotZero(t, code, "mounting on a directory of root")
	require.Contains(t, []int{5, 9}, code, words)
	require.Contains(t, strings.Split(strings.TrimSpace(words), "\n")[strings.Count(words, "\n")-1], "wcfs: ")
	require.Empty(t, wcfsMounts(dir))
}
