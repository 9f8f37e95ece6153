package cli

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/internal/zodb/fs1"
	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/internal/zodb/storage/storagetest"
	"github.com/wcfs/wcfs/t/harness"
	"golang.org/x/sys/unix"
	"lab.nexedi.com/kirr/neo/go/zodb"
)

// Over has the first transactions of a Live in one FileStorage, and those that follow in
// another one, as ZODB's DemoStorage leaves them.
type Over struct {
	l           *harness.Live
	Base, Delta string // paths
	ZURL        string
	delta       *storagetest.FSWriter
	last        zodb.Tid // that was copied
}

// NewOver makes what a Live has so far the base.
func NewOver(l *harness.Live) *Over {
	l.T.Helper()
	dir := l.T.TempDir()
	o := &Over{l: l, Base: filepath.Join(dir, "base.fs"), Delta: filepath.Join(dir, "delta.fs"), last: l.Head()}
	harness.CopyFile(l.T, l.File(), o.Base)
	o.delta = storagetest.NewFSWriter(o.Delta)
	l.T.Cleanup(o.delta.Close)
	o.ZURL = "demo:(file://" + o.Base + ")/(file://" + o.Delta + ")"
	return o
}

// Copy commits to the delta what was committed since. Of objects that have become again
// what they were in the base, there are only deletions, as an undo leaves them.
func (o *Over) Copy(undone ...zodb.Oid) zodb.Tid {
	o.l.T.Helper()
	u, err := storage.ParseURL("file://" + o.l.File())
	require.NoError(o.l.T, err)
	ctx := context.Background()
	live, head, err := fs1.Open(ctx, u, storage.Options{})
	require.NoError(o.l.T, err)
	defer live.Close()
	require.NoError(o.l.T, live.(storage.Iterator).Iterate(ctx, o.last+1, head, func(txn *storage.Txn) error {
		t := storagetest.Txn{Tid: txn.Tid, User: txn.User, Description: txn.Description, Extension: txn.Extension}
		for _, oid := range txn.Oids {
			r := storagetest.Record{Oid: oid}
			buf, _, err := live.Load(ctx, zodb.Xid{At: txn.Tid, Oid: oid})
			if err != nil && !storage.IsNoData(err) {
				return err
			}
			if err == nil && !slices.Contains(undone, oid) {
				r.Data = buf.Data
			}
			t.Records = append(t.Records, r)
		}
		o.delta.Commit(t)
		return nil
	}))
	o.last = head
	return head
}

// TestDatabaseOverAnotherOneIsServed follows commits to the delta, beside the same
// database in one file.
func TestDatabaseOverAnotherOneIsServed(t *testing.T) {
	t.Parallel()
	l := harness.NewLive(t)
	f := l.NewFile(harness.BlkSize)
	at1 := f.Commit(harness.Blocks{0: "a1", 1: "b1", 3: "d1"})
	at2 := f.Commit(harness.Blocks{1: "b2"})
	o := NewOver(l)
	s := harness.Launch(t, harness.Config{Options: []string{"-debug"}, ZURL: o.ZURL})
	require.Equal(t, o.ZURL, harness.Content(t, s.Path(".wcfs/zurl")))
	require.Equal(t, at2.String(), harness.Content(t, s.Path("head/at")))
	f.Check(s, "head", at2)
	m := harness.Map(t, f.Path(s, "head"), harness.BlkSize, 8)
	require.Equal(t, []string{"a1", "b2", "", "d1"}, m.Blocks(4))

	at3 := f.Commit(harness.Blocks{1: "b3", 3: "d3", 5: "f3"})
	s.WaitAt(o.Copy())
	require.Equal(t, "101000", m.Cache(), "exactly what changed has left")
	require.Equal(t, []string{"a1", "b3", "", "d3", "", "f3"}, m.Blocks(6))
	before := harness.Map(t, f.Path(s, "@"+at2.String()), harness.BlkSize, 4)
	require.Equal(t, []string{"a1", "b2", "", "d1"}, before.Blocks(4))

	// An undo in the delta brings back what is in the base.
	var zblk zodb.Oid
	at4 := l.Commit(func(tx *harness.LiveTx) {
		zblk = tx.Blk(f, 3)
		tx.Write(f, 3, "d1")
	})
	s.WaitAt(o.Copy(zblk))
	require.Equal(t, "111011", m.Cache())
	require.Equal(t, []string{"a1", "b3", "", "d1"}, m.Blocks(4))

	g := l.NewFile(harness.BlkSize)
	at5 := g.CommitChunks(2, "chunks")
	s.WaitAt(o.Copy())
	g.Check(s, "head", at5)
	for _, at := range []zodb.Tid{at5, at3, at1, at4, at2} {
		f.Check(s, "@"+at.String(), at)
		f.Check(s, "@"+(at-1).String(), at-1)
	}
	g.Check(s, "@"+at2.String(), at2)
	_, err := os.Stat(s.Path("@" + (at5 + 1).String()))
	require.ErrorIs(t, err, unix.ENOENT)
	f.Check(s, "head", at5)
	m.Close()
	before.Close()
	s.Stop()
}

