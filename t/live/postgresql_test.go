package live

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/postgresql/pgtest"
	"github.com/wcfs/wcfs/t/harness"
)

// relational is a served database in PostgreSQL.
type relational struct {
	*changing
	p *harness.PostgreSQL
}

// newRelational makes one on a server of its own, which nobody serves yet.
func newRelational(t *testing.T, opt pgtest.Options) *relational {
	t.Helper()
	l, p := harness.NewLivePostgreSQL(t, opt)
	return &relational{newChanging(t, l), p}
}

// aside makes commits while everybody else thinks that PostgreSQL is away.
func (r *relational) aside(n int) (last zodb.Tid) {
	r.t.Helper()
	last = r.Head()
	if n == 0 {
		return last
	}
	r.p.StartAside(r.t)
	r.p.Back()
	for range n {
		last = r.commit()
	}
	r.p.Stop(r.t)
	return last
}

// TestPostgreSQLMayEnd: it is restarted, or killed, and what was committed before wcfs is
// connected again is there.
func TestPostgreSQLMayEnd(t *testing.T) {
	t.Parallel()
	r := newRelational(t, pgtest.Options{})
	r.s = r.Start()
	last := r.Head()
	for _, outage := range []struct {
		end    func(testing.TB)
		missed int
	}{{r.p.Stop, 0}, {r.p.Kill, 0}, {r.p.Stop, 1}, {r.p.Kill, 300}} {
		before, said, missed := last, len(r.s.Log()), outage.missed
		outage.end(t)
		r.isAway()
		last = r.aside(missed)
		r.p.Start(t)
		r.isBack()
		r.sees(before, last)
		want := "; nothing was missed"
		if missed > 0 {
			want = fmt.Sprintf("; %d transactions were missed, and are known now", missed)
		}
		require.Contains(t, r.s.Log()[said:], want)
		r.p.Back()
		before, last = last, r.commit()
		r.sees(before, last)
	}
}

// TestPostgreSQLIsWaitedFor: what is cached stays readable, what is not is EIO after a while,
// everybody is told, and all is there when it is back.
func TestPostgreSQLIsWaitedFor(t *testing.T) {
	t.Parallel()
	r := newRelational(t, pgtest.Options{})
	r.s = r.Start("--storage-timeout", "1s")
	before := r.Head()
	fd, err := harness.OpenFile(r.f.Path(r.s, "head"), unix.O_RDONLY)
	require.NoError(t, err)
	defer unix.Close(fd)
	cached, err := readPage(fd, 1)
	require.NoError(t, err)
	require.Equal(t, r.f.Text(1, before), cached)
	require.Equal(t, "connected\n  server at "+r.p.Dir()+"/.s.PGSQL.5432: primary, connected\n", storageSays(r.s))
	for _, end := range []func(testing.TB){r.p.Stop, r.p.Kill} {
		end(t)
		r.isAway()
		again, err := readPage(fd, 1)
		require.NoError(t, err)
		require.Equal(t, cached, again)
		_, err = readPage(fd, 8)
		require.ErrorIs(t, err, unix.EIO)
		require.Equal(t, before.String(), harness.Content(t, r.s.Path("head/at")))
		requireOutageIsTold(t, r.s, r.ZURL+"&application_name=somebody")
		r.p.Start(t)
		r.isBack()
	}
	page, err := readPage(fd, 8)
	require.NoError(t, err)
	require.Equal(t, r.f.Text(8, before), page)
	require.Contains(t, harness.Content(t, r.s.Path(".wcfs/metrics")), "\nwcfs_storage_up 1\n")
	r.p.Back()
	r.sees(before, r.commit())
}

// reading has all blocks of past views be read, of which nothing is cached yet.
func (r *relational) reading(views []zodb.Tid) *errgroup.Group {
	var g errgroup.Group
	for part := range slices.Chunk(views, (len(views)+3)/4) {
		g.Go(func() error {
			for _, at := range part {
				if err := r.readView(at); err != nil {
					return fmt.Errorf("@%s: %w", at, err)
				}
			}
			return nil
		})
	}
	return &g
}

func (r *relational) readView(at zodb.Tid) error {
	fd, err := harness.OpenFile(r.f.Path(r.s, "@"+at.String()), unix.O_RDONLY)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for blk := range r.f.Size(at) / r.f.BlkSize {
		text, err := readPage(fd, blk)
		if err != nil {
			return fmt.Errorf("block %d: %w", blk, err)
		}
		if want := r.f.Text(blk, at); text != want {
			return fmt.Errorf("block %d: %q; want %q", blk, text, want)
		}
	}
	return nil
}

// TestConnectionsToPostgreSQLMayBeCut while files are read: nobody notices.
func TestConnectionsToPostgreSQLMayBeCut(t *testing.T) {
	t.Parallel()
	r := newRelational(t, pgtest.Options{})
	for range 80 {
		r.commit()
	}
	r.s = r.Start()
	for views := range slices.Chunk(r.Tids[len(r.Tids)-80:], 20) {
		reading := r.reading(views)
		harness.Until(t, "there are connections to cut", func() bool {
			return r.p.Query(t, `SET client_min_messages = error;
				SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'reader'`) != "0"
		})
		require.NoError(t, reading.Wait())
	}
	require.Contains(t, r.s.Log(), "; nothing was missed")
	before := r.Head()
	r.sees(before, r.commit())
}

