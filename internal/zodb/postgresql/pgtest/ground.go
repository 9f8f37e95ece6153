package pgtest

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wcfs/wcfs/internal/zodb/storage/pythontest"
)

// maxDir is how long the path of a ground may be: those of sockets have 107 bytes.
const maxDir = 80

// Ground is where the clusters of a test binary are. The zero value is one that is made
// when it is needed.
type Ground struct {
	pythons pythontest.Hosts

	mu      sync.Mutex
	made    bool
	dir     string              // guarded by mu, like all below
	bin     string              // with the programs of PostgreSQL
	user    *syscall.Credential // nil: the one who runs the tests
	janitor *exec.Cmd
	pipe    io.Closer // its end ends the janitor
	shared  *Cluster

	clusters  int // that were made
	databases int // that were made
}

// suite is the tests of a package.
type suite interface{ Run() int }

// Around returns the tests with the end of the ground after them.
func (g *Ground) Around(m suite) suite { return &around{m, g} }

type around struct {
	suite
	g *Ground
}

func (a *around) Run() int {
	code := a.suite.Run()
	a.g.pythons.End()
	if err := a.g.clear(); err != nil {
		_, _ = io.WriteString(os.Stderr, "pgtest: "+err.Error()+"\n")
		code = max(code, 1)
	}
	return code
}

// clear takes all away, with servers that still run.
func (g *Ground) clear() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.janitor == nil {
		return nil
	}
	if g.shared != nil {
		g.shared.stop(syscall.SIGQUIT)
	}
	return errors.Join(g.pipe.Close(), g.janitor.Wait(), os.RemoveAll(g.dir))
}

// janitor is the program that takes away a directory with what runs there, at the end of
// its input. Children of a server end with it, but not while they are stopped. The directory
// itself stays, empty, if it is in one where the user of the servers may change nothing.
const janitor = `
cat >/dev/null
for file in "$0"/*/data/postmaster.pid; do
	[ -e "$file" ] || continue
	read -r pid <"$file"
	kill -KILL "$pid" $(cat "/proc/$pid/task/$pid/children")
done 2>/dev/null
for attempt in 1 2 3 4 5 6 7 8 9; do
	rm -rf "$0" 2>/dev/null && exit
	[ -z "$(ls -A "$0")" ] && exit
	sleep 0.2
done
rm -rf "$0"
`

// make makes the ground, with the databases that others are copies of. g.mu must be held.
func (g *Ground) make(t testing.TB) {
	t.Helper()
	if g.made {
		return
	}
	require.Nil(t, g.janitor, "the ground could not be made")
	g.bin, g.user = programs(t), unprivileged(t)
	var err error
	g.dir, err = os.MkdirTemp("", "pgtest")
	require.NoError(t, err)
	if len(g.dir) > maxDir {
		require.NoError(t, os.Remove(g.dir))
		g.dir, err = os.MkdirTemp("/tmp", "pgtest")
		require.NoError(t, err)
	}
	if g.user != nil {
		require.NoError(t, os.Chown(g.dir, int(g.user.Uid), int(g.user.Gid)))
	}
	g.janitor = g.command("sh", "-c", janitor, g.dir)
	g.janitor.SysProcAttr.Setpgid = true // it is not meant by Ctrl-C
	g.janitor.Dir = "/"
	g.pipe, err = g.janitor.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, g.janitor.Start())
	g.makeTemplate(t)
	g.made = true
}

// Templates of databases.
const (
	preserving = "preserving" // keeps all revisions
	free       = "free"       // keeps the newest one of each object
	spare      = "spare"      // one that keeps all, for the first database of a cluster
)

// Password is that of the user reader, where one is asked for.
const Password = "swordfish"

// makeTemplate makes the data directory that others are copies of.
func (g *Ground) makeTemplate(t testing.TB) {
	c := &Cluster{g: g, dir: filepath.Join(g.dir, "template"), Port: 5432}
	require.NoError(t, g.command("mkdir", c.dir).Run())
	g.run(t, "initdb", "-D", c.data(), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C",
		"--no-sync", "--no-instructions", "--wal-segsize=1")
	c.configure(t, Options{})
	defer c.stop(syscall.SIGQUIT)
	c.Start(t)
	c.Query(t, "postgres", "CREATE ROLE zodb LOGIN; CREATE ROLE reader LOGIN PASSWORD '"+Password+"'")
	w := g.pythons.Get(t, venv()).Writer(t)
	for _, name := range []string{preserving, free} {
		c.Query(t, "postgres", "CREATE DATABASE "+name+" OWNER zodb")
		c.Query(t, name, "ALTER DEFAULT PRIVILEGES FOR ROLE zodb GRANT SELECT ON TABLES TO reader")
		w.Do(pythontest.Order{Do: "work", Config: c.config(name, name == preserving, true)})
	}
	w.Do(pythontest.Order{Do: "work"})
	c.Query(t, "postgres", "CREATE DATABASE "+spare+" TEMPLATE "+preserving+" OWNER zodb")
	for _, name := range []string{"template0", "template1"} { // they are a third of what is copied
		c.Query(t, "postgres", "ALTER DATABASE "+name+" IS_TEMPLATE false")
		c.Query(t, "postgres", "DROP DATABASE "+name)
	}
	c.Stop(t)
}

func venv() pythontest.Venv {
	return pythontest.Venv{
		Dir:          "bin/venv-relstorage",
		Script:       "t/witness/venv.sh",
		Requirements: "internal/zodb/postgresql/testdata/requirements.txt",
		Modules:      []string{"relstorage.storage", "relstorage.adapters.postgresql", "psycopg2"},
	}
}

// programs returns the directory with the programs of PostgreSQL: that in the PATH, or the
// newest one where Debian has them.
func programs(t testing.TB) string {
	t.Helper()
	if path, err := exec.LookPath("initdb"); err == nil {
		path, err = filepath.EvalSymlinks(path)
		require.NoError(t, err)
		return filepath.Dir(path)
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	require.NoError(t, err)
	require.NotEmpty(t, found, "there is no PostgreSQL server here, neither in the PATH nor in /usr/lib/postgresql; "+
		"t/setup.sh test installs one, and so does: sudo apt-get install postgresql")
	version := func(path string) int {
		n, _ := strconv.Atoi(strings.Split(path, "/")[4])
		return n
	}
	return filepath.Dir(slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) }))
}

// unprivileged returns as whom servers run: not as root, for they refuse that.
func unprivileged(t testing.TB) *syscall.Credential {
	t.Helper()
	if os.Getuid() != 0 {
		return nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		u, err = user.Lookup("nobody")
	}
	require.NoError(t, err, "PostgreSQL does not run as root, and there is neither a user postgres nor a user nobody")
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	require.NoError(t, err)
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	require.NoError(t, err)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

// command returns a command that is run as the user of the servers. Nothing of the
// environment of the tests may decide what PostgreSQL does.
func (g *Ground) command(name string, args ...string) *exec.Cmd {
	if path := filepath.Join(g.bin, name); isFile(path) {
		name = path
	}
	cmd := exec.Command(name, args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "HOME=" + g.dir}
	cmd.Dir = g.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: g.user}
	return cmd
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// run runs a command that has to work, and returns what it says.
func (g *Ground) run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := g.command(name, args...).CombinedOutput()
	require.NoError(t, err, "%s %q: %s", name, args, out)
	return string(out)
}
