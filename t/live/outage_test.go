package live

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/internal/zodb/zwrite"
	"github.com/wcfs/wcfs/t/harness"
	"golang.org/x/sys/unix"
	"lab.nexedi.com/kirr/neo/go/zodb"
)

// storageSays returns what the server says of that of its database.
func storageSays(s *harness.Server) string { return harness.Content(s.T, s.Path(".wcfs/storage")) }

// changing is a database of which each commit changes some blocks, and who serves it.
type changing struct {
	*harness.Live
	t *testing.T
	f *harness.LiveFile
	s *harness.Server
	n int // commits
}

// newChanging writes to a database, which nobody serves yet.
func newChanging(t *testing.T, l *harness.Live) *changing {
	t.Helper()
	r := &changing{Live: l, t: t, f: l.NewFile(4096)}
	r.commit()
	return r
}

// commit changes some blocks, and returns the transaction.
func (r *changing) commit() zodb.Tid {
	r.t.Helper()
	r.n++
	blocks := harness.Blocks{}
	for i := range int64(3) {
		blk := (int64(r.n) + i*7) % 20
		blocks[blk] = fmt.Sprintf("%d.%d", r.n, blk)
	}
	return r.f.Commit(blocks)
}

// sees checks all blocks of the newest view, and of the one before.
func (r *changing) sees(before, last zodb.Tid) {
	r.t.Helper()
	r.s.WaitAt(last)
	r.f.Check(r.s, "head", last)
	r.f.Check(r.s, "@"+before.String(), before)
}

// isAway waits until it is noticed that the server of the database is away.
func (r *changing) isAway() {
	r.t.Helper()
	harness.Until(r.t, "the outage is noticed", func() bool { return strings.HasPrefix(storageSays(r.s), "disconnected since ") })
}

// isBack waits until it is there again.
func (r *changing) isBack() {
	r.t.Helper()
	harness.Until(r.t, "the outage is over", func() bool { return strings.HasPrefix(storageSays(r.s), "connected") })
}