// TestPostgreSQLMayHaveFewConnections: with fewer than wcfs asks for reads are slower, and
// that is all.
func TestPostgreSQLMayHaveFewConnections(t *testing.T) {
	t.Parallel()
	// Three are for administrators only, and the application has two.
	r := newRelational(t, pgtest.Options{Settings: []string{"max_connections = 8"}})
	for range 40 {
		r.commit()
	}
	r.s = r.Start()
	require.NoError(t, r.reading(r.Tids[len(r.Tids)-40:]).Wait())
	require.Regexp(t, "too many clients|remaining connection slots", r.p.Log())
	require.NotContains(t, r.s.Log(), "is lost")
	before := r.Head()
	r.sees(before, r.commit())
}

// TestStandbyMayTakeOver when it has all that was served, and not before: head never goes
// back.
func TestStandbyMayTakeOver(t *testing.T) {
	t.Parallel()
	r := newRelational(t, pgtest.Options{})
	standby := r.p.Standby(t)
	query := url.Values{"host": {r.p.Dir() + "," + standby.Dir()}, "port": {fmt.Sprintf("%d,%d", r.p.Port, standby.Port)}}
	r.ZURL = "postgresql://reader@/" + r.p.Name + "?" + query.Encode()
	r.s = r.Start()
	require.Contains(t, storageSays(r.s), ": primary, connected\n")
	standby.Replay(t, false)
	before, last := r.Head(), r.commit()
	r.sees(before, last)
	standby.AwaitReceived(t, r.p.Cluster)
	r.p.Kill(t)
	harness.Until(t, "the standby is known to be behind", func() bool {
		return strings.Contains(storageSays(r.s), fmt.Sprintf(" is behind: it ends @%s, and @%s was served", before, last))
	})
	require.Equal(t, last.String(), harness.Content(t, r.s.Path("head/at")))
	standby.Replay(t, true)
	r.isBack()
	require.Contains(t, storageSays(r.s), ": standby, connected\n")
	r.sees(before, last)
	standby.Promote(t)
	r.p.WriteTo(standby)
	before, last = last, r.commit()
	r.sees(before, last)
}

// sightOf is all that others see of a server: its log, what it tells of itself, commands,
// the mount and the arguments of all processes.
func sightOf(t *testing.T, dir, log, zurl string) string {
	t.Helper()
	all := harness.Content(t, log) + harness.Content(t, "/proc/self/mountinfo")
	for _, name := range []string{"metrics", "storage", "stats", "clients"} {
		all += harness.Content(t, filepath.Join(dir, ".wcfs", name))
	}
	for _, args := range [][]string{{"status", zurl}, {"status", "--json", zurl}, {"list"}, {"list", "--json"}} {
		_, out, words := harness.Run(t, args...)
		all += out + words
	}
	for _, process := range harness.ServersLeft() {
		args, _ := os.ReadFile(process + "/cmdline") // it may have ended
		all += string(args) + "\n"
	}
	return all
}

// TestPasswordIsToldToNobody, also when it is wrong.
func TestPasswordIsToldToNobody(t *testing.T) {
	t.Parallel()
	r := newRelational(t, pgtest.Options{TCP: true})
	zurl, dir, log := r.p.TCP(pgtest.Password, ""), t.TempDir(), filepath.Join(t.TempDir(), "log")
	code, out, words := harness.Run(t, "mount", "--log-file", log, zurl, dir)
	require.Zero(t, code, words)
	defer harness.Run(t, "stop", dir)
	r.s = &harness.Server{T: t, Dir: dir}
	r.f.Check(r.s, "head", r.Head())
	seen := out + words + sightOf(t, dir, log, zurl)

	r.p.Query(t, "ALTER ROLE reader PASSWORD 'other'")
	r.p.Query(t, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'reader'")
	harness.Until(t, "the password is known to be wrong", func() bool {
		return strings.Contains(storageSays(r.s), `does not accept the password of user "reader"`)
	})
	seen += sightOf(t, dir, log, zurl)
	r.p.Query(t, "ALTER ROLE reader PASSWORD '"+pgtest.Password+"'")
	r.isBack()
	r.sees(r.Head(), r.commit())

	place := fmt.Sprintf("127.0.0.1:%d/%s", r.p.Port, r.p.Name)
	for typed, want := range map[string]int{
		"postgres://reader:hunter2@" + place:                   6,
		"postgres://reader@" + place + "?password=hunter2":     6,
		"postgres://reader:hunter2@" + place + "?nonsense=1":   12,
		"postgres://reader:hunter2@127.0.0.1:nonsense/zodb":    12,
		"postgres://reader:hunter2@" + place + "?sslmode=what": 12,
	} {
		code, out, words := harness.Run(t, "ls", typed)
		require.Equal(t, want, code, words)
		seen += out + words
	}
	_, out, words = harness.Run(t, "stop", zurl)
	seen += out + words + harness.Content(t, log)
	require.Contains(t, seen, "reader:xxx@127.0.0.1")
	require.NotContains(t, seen, pgtest.Password)
	require.NotContains(t, seen, "hunter2")
}