// TestCommandsSeeADatabaseOverAnotherOneAsOneFile compares what they print.
func TestCommandsSeeADatabaseOverAnotherOneAsOneFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	array := filepath.Join(dir, "array.raw")
	require.NoError(t, os.WriteFile(array, []byte(strings.Repeat("numbers!", 4000)), 0o644))
	l := &harness.Live{T: t, ZURL: "file://" + filepath.Join(dir, "Data.fs")}
	imports := func(name string, options ...string) zodb.Tid {
		done := importJSON(t, append([]string{array, l.File(), name, "--dtype", "<f8"}, options...)...)
		id, _ := storage.ParseID(done.Tid)
		return zodb.Tid(id)
	}
	first := imports("old", "--blksize", "4096")
	l.Tids = []zodb.Tid{first}
	o := NewOver(l)
	require.NotZero(t, imports("new", "--block-format", "ZBlk1"))
	require.NotZero(t, imports("old", "--append"))
	last := o.Copy()

	for _, args := range [][]string{
		{"ls", "DB"}, {"ls", "DB", "--at", first.String()}, {"ls", "--json", "DB"}, {"log", "DB"}, {"log", "DB", "old"},
		{"log", "--json", "DB", "new"}, {"diff", "DB", "old", "@" + first.String(), "@" + last.String()},
		{"cat", "DB", "old"}, {"cat", "DB", "old", "--at", first.String()}, {"export", "DB", "new", "-o", "-"},
	} {
		run := func(database string) (int, string) {
			code, out, words := harness.Run(t, slices.Concat(args[:slices.Index(args, "DB")], []string{database}, args[slices.Index(args, "DB")+1:])...)
			return code, strings.ReplaceAll(out+words, database, "DB")
		}
		wantCode, want := run(l.File())
		code, out := run(o.ZURL)
		require.Zero(t, wantCode, want)
		require.Equal(t, want, out, "%s", args)
		require.Zero(t, code)
		require.NotEmpty(t, out)
	}

	refused := func(code int, text string, args ...string) {
		t.Helper()
		got, _, words := harness.Run(t, args...)
		require.Equal(t, code, got, words)
		require.Contains(t, words, text)
	}
	refused(12, "can be written, and this is one database over another; its delta alone would not do", "import", array, o.ZURL, "x", "--raw")
	refused(12, "this is one database over another", "rm", o.ZURL, "old")
	refused(12, "only files can be checked, and this is one database over another", "check", o.ZURL)
	refused(6, "its delta, file://"+dir+"/no.fs, no such file", "ls", "demo:(file://"+o.Base+")/(file://"+dir+"/no.fs)")
	refused(12, "names no databases one over the other", "ls", "demo:"+o.Base)
	for _, path := range []string{o.Base, o.Delta} {
		refused(13, "which is never replaced", "export", o.ZURL, "new", "--format", "raw", "-o", path, "--force")
		refused(13, "which is never replaced", "export", o.ZURL, "new", "--format", "raw", "-o", path+".lock", "--force")
	}
	requireUsualPlace(t, o.ZURL)

	// A base that has gone on is no base of this delta any more.
	importJSON(t, array, o.Base, "later", "--raw")
	refused(7, "the base has gone on since", "ls", o.ZURL)
}

// requireUsualPlace serves a database where other programs look for its url.
func requireUsualPlace(t *testing.T, zurl string) {
	code, out, words := harness.Run(t, "mount", zurl)
	require.Zero(t, code, words)
	require.Equal(t, harness.DefaultPoint(zurl)+"\n", out)
	code, out, words = harness.Run(t, "status", zurl)
	require.Zero(t, code, words)
	require.Contains(t, out, zurl)
	code, _, words = harness.Run(t, "stop", zurl)
	require.Zero(t, code, words)
}
