package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/t/harness"
	"github.com/wcfs/wcfs/t/oracle"
)

// TestDropInFormLooksAsClientsExpect: they find the server by its name, its
// last two arguments, and the entry of its mount.
func TestDropInFormLooksAsClientsExpect(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, "topo", "-debug", "-v=1", "-pintimeout", "3s", "--alsologtostderr=true", "-stderrthreshold", "INFO")
	require.Equal(t, "3.0", harness.Content(t, s.Path(".wcfs/pintimeout")))
	require.Equal(t, "wcfs\n", harness.Content(t, fmt.Sprintf("/proc/%d/comm", s.Pid())))
	args := strings.Split(strings.TrimSuffix(harness.Content(t, fmt.Sprintf("/proc/%d/cmdline", s.Pid())), "\x00"), "\x00")
	require.Equal(t, []string{s.ZURL, s.Dir}, args[len(args)-2:])
	entry := harness.MountEntry(t, s.Dir)
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
	s := harness.Launch(t, harness.Config{Options: []string{"serve", "-log_dir", logs}, ZURL: "file://" + harness.CopyDatabase(t, "topo")})
	s.Stop()
	require.Empty(t, s.Log())
	require.Contains(t, harness.Content(t, filepath.Join(logs, "wcfs.INFO")), "start ")

	// Without any flag it is stderr, and no files in the temporary directory.
	tmp := t.TempDir()
	s = harness.Launch(t, harness.Config{Options: []string{"serve"}, ZURL: "file://" + harness.CopyDatabase(t, "topo"),
		Env: append(os.Environ(), "TMPDIR="+tmp)})
	s.Stop()
	require.Contains(t, s.Log(), "start ")
	require.Empty(t, harness.List(t, tmp))
}

// TestDatabasesCanBeNamedInManyWays: bare, relative and ~ paths become a url; a
// url is left exactly as it is.
func TestDatabasesCanBeNamedInManyWays(t *testing.T) {
	t.Parallel()
	db := oracle.Load(t, "topo")
	path := harness.CopyDatabase(t, "topo")
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
			s := harness.Launch(t, harness.Config{Options: options, Typed: c.typed, ZURL: c.zurl, WorkDir: dir, Env: home})
			require.Equal(t, c.zurl, harness.MountEntry(t, s.Dir).Source, c.typed)
			require.Equal(t, db.Head.String(), harness.Content(t, s.Path("head/at")), c.typed)
			s.Stop()
		}
	}
}

func TestMountPointCanBeRelative(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "a/b"), 0o755))
	require.NoError(t, os.Symlink("b", filepath.Join(dir, "a/link")))
	path := harness.CopyDatabase(t, "topo")
	for _, typed := range []string{"a/b", "./a//b/", "a/link", "../" + filepath.Base(dir) + "/a/b"} {
		s := harness.Launch(t, harness.Config{ZURL: "file://" + path, Dir: filepath.Join(dir, "a/b"), TypedDir: typed, WorkDir: dir})
		harness.MountEntry(t, s.Dir)
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
		require.NoError(t, os.Rename(harness.CopyDatabase(t, "topo"), path))
		s := harness.Launch(t, harness.Config{ZURL: "file://" + path, Dir: filepath.Join(dir, "mnt")})
		entry := harness.MountEntry(t, s.Dir)
		require.Equal(t, "fuse.wcfs", entry.FSType)
		require.Equal(t, s.ZURL, entry.Source)
		require.Equal(t, s.ZURL, harness.Content(t, s.Path(".wcfs/zurl")))
		s.Stop()
	}
}

// TestNoEnvironmentIsNeeded: supervisors start programs with nothing at all.
func TestNoEnvironmentIsNeeded(t *testing.T) {
	t.Parallel()
	path := harness.CopyDatabase(t, "topo")
	s := harness.Launch(t, harness.Config{ZURL: "file://" + path, Env: []string{}})
	s.Stop()
	dir, name := filepath.Split(path)
	s = harness.Launch(t, harness.Config{Options: []string{"serve"}, ZURL: "file://" + path, Typed: name, WorkDir: dir, Env: []string{}})
	s.Stop()
}

// TestServerHasNothingOpenOfItsOwnMount: a server that waits for itself hangs.
func TestServerHasNothingOpenOfItsOwnMount(t *testing.T) {
	t.Parallel()
	db := oracle.Load(t, "basic")
	s := harness.Start(t, "basic")
	for _, view := range []string{"head", "@" + db.Head.String()} {
		for _, path := range harness.Files(s, db, view) {
			harness.ReadAt(t, path, 0, 100000)
		}
	}
	own := fmt.Sprintf("mnt_id:\t%d\n", harness.MountEntry(t, s.Dir).ID)
	infos, err := filepath.Glob(fmt.Sprintf("/proc/%d/fdinfo/*", s.Pid()))
	require.NoError(t, err)
	require.NotEmpty(t, infos)
	for _, path := range infos {
		if info, err := os.ReadFile(path); err == nil {
			require.NotContains(t, string(info), own)
		}
	}
	require.NotContains(t, harness.Content(t, fmt.Sprintf("/proc/%d/maps", s.Pid())), s.Dir)
	require.NotContains(t, harness.Content(t, fmt.Sprintf("/proc/%d/mountinfo", s.Pid())), "allow_other")
	s.Stop()
}

// TestUserWithoutRightsIsTold runs the server as somebody who may do nothing.
func TestUserWithoutRightsIsTold(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can become somebody else")
	}
	t.Parallel()
	open, private := harness.CopyDatabase(t, "topo"), harness.CopyDatabase(t, "topo")
	require.NoError(t, os.Chmod(private, 0o600))
	dir := t.TempDir()
	// Everything on the way must be passable for others.
	for _, path := range []string{open, private, dir, harness.Binary} {
		for p := filepath.Dir(path); strings.HasPrefix(p, os.TempDir()); p = filepath.Dir(p) {
			require.NoError(t, os.Chmod(p, 0o755))
		}
	}
	code, words := harness.RunAs(t, 65534, "serve", private, dir)
	require.Equal(t, 6, code, words)
	require.Contains(t, words, "permission denied; the data file must be readable for this user")
	require.Equal(t, 1, strings.Count(words, "\n"), words)

	code, words = harness.RunAs(t, 65534, "serve", open, dir)
	require.NotZero(t, code, "mounting on a directory of root")
	require.Contains(t, []int{5, 9}, code, words)
	require.Contains(t, strings.Split(strings.TrimSpace(words), "\n")[strings.Count(words, "\n")-1], "wcfs: ")
	require.Empty(t, harness.Mounts(dir))
}