// TestOutageOfAServerEndsNothing: what is cached stays readable, what is not waits and is
// EIO then, everybody is told, and when the server is back nothing was missed.
func TestOutageOfAServerEndsNothing(t *testing.T) {
	t.Parallel()
	z := harness.StartZEO(t, "6", "msgpack true", "")
	l := harness.NewLiveOn(z)
	f := l.NewFile(4096)
	at0 := f.Commit(harness.Blocks{0: "a0", 100: "b0", 200: "c0"})
	s := l.Start("--storage-timeout", "2s")
	fd, err := unix.Open(f.Path(s, "head"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	defer unix.Close(fd)
	past, err := unix.Open(f.Path(s, "@"+at0.String()), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	defer unix.Close(past)
	for _, fd := range []int{fd, past} {
		text, err := readPage(fd, 0)
		require.NoError(t, err)
		require.Equal(t, "a0", text)
	}
	require.Equal(t, "connected\n", storageSays(s))
	client := harness.StartGoClient(t, s)
	client.Do("connect c %s", at0)
	client.Do("open f c %s", f.Oid)
	client.Do("mmap m f 0 1")

	for range 2 {
		z.Kill()
		harness.Until(t, "the outage is noticed", func() bool { return strings.HasPrefix(storageSays(s), "disconnected since ") })
		for _, fd := range []int{fd, past} {
			text, err := readPage(fd, 0)
			require.NoError(t, err, "it is cached")
			require.Equal(t, "a0", text)
			start := time.Now()
			_, err = readPage(fd, 200)
			require.ErrorIs(t, err, unix.EIO)
			require.Greater(t, time.Since(start), time.Second, "it did not wait")
		}
		client.Shows("show m", "a0")
		require.Equal(t, at0.String(), harness.Content(t, s.Path("head/at")))
		requireOutageIsTold(t, s, l.ZURL+"&wait_timeout=3")
		z.Start()
		harness.Until(t, "it is over", func() bool { return storageSays(s) == "connected\n" })
	}
	require.Contains(t, harness.Content(t, s.Path(".wcfs/metrics")), "\nwcfs_storage_up 1\n")
	text, err := readPage(fd, 100)
	require.NoError(t, err)
	require.Equal(t, "b0", text)
	require.Equal(t, 2, strings.Count(s.Log(), "the connection to the server is lost, trying again until it is back"), s.Log())
	require.Equal(t, 2, strings.Count(s.Log(), "; nothing was missed"), s.Log())

	// Commits while wcfs is not connected come, too.
	missed, last := commitInAnOutage(z, l, f)
	s.WaitAt(last)
	f.CheckFd(fd, last)
	client.Shows("show m", "a0")
	client.End()
	f.Check(s, "@"+missed.String(), missed)
	require.Contains(t, s.Log(), "; 2 transactions were missed, and are known now")
}

// commitInAnOutage makes two commits while the server of the database is away.
func commitInAnOutage(z *harness.ZEO, l *harness.Live, f *harness.LiveFile) (missed, last zodb.Tid) {
	z.Kill()
	db, err := zwrite.Open(l.T.Context(), z.Path("data.fs"), zwrite.Options{})
	require.NoError(l.T, err)
	l.DB = db
	missed = f.Commit(harness.Blocks{0: "a1"})
	last = f.Commit(harness.Blocks{200: "c1"})
	require.NoError(l.T, db.Close())
	z.Start()
	return missed, last
}

// readPage returns the text of a block of 4096 bytes.
func readPage(fd int, blk int64) (string, error) {
	page := make([]byte, 4096)
	n, err := unix.Pread(fd, page, blk*4096)
	return strings.TrimRight(string(page[:max(n, 0)]), "\x00"), err
}

// requireOutageIsTold by commands and metrics.
func requireOutageIsTold(t *testing.T, s *harness.Server, zurl string) {
	code, out, words := harness.Run(t, "status", zurl)
	require.Equal(t, 1, code)
	require.Contains(t, out, "fail - database: disconnected since ")
	require.Contains(t, words, "the server of the database is away; nothing is to be done here")
	_, out, _ = harness.Run(t, "list")
	require.Regexp(t, "(?m)^"+s.Dir+" .*disconnected$", out)
	require.Contains(t, harness.Content(t, s.Path(".wcfs/metrics")), "\nwcfs_storage_up 0\n")
}

// TestServerMayBeStartedBeforeThatOfItsDatabase with --wait.
func TestServerMayBeStartedBeforeThatOfItsDatabase(t *testing.T) {
	t.Parallel()
	z := harness.StartZEO(t, "5", "", "")
	l := harness.NewLiveOn(z)
	f := l.NewFile(4096)
	at := f.Commit(harness.Blocks{0: "a0"})
	z.Kill()
	dir, log := t.TempDir(), filepath.Join(t.TempDir(), "log")
	code, _, words := harness.Run(t, "mount", l.ZURL, dir)
	require.Equal(t, 6, code)
	require.Contains(t, words, "wcfs: open zeo://"+z.Path("zeo")+": ")
	require.Empty(t, harness.List(t, dir))

	type end struct {
		code  int
		words string
	}
	ended := make(chan end, 1)
	go func() {
		code, _, words := harness.Run(t, "mount", "--wait", "--log-file", log, l.ZURL, dir)
		ended <- end{code, words}
	}()
	harness.Until(t, "it waits", func() bool {
		text, err := os.ReadFile(log)
		return err == nil && strings.Contains(string(text), "the server is not there, waiting for it")
	})
	require.Empty(t, ended)
	z.Start()
	e := <-ended
	require.Zero(t, e.code, e.words)
	defer func() {
		code, _, words := harness.Run(t, "stop", dir)
		require.Zero(t, code, words)
	}()
	require.Equal(t, at.String(), harness.Content(t, filepath.Join(dir, "head/at")))
}
