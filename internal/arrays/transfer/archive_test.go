package transfer

import (
	"archive/zip"
	"bytes"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wcfs/wcfs/internal/arrays/catalog"
	"github.com/wcfs/wcfs/internal/zodb/btree"
	"github.com/wcfs/wcfs/internal/zodb/fault"
	"github.com/wcfs/wcfs/internal/zodb/record"
	"github.com/wcfs/wcfs/internal/zodb/zwrite"
)

// packed is a file in an archive.
type packed struct {
	name   string
	method uint16
	data   []byte
}

// archiveOf writes an .npz as numpy does: with sizes that may be beyond 32 bits.
func archiveOf(t testing.TB, files ...packed) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.npz")
	out, err := os.Create(path)
	require.NoError(t, err)
	z := zip.NewWriter(out)
	for _, f := range files {
		w, err := z.CreateHeader(&zip.FileHeader{Name: f.name, Method: f.method})
		require.NoError(t, err)
		_, err = w.Write(f.data)
		require.NoError(t, err)
	}
	require.NoError(t, z.Close())
	require.NoError(t, out.Close())
	return path
}

func numbers(n int64, seed uint64, t testing.TB) *npy {
	return &npy{descr: "'<f8'", item: 8, shape: []int64{n}, data: randomBytes(newRand(t, seed), int(8*n))}
}

// TestArchiveBecomesAFolder: all arrays of an .npz, stored or deflated, are there by
// one transaction, with the names that numpy gives them.
func TestArchiveBecomesAFolder(t *testing.T) {
	db := createDB(t, zwrite.Options{})
	var files []packed
	arrays := make(map[string]*npy)
	for i := range 300 { // more than a mapping has
		name := fmt.Sprintf("arr_%d", i)
		if i == 7 {
			name = "with/slash"
		}
		arrays[name] = numbers(int64(i*3), uint64(i+1), t)
		files = append(files, packed{name + ".npy", []uint16{zip.Store, zip.Deflate}[i%2], arrays[name].bytes()})
	}
	a, err := OpenArchive(archiveOf(t, files...))
	require.NoError(t, err)
	defer a.Close()
	taken := int64(0)
	done, err := ImportArchive(ctx, db, a, "all", Options{BlkSize: 4096, Progress: func(n int64) { taken += n }})
	require.NoError(t, err)
	require.Len(t, done, len(files))
	require.LessOrEqual(t, taken, a.Size())
	src := openReader(t, db.Path())
	for name, array := range arrays {
		e, err := catalog.Find(ctx, src, db.Head(), "all/"+name)
		require.NoError(t, err, name)
		require.Equal(t, array.bytes(), export(t, src, e.Oid, db.Head(), true), name)
	}
	listed := 0
	require.NoError(t, catalog.Walk(ctx, src, db.Head(), func(e *catalog.Entry) error {
		require.NoError(t, e.Err)
		listed++
		return nil
	}))
	require.Equal(t, len(files), listed)

	head := db.Head()
	_, err = ImportArchive(ctx, db, a, "all", Options{})
	require.Equal(t, fault.Exists, fault.Of(err))
	require.Equal(t, head, db.Head())
	_, err = ImportArchive(ctx, db, a, "all", Options{Replace: true})
	require.NoError(t, err)
	txn := begin(t, db)
	require.NoError(t, zwrite.SetName(txn, "other/arr_3", btree.Ref{Oid: done[0].Oid, Class: record.ZBigArray}))
	commit(t, txn)
	_, err = ImportArchive(ctx, db, a, "other", Options{})
	require.Equal(t, fault.Exists, fault.Of(err))
	require.ErrorContains(t, err, "other/arr_3 exists already")
	tid, err := Remove(ctx, db, "all", true, "")
	require.NoError(t, err)
	_, err = src.Sync(ctx)
	require.NoError(t, err)
	var missing *catalog.NotFoundError
	_, err = catalog.Find(ctx, src, tid, "all/arr_1")
	require.ErrorAs(t, err, &missing)
}

// TestArchiveThatCannotBeUsed leaves everything as it was, and says which file is why.
func TestArchiveThatCannotBeUsed(t *testing.T) {
	good := packed{"a.npy", zip.Deflate, numbers(1000, 1, t).bytes()}
	objects := (&npy{descr: "'|O'", item: 8, shape: []int64{1}, data: make([]byte, 8)}).bytes()
	whole, err := os.ReadFile(archiveOf(t, good))
	require.NoError(t, err)
	wrongSum := bytes.Clone(whole)
	sum := crc32.ChecksumIEEE(good.data)
	for _, at := range []int{bytes.LastIndex(whole, []byte{byte(sum), byte(sum >> 8), byte(sum >> 16), byte(sum >> 24)})} {
		require.Positive(t, at)
		wrongSum[at] ^= 1
	}
	write := func(data []byte) string {
		path := filepath.Join(t.TempDir(), "x.npz")
		require.NoError(t, os.WriteFile(path, data, 0o600))
		return path
	}
	for _, c := range []struct{ name, path, want string }{
		{"not only arrays", archiveOf(t, good, packed{"readme.txt", zip.Store, []byte("hello")}), `is a zip archive with "readme.txt" in it`},
		{"nothing", archiveOf(t, packed{"dir/", zip.Store, nil}), "without arrays"},
		{"twice", archiveOf(t, good, good), `has "a.npy" twice`},
		{"no name", archiveOf(t, packed{".npy", zip.Store, good.data}), "a name must not be empty"},
		{"control character", archiveOf(t, packed{"a\x1b.npy", zip.Store, good.data}), "no printable text"},
		{"cut off", write(whole[:len(whole)-50]), "damaged or cut off"},
		{"objects", archiveOf(t, good, packed{"o.npy", zip.Store, objects}), "x.npz: o.npy: .npy header: dtype: items would be references"},
		{"no array", archiveOf(t, good, packed{"b.npy", zip.Store, []byte("1,2\n")}), "x.npz: b.npy: is no .npy file: it is text"},
		{"cut array", archiveOf(t, packed{"b.npy", zip.Store, good.data[:1000]}), "bytes are missing"},
		{"wrong checksum", write(wrongSum), "checksum"},
	} {
		db := createDB(t, zwrite.Options{Buffer: 1000})
		a, err := OpenArchive(c.path)
		if err == nil {
			require.NotNil(t, a, c.name)
			_, err = ImportArchive(ctx, db, a, "x", Options{})
			a.Close()
		}
		require.Equal(t, fault.Input, fault.Of(err), c.name)
		require.ErrorContains(t, err, c.want, c.name)
		require.Zero(t, db.Head(), c.name)
	}
	for _, path := range []string{write(good.data), write(nil), t.TempDir(), "/dev/null", "/nothing"} {
		a, err := OpenArchive(path)
		require.NoError(t, err)
		require.Nil(t, a)
	}
}
