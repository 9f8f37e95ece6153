package transfer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/arrays/catalog"
	"github.com/wcfs/wcfs/internal/arrays/ndarray"
	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/internal/zodb/zwrite"
)

var appends = flag.Int("appends", 2000, "how often TestManyAppendsCostWhatIsNew appends")

// TestManyAppendsCostWhatIsNew: the array grows to many blocks and the last
// append writes no more than an early one. It is right at views all along.
func TestManyAppendsCostWhatIsNew(t *testing.T) {
	const step, item = 3, 8
	appends := *appends
	if testing.Short() {
		appends /= 4
	}
	rnd := newRand(t, 0)
	db := createDB(t, zwrite.Options{})
	pieceOf := func(i int) []byte {
		var piece []byte
		for j := range step {
			piece = binary.LittleEndian.AppendUint64(piece, uint64(i*step+j+1))
		}
		return piece
	}
	u8 := dtypeOf(t, "<u8")
	res, err := Import(ctx, db, source(t, nil, false, Layout{DType: u8}), "a", Options{BlkSize: 256})
	require.NoError(t, err)
	sizes := []int64{fileSize(t, db.Path())}
	views := []zodb.Tid{res.Tid}
	for i := range appends {
		res, err := Append(ctx, db, source(t, pieceOf(i), false, Layout{}), "a", Options{Format: bigfile.FormatAuto})
		require.NoError(t, err)
		require.LessOrEqual(t, res.Blocks, int64(2))
		views = append(views, res.Tid)
		sizes = append(sizes, fileSize(t, db.Path()))
	}
	part := appends / 10
	first, last := sizes[2*part]-sizes[part], sizes[appends]-sizes[appends-part]
	t.Logf("%d appends take %d bytes in the file in the beginning, %d at the end", part, first, last)
	require.Less(t, float64(last), 1.5*float64(first))

	src := openReader(t, db.Path())
	var want []byte
	for i := range appends {
		want = append(want, pieceOf(i)...)
	}
	for range 100 {
		n := rnd.IntN(appends + 1)
		got := export(t, src, res.Oid, views[n], false)
		require.True(t, bytes.Equal(want[:n*step*item], got), "after %d appends", n)
	}
	require.True(t, bytes.Equal(want, export(t, src, res.Oid, db.Head(), false)))
}

func fileSize(t testing.TB, path string) int64 {
	t.Helper()
	fi, err := os.Stat(path)
	require.NoError(t, err)
	return fi.Size()
}

// TestAppendKeepsWhatIsBehindTheArray: the file of an array that became smaller
// has more than the array, and nobody said that it may be lost.
func TestAppendKeepsWhatIsBehindTheArray(t *testing.T) {
	db := createDB(t, zwrite.Options{})
	res, err := Import(ctx, db, source(t, []byte("0123456789abcdefghij"), false, Layout{}), "a", Options{BlkSize: 8})
	require.NoError(t, err)
	txn := begin(t, db)
	res.Array.Shape[0] = 3
	txn.Store(res.Oid, ndarray.EncodeArray(&res.Array))
	commit(t, txn)
	res, err = Append(ctx, db, source(t, []byte("XYZ"), false, Layout{}), "a", Options{})
	require.NoError(t, err)
	src := openReader(t, db.Path())
	require.Equal(t, "012XYZ", string(export(t, src, res.Oid, res.Tid, false)))
	var file bytes.Buffer
	require.NoError(t, Copy(ctx, src, res.Tid, res.Array.File, 0, 24, &file, nil))
	require.Equal(t, "012XYZ6789abcdefghij\x00\x00\x00\x00", file.String())
}

// TestAppendFindsArraysInFolders: also what import does not make.
func TestAppendFindsArraysInFolders(t *testing.T) {
	db := createDB(t, zwrite.Options{})
	res, err := Import(ctx, db, source(t, []byte("ab"), false, Layout{}), "a", Options{})
	require.NoError(t, err)
	for _, name := range []string{res.Oid.String(), "0x" + res.Oid.String(), "a"} {
		_, err = Append(ctx, db, source(t, []byte("c"), false, Layout{}), name, Options{})
		require.NoError(t, err)
	}
	_, err = Append(ctx, db, source(t, []byte("c"), false, Layout{}), "a/zfile", Options{})
	require.ErrorContains(t, err, "a/zfile is a file and no array")
	var missing *catalog.NotFoundError
	_, err = Append(ctx, db, source(t, []byte("c"), false, Layout{}), "b", Options{})
	require.ErrorAs(t, err, &missing)
	require.Equal(t, "abccc", string(export(t, openReader(t, db.Path()), res.Oid, db.Head(), false)))
}

// TestAppendLosesNothingItDoesNotKnow refuses arrays of other classes, with other
// attributes, and those that are damaged.
func TestAppendLosesNothingItDoesNotKnow(t *testing.T) {
	db := createDB(t, zwrite.Options{})
	res, err := Import(ctx, db, source(t, []byte("ab"), false, Layout{}), "a", Options{})
	require.NoError(t, err)
	record := ndarray.EncodeArray(&res.Array)
	var corrupt *storage.CorruptError
	for _, c := range []struct {
		from, to, want string
		corrupt        bool
	}{
		{"_order", "_other", `a has an attribute "_other"`, false},
		{"_shape", "_shipe", "_shape of a ZBigArray: not there", true},
	} {
		changed := bytes.Replace(record, []byte(c.from), []byte(c.to), 1)
		require.NotEqual(t, record, changed)
		txn := begin(t, db)
		txn.Store(res.Oid, changed)
		head := commit(t, txn)
		_, err := Append(ctx, db, source(t, []byte("c"), false, Layout{}), "a", Options{})
		require.ErrorContains(t, err, c.want)
		require.Equal(t, c.corrupt, errors.As(err, &corrupt))
		require.Equal(t, head, db.Head())
	}
}
