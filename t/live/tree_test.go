package live

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/t/harness"
	"github.com/wcfs/wcfs/t/oracle"
	"golang.org/x/sys/unix"
	"lab.nexedi.com/kirr/neo/go/zodb"
)

func TestModesSizesAndOwners(t *testing.T) {
	t.Parallel()
	db := oracle.Load(t, "basic")
	s := harness.Start(t, "basic")
	view := "@" + db.Head.String()
	oid := db.Files["arr"].Oid.String()
	zurl := int64(len(s.ZURL))
	for _, c := range []struct {
		path string
		mode uint32
		size int64
	}{
		{".", unix.S_IFDIR | 0o555, 0},
		{".wcfs", unix.S_IFDIR | 0o555, 0},
		{".wcfs/zurl", unix.S_IFREG | 0o444, zurl},
		{".wcfs/pintimeout", unix.S_IFREG | 0o444, 4},
		{".wcfs/trace", unix.S_IFREG | 0o444, 0},
		{".wcfs/clients", unix.S_IFREG | 0o444, 0},
		{"head", unix.S_IFDIR | 0o555, 0},
		{"head/at", unix.S_IFREG | 0o444, 16},
		{"head/watch", unix.S_IFREG | 0o644, 0}, // it is there to be written
		{"head/bigfile", unix.S_IFDIR | 0o555, 0},
		{"head/bigfile/" + oid, unix.S_IFREG | 0o444, 40960},
		{view, unix.S_IFDIR | 0o555, 0},
		{view + "/bigfile", unix.S_IFDIR | 0o555, 0},
		{view + "/bigfile/" + oid, unix.S_IFREG | 0o444, 40960},
	} {
		st := harness.Stat(t, s.Path(c.path))
		require.Equal(t, c.mode, st.Mode, "mode of %s: %o", c.path, st.Mode)
		require.Equal(t, c.size, st.Size, "size of %s", c.path)
		require.EqualValues(t, 1, st.Nlink, "nlink of %s", c.path)
		require.EqualValues(t, os.Getuid(), st.Uid, "uid of %s", c.path)
		require.EqualValues(t, os.Getgid(), st.Gid, "gid of %s", c.path)
		require.EqualValues(t, 0, st.Atim.Nano(), "atime of %s", c.path)
		require.Equal(t, st.Mtim, st.Ctim, "mtime and ctime of %s", c.path)
		if c.mode&unix.S_IFREG != 0 {
			require.GreaterOrEqual(t, 512*st.Blocks, c.size, "blocks of %s", c.path)
		}
	}
	// The size of stats may differ from that at start, but is always that of its
	// content.
	content, err := os.ReadFile(s.Path(".wcfs/stats"))
	require.NoError(t, err)
	require.EqualValues(t, len(content), harness.Stat(t, s.Path(".wcfs/stats")).Size)
}

// near requires that two times are the same within a microsecond: a tid cannot
// tell a time better than to some 14 ns, and clients compute it in floats.
func near(t *testing.T, want time.Time, got unix.Timespec, what string) {
	t.Helper()
	diff := time.Unix(got.Unix()).Sub(want)
	require.LessOrEqual(t, math.Abs(diff.Seconds()), 1e-6, "%s: %s", what, diff)
}

func TestTimesAreCommitTimes(t *testing.T) {
	t.Parallel()
	db := oracle.Load(t, "basic")
	s := harness.Start(t, "basic")
	near(t, db.Head.Time().Time, harness.Stat(t, s.Path("head")).Mtim, "head")
	for _, path := range []string{".", ".wcfs", ".wcfs/zurl", ".wcfs/pintimeout", ".wcfs/stats", "head/at", "head/bigfile"} {
		require.Zero(t, harness.Stat(t, s.Path(path)).Mtim, "mtime of %s", path)
	}
	changed := make(map[zodb.Oid]zodb.Tid) // revision of each object
	for _, txn := range db.Txns {
		for _, oid := range txn.Oids {
			changed[oid] = txn.Tid
		}
		view := "@" + txn.Tid.String()
		near(t, txn.Tid.Time().Time, harness.Stat(t, s.Path(view)).Mtim, view)
		for name, path := range harness.Files(s, db, view) {
			if _, exists := txn.Files[name]; !exists {
				continue
			}
			st := harness.Stat(t, path)
			near(t, changed[db.Files[name].Oid].Time().Time, st.Mtim, path)
			require.Equal(t, st.Mtim, st.Ctim)
		}
	}
	for name, path := range harness.Files(s, db, "head") {
		near(t, changed[db.Files[name].Oid].Time().Time, harness.Stat(t, path).Mtim, "head "+name)
	}
}

