package pgtest

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/storage/pythontest"
)

var ground Ground

func TestMain(m *testing.M) {
	// A library links in a logger that never ends.
	goleak.VerifyTestMain(ground.Around(m), goleak.IgnoreTopFunction("github.com/golang/glog.(*fileSink).flushDaemon"))
}

// long skips a test if tests are to be short: those of the driver do the same.
func long(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes long")
	}
}

func put(oid zodb.Oid, data string) pythontest.Entry { return pythontest.Put(oid, data) }

// revisions has those of all objects: object, transaction, whether it has data.
func revisions(t *testing.T, d *Database) string {
	t.Helper()
	return d.Query(t, "SELECT zoid, to_hex(tid), state IS NOT NULL FROM object_state ORDER BY tid, zoid")
}

func row(oid zodb.Oid, tid zodb.Tid, data bool) string {
	return fmt.Sprintf("%d|%x|%s", oid, uint64(tid), strconv.FormatBool(data)[:1])
}

func rows(rows ...string) string { return strings.Join(rows, "\n") }

func TestDatabasesAreWhatRelStorageMakesOfThem(t *testing.T) {
	c := ground.Shared(t)
	keeps, forgets := c.CreateDatabase(t, true), c.CreateDatabase(t, false)
	w := keeps.Writer(t)
	first := w.Commit(put(1, "a"), put(2, "a"))
	second := w.Commit(put(1, "b"))
	third := w.Commit(pythontest.Remove(2))
	require.Equal(t, rows(row(1, first, true), row(2, first, true), row(1, second, true), row(2, third, false)), revisions(t, keeps))

	// A copy of another database has its transactions.
	restored := put(3, "c")
	restored.Restore = true
	tid := third + 7
	require.Equal(t, tid, w.Do(pythontest.Order{Do: "commit", Tid: tid.String(), Records: []pythontest.Entry{restored}}))
	require.Equal(t, row(3, tid, true), keeps.Query(t, fmt.Sprintf("SELECT zoid, to_hex(tid), state IS NOT NULL FROM object_state WHERE tid > %d", third)))

	w = forgets.Writer(t)
	w.Commit(put(1, "a"))
	second = w.Commit(put(1, "b"))
	require.Equal(t, row(1, second, true), revisions(t, forgets))
}

func TestServersEndInEveryWayAndLoseNothing(t *testing.T) {
	c := ground.New(t, Options{})
	d := c.CreateDatabase(t, true)
	w := d.Writer(t)
	var want []string
	for i, end := range []func(testing.TB){c.Stop, c.Abort, c.Kill, c.Kill} {
		want = append(want, row(zodb.Oid(i), w.Commit(put(zodb.Oid(i), "x")), true))
		end(t)
		require.Error(t, psql(d).Run())
		if i == 3 {
			c.StartAside(t)
			require.Error(t, psql(d).Run())
			c.Query(t, "postgres", "SELECT 1")
			c.Stop(t)
		}
		c.Start(t)
		require.Equal(t, rows(want...), revisions(t, d))
		d.Work(w)
	}
}

// psql returns a client of a database that is there only for a moment.
func psql(d *Database) *exec.Cmd {
	return d.g.command("psql", "-X", "-d", strings.Replace(d.URL(), "postgres:", "postgresql:", 1), "-c", "SELECT tid FROM object_state")
}

func TestPausedServersStandStill(t *testing.T) {
	long(t)
	c := ground.New(t, Options{})
	d := c.CreateDatabase(t, true)
	c.Pause(t)
	client := psql(d)
	require.NoError(t, client.Start())
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	<-ctx.Done()
	require.True(t, runs(client.Process.Pid))
	c.Resume()
	require.NoError(t, client.Wait())
}

func TestStandbysFollow(t *testing.T) {
	long(t)
	c := ground.New(t, Options{})
	d := c.CreateDatabase(t, true)
	w := d.Writer(t)
	s := c.Standby(t)
	there := &Database{s, d.Name, true}
	first := row(1, w.Commit(put(1, "a")), true)
	follows := func(want string) {
		t.Helper()
		require.Eventually(t, func() bool { return revisions(t, there) == want }, patience, tick)
	}
	follows(first)
	s.Replay(t, false)
	second := row(2, w.Commit(put(2, "a")), true)
	require.Equal(t, first, revisions(t, there))
	require.Equal(t, rows(first, second), revisions(t, d))
	s.Replay(t, true)
	follows(rows(first, second))
	c.Kill(t)
	s.Promote(t)
	there.Work(w)
	third := row(3, w.Commit(put(3, "a")), true)
	require.Equal(t, rows(first, second, third), revisions(t, there))
}

func TestDataIsBroughtBack(t *testing.T) {
	long(t)
	c := ground.New(t, Options{})
	d := c.CreateDatabase(t, true)
	w := d.Writer(t)
	first := row(1, w.Commit(put(1, "a")), true)
	c.Stop(t)
	saved := c.Save(t)
	c.Start(t)
	d.Work(w)
	w.Commit(put(2, "a"))
	c.Stop(t)
	c.Restore(t, saved)
	c.Start(t)
	require.Equal(t, first, revisions(t, d))
}

func TestPasswordsAreAskedForByTCP(t *testing.T) {
	d := ground.Shared(t).CreateDatabase(t, true)
	require.NoError(t, d.g.command("psql", "-Xc", "SELECT 1", d.TCP(Password, "")).Run())
	require.Error(t, d.g.command("psql", "-Xc", "SELECT 1", d.TCP("wrong", "")).Run())
}

// helper says which test is run in a process of its own.
const helper = "PGTEST_HELPER"

func TestNothingIsLeftOfTestsThatAreKilled(t *testing.T) {
	long(t)
	if os.Getenv(helper) != "" {
		c := ground.Shared(t)
		ground.New(t, Options{}).Pause(t)
		fmt.Println("\n" + ground.dir)
		fmt.Println(c.cmd.Process.Pid)
		select {}
	}
	cmd := exec.Command(os.Args[0], "-test.run", "^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), helper+"=1")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	var dir string
	var pid int
	for lines := bufio.NewScanner(out); pid == 0; {
		require.True(t, lines.Scan())
		if strings.HasPrefix(lines.Text(), "/") {
			dir = lines.Text()
			require.True(t, lines.Scan())
			pid, err = strconv.Atoi(lines.Text())
			require.NoError(t, err)
		}
	}
	require.DirExists(t, dir)
	require.True(t, runs(pid))
	require.NoError(t, cmd.Process.Signal(syscall.SIGKILL))
	require.Error(t, cmd.Wait())
	require.Eventually(t, func() bool {
		_, err := os.Stat(dir)
		return os.IsNotExist(err) && !runs(pid)
	}, patience, tick)
}