func TestBlockSizeIsToldByStat(t *testing.T) {
	t.Parallel()
	db := oracle.Load(t, "basic")
	s := harness.Start(t, "basic")
	for _, view := range []string{"head", "@" + db.Head.String()} {
		for name, path := range harness.Files(s, db, view) {
			require.EqualValues(t, db.Files[name].BlkSize, harness.Stat(t, path).Blksize, path)
		}
	}
}

func TestWhatWasLookedUpIsListed(t *testing.T) {
	t.Parallel()
	db := oracle.Load(t, "basic")
	s := harness.Start(t, "basic")
	view, oid := "@"+db.Head.String(), db.Files["arr"].Oid.String()
	require.Equal(t, []string{".wcfs", "head"}, harness.List(t, s.Dir))
	require.Equal(t, []string{"clients", "metrics", "pintimeout", "stats", "trace", "zurl"}, harness.List(t, s.Path(".wcfs")))
	require.Equal(t, []string{"arrays", "at", "bigfile", "watch"}, harness.List(t, s.Path("head")))
	require.Empty(t, harness.List(t, s.Path("head/bigfile")))

	_, err := os.Stat(s.Path("head/bigfile", "0000000000009999"))
	require.Error(t, err)
	require.Empty(t, harness.List(t, s.Path("head/bigfile")), "after a failed lookup")

	f, err := os.Open(s.Path("head/bigfile", oid)) // open, so that the kernel cannot forget it
	require.NoError(t, err)
	defer f.Close()
	require.Equal(t, []string{oid}, harness.List(t, s.Path("head/bigfile")))
	require.Equal(t, []string{".wcfs", "head"}, harness.List(t, s.Dir))

	d, err := os.Open(s.Path(view))
	require.NoError(t, err)
	defer d.Close()
	require.Equal(t, []string{".wcfs", view, "head"}, harness.List(t, s.Dir))
	require.Equal(t, []string{"arrays", "bigfile"}, harness.List(t, s.Path(view)))
	require.Empty(t, harness.List(t, s.Path(view, "bigfile")))
	g, err := os.Open(s.Path(view, "bigfile", oid))
	require.NoError(t, err)
	defer g.Close()
	require.Equal(t, []string{oid}, harness.List(t, s.Path(view, "bigfile")))
}

func TestStatfsDoesNotUpsetDF(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, "topo")
	for _, path := range []string{".", "head/at", "head/bigfile"} {
		var st unix.Statfs_t
		require.NoError(t, unix.Statfs(s.Path(path), &st))
		require.EqualValues(t, 2<<20, st.Bsize)
		require.EqualValues(t, 2<<20, st.Frsize)
		require.EqualValues(t, 255, st.Namelen)
		require.Zero(t, st.Blocks)
		require.Zero(t, st.Bfree)
		require.Zero(t, st.Bavail)
		require.Zero(t, st.Files)
		require.Zero(t, st.Ffree)
	}
}

func TestThereAreNoExtendedAttributes(t *testing.T) {
	t.Parallel()
	db := oracle.Load(t, "topo")
	s := harness.Start(t, "topo")
	for _, path := range []string{s.Dir, s.Path("head/at"), s.Path("head/bigfile", db.Files["topo"].Oid.String())} {
		_, err := unix.Getxattr(path, "user.x", make([]byte, 10))
		require.ErrorIs(t, err, unix.ENOTSUP, path)
		require.ErrorIs(t, unix.Setxattr(path, "user.x", []byte("1"), 0), unix.ENOTSUP, path)
		require.ErrorIs(t, unix.Removexattr(path, "user.x"), unix.ENOTSUP, path)
		n, err := unix.Listxattr(path, make([]byte, 100))
		if err == nil {
			require.Zero(t, n, path)
		} else {
			require.ErrorIs(t, err, unix.ENOTSUP, path)
		}
	}
}

// TestLookupErrors has the errno of every kind of name that is not there.
func TestLookupErrors(t *testing.T) {
	t.Parallel()
	db := oracle.Load(t, "basic")
	s := harness.Start(t, "basic")
	first, view := "@"+db.Txns[0].Tid.String(), "@"+db.Head.String()
	arr := db.Files["arr"].Oid.String()
	for _, c := range noNames(db.Head, first, view, arr) {
		var st unix.Stat_t
		for range 2 { // a second try must not be answered from anywhere else
			err := harness.Uninterrupted(func() error { return unix.Lstat(s.Path(c.path), &st) })
			require.ErrorIs(t, err, c.errno, c.path)
		}
	}
	_, err := os.Stat(s.Path("head/bigfile", strings.Repeat("0", 256)))
	require.ErrorIs(t, err, unix.ENOENT)

	log := s.Log()
	require.NotContains(t, log, "nothing", "that is nobody's fault")
	require.Contains(t, log, "persistent.mapping.PersistentMapping is not a ZBigFile")
	require.Equal(t, []string{".wcfs"}, harness.List(t, s.Dir)[:1])
}

// lookup is a path of a mount and the error of looking it up.
type lookup struct {
	path  string
	errno unix.Errno
}

// noNames returns paths that are not there: first and view are the directories of the first
// and the newest view, arr is a file that the first one does not have.
func noNames(head zodb.Tid, first, view, arr string) []lookup {
	beyond := "@" + (head + 1).String()
	return []lookup{
		// Names that cannot be are not there, as anywhere else.
		{"nothing", unix.ENOENT},
		{"@", unix.ENOENT},
		{"@1", unix.ENOENT},
		{"@040d232b6a99ef1", unix.ENOENT},
		{"@040d232b6a99ef111", unix.ENOENT},
		{"@040d232b6a99ef1g", unix.ENOENT},
		{"@ 40d232b6a99ef11", unix.ENOENT},
		{head.String(), unix.ENOENT},
		{strings.Repeat("@", 255), unix.ENOENT},
		{"nothing/x", unix.ENOENT},
		// One name for one thing: no upper case.
		{"@040D232B6A99EF11", unix.ENOENT},
		{"head/bigfile/000000000000000B", unix.ENOENT},
		{view + "/bigfile/000000000000000B", unix.ENOENT},
		// A view that does not exist yet is refused at once.
		{beyond, unix.ENOENT},
		{"@7fffffffffffffff", unix.ENOENT},
		{"@ffffffffffffffff", unix.ENOENT},
		{beyond + "/bigfile/" + arr, unix.ENOENT},

		{"head/bigfile/x", unix.ENOENT},
		{"head/bigfile/1", unix.ENOENT},
		{"head/bigfile/0000000000000008x", unix.ENOENT},
		{"head/bigfile/00000000000000 8", unix.ENOENT},
		{view + "/bigfile/x", unix.ENOENT},
		{view + "/bigfile/1/x", unix.ENOENT},
		// Clients rely on EINVAL for an oid that is no file.
		{"head/bigfile/0000000000000000", unix.EINVAL}, // the root object, not a ZBigFile
		{"head/bigfile/0000000000099999", unix.EINVAL}, // never created
		{"head/bigfile/ffffffffffffffff", unix.EINVAL}, // zodb.InvalidOid
		{view + "/bigfile/0000000000000000", unix.EINVAL},
		{view + "/bigfile/0000000000099999", unix.EINVAL},
		{first + "/bigfile/" + arr, unix.EINVAL}, // created later

		{"head/nothing", unix.ENOENT},
		{".wcfs/nothing", unix.ENOENT},
		{view + "/at", unix.ENOENT},
		{view + "/watch", unix.ENOENT},
		{view + "/nothing", unix.ENOENT},
		{"head/at/x", unix.ENOTDIR},
		{"head/bigfile/" + arr + "/x", unix.ENOTDIR},
	}
}

// TestViewsBetweenTransactionsShowTheOlderOne: any tid up to head is a view.
func TestViewsBetweenTransactionsShowTheOlderOne(t *testing.T) {
	t.Parallel()
	db := oracle.Load(t, "topo")
	s := harness.Start(t, "topo")
	for _, txn := range db.Txns[:len(db.Txns)-1] {
		checkView(t, s, db, "@"+(txn.Tid+1).String(), txn)
	}
	_, err := os.Stat(s.Path("@0000000000000000", "bigfile", db.Files["topo"].Oid.String()))
	require.ErrorIs(t, err, unix.EINVAL)
	require.DirExists(t, filepath.Join(s.Dir, "@0000000000000001"))
}
