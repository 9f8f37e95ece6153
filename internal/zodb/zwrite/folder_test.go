package zwrite

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/btree"
	"github.com/wcfs/wcfs/internal/zodb/pickle"
	"github.com/wcfs/wcfs/internal/zodb/record"
)

// namesIn returns what a folder refers to.
func namesIn(t testing.TB, f *Folder) map[string]btree.Ref {
	t.Helper()
	names := make(map[string]btree.Ref)
	require.NoError(t, f.Each(func(name string, ref btree.Ref) error {
		names[name] = ref
		return nil
	}))
	return names
}

// TestManyNamesDoNotMakeManyBytes: each transaction that sets one name more costs about
// as much as the one before, however many there are.
func TestManyNamesDoNotMakeManyBytes(t *testing.T) {
	path := tempPath(t)
	db := create(t, path, Options{NoSync: true})
	want := make(map[string]btree.Ref)
	const n = 1500
	for i := range n {
		txn := begin(t, db, Meta{})
		name := fmt.Sprintf("array-%d", i)
		want[name] = btree.Ref{Oid: txn.New(), Class: record.ZBigFile}
		require.NoError(t, SetName(txn, name, want[name]))
		_, err := txn.Commit()
		require.NoError(t, err)
	}
	fi, err := os.Stat(path)
	require.NoError(t, err)
	t.Logf("%d bytes for each of %d names", fi.Size()/n, n)
	require.Less(t, fi.Size(), int64(n*3000))
	txn := begin(t, db, Meta{})
	defer txn.Abort()
	names, err := rootNames(txn)
	require.NoError(t, err)
	require.True(t, maps.Equal(want, names))
}

// TestFoldersAreWhatWasSet sets and removes random names, in few and in many, and
// compares each folder, opened anew, with a map.
func TestFoldersAreWhatWasSet(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	db := create(t, tempPath(t), Options{NoSync: true})
	for _, most := range []int{10, 2 * maxItems, 10 * maxItems} {
		txn := begin(t, db, Meta{})
		f := NewFolder(txn)
		want := make(map[string]btree.Ref)
		for i := range 8 * most {
			name := fmt.Sprint("n", rnd.IntN(most))
			if _, there, err := f.Get(name); err != nil || there != (want[name] != btree.Ref{}) {
				t.Fatal(name, there, err)
			}
			if rnd.IntN(3) > 0 {
				want[name] = btree.Ref{Oid: txn.New(), Class: record.ZBigFile}
				require.NoError(t, f.Set(name, want[name]))
			} else {
				_, had := want[name]
				there, err := f.Delete(name)
				require.NoError(t, err)
				require.Equal(t, had, there)
				delete(want, name)
			}
			if i%50 == 0 || i == 8*most-1 {
				f.Flush()
				var err error
				f, err = OpenFolder(txn, f.oid)
				require.NoError(t, err)
				require.True(t, maps.Equal(want, namesIn(t, f)), "%d names", len(want))
			}
		}
		txn.Abort()
	}
}

// TestMappingOfAnApplicationStaysOne, however many names it has: what the application
// does with its dict must go on working.
func TestMappingOfAnApplicationStaysOne(t *testing.T) {
	db := create(t, tempPath(t), Options{NoSync: true})
	for _, class := range []record.Class{record.ZBigFile, {Module: "app", Name: "Thing"}} {
		txn := begin(t, db, Meta{})
		f := NewFolder(txn)
		for i := range 2 * maxItems {
			require.NoError(t, f.Set(fmt.Sprint(i), btree.Ref{Oid: txn.New(), Class: record.ZBigFile}))
		}
		require.NoError(t, f.Set("other", btree.Ref{Oid: txn.New(), Class: class}))
		f.Flush()
		f, err := OpenFolder(txn, f.oid)
		require.NoError(t, err)
		require.Equal(t, class == record.ZBigFile, f.tree != nil)
		require.Len(t, namesIn(t, f), 2*maxItems+1)
		txn.Abort()
	}
}

// TestOtherValuesStayWhenANameGoes: of mappings of Python 2 and 3 that have more than
// references, and of both spellings of the content.
func TestOtherValuesStayWhenANameGoes(t *testing.T) {
	const ref = "(U\x08\x00\x00\x00\x00\x00\x00\x00\x09cwendelin.bigfile.file_zodb\nZBigFile\ntQ"
	values := "U\x01a" + ref + "s" +
		"U\x01n(K\x01M\x02\x01J\xff\xff\xff\xffL12345678901234567890L\nG\x3f\xf8\x00\x00\x00\x00\x00\x00Nts" +
		"U\x04textX\x03\x00\x00\x00\xc3\xbcxs" +
		"U\x04list](K\x01U\x01ses" +
		"U\x04dict}U\x01kU\x01vss" +
		"U\x01b" + ref + "s"
	for name, rec := range map[string]string{
		"Python 2":               "cpersistent.mapping\nPersistentMapping\nq\x01.}q\x02U\x04dataq\x03}q\x04" + values + "s.",
		"old Python 2":           "cPersistence\nPersistentMapping\nq\x01.}q\x02U\n_containerq\x03}q\x04" + values + "s.",
		"protocol 2":             "\x80\x02cpersistent.mapping\nPersistentMapping\nq\x01.\x80\x02}q\x02U\x04dataq\x03}q\x04" + values + "s.",
		"protocol 3 of Python 2": "\x80\x03cpersistent.mapping\nPersistentMapping\nq\x01.\x80\x03}q\x02U\x04dataq\x03}q\x04" + values + "s.",
	} {
		db := create(t, tempPath(t), Options{NoSync: true})
		txn := begin(t, db, Meta{})
		txn.Store(RootOid, []byte(rec))
		_, before, err := pickle.Record([]byte(rec))
		require.NoError(t, err, name)
		root, err := OpenRoot(txn)
		require.NoError(t, err, name)
		there, err := root.Delete("a")
		require.NoError(t, err, name)
		require.True(t, there)
		require.NoError(t, root.Set("c", btree.Ref{Oid: 77, Class: record.ZBigFile}))
		root.Flush()
		data, _, err := txn.Load(RootOid)
		require.NoError(t, err)
		require.Equal(t, rec[:bytes.IndexByte([]byte(rec), '.')], string(data[:bytes.IndexByte(data, '.')]), name)
		_, after, err := pickle.Record(data)
		require.NoError(t, err, name)
		require.Contains(t, string(data), "U\x04text", name)
		was, is := contentOf(t, before), contentOf(t, after)
		last := is[len(is)-1]
		added, _ := pickle.Text(last.Key) // as str or unicode
		require.Equal(t, "c", added, name)
		require.Equal(t, pickle.Ref{Oid: 77, Class: record.ZBigFile}, last.Value, name)
		require.Equal(t, was[1:], is[:len(is)-1], name)
		txn.Abort()
	}
}

func contentOf(t testing.TB, state any) []pickle.Item {
	outer := state.(*pickle.Dict)
	require.Len(t, outer.Items, 1)
	return outer.Items[0].Value.(*pickle.Dict).Items
}

// TestFoldersThatAreNotUnderstoodAreLeftAlone, and the error says which class it is.
func TestFoldersThatAreNotUnderstoodAreLeftAlone(t *testing.T) {
	db := create(t, tempPath(t), Options{NoSync: true})
	txn := begin(t, db, Meta{})
	defer txn.Abort()
	for i, rec := range []string{
		"capp\nFolder\n.}.",
		"cpersistent.mapping\nPersistentMapping\n.}(U\x04data}U\x05extraK\x01u.",
		"cpersistent.mapping\nPersistentMapping\n.}U\x04dataNs.",
	} {
		oid := zodb.Oid(10 + i)
		txn.Store(oid, []byte(rec))
		_, err := OpenFolder(txn, oid)
		var foreign *FolderError
		require.True(t, errors.As(err, &foreign), "%q: %v", rec, err)
		require.NotEmpty(t, foreign.Class.Name)
	}
	txn.Store(20, []byte("cpersistent.mapping\nPersistentMapping\n.}U\x04data}(U\x01aN"+"U\x01bcapp\nmake\n)Rus."))
	f, err := OpenFolder(txn, 20)
	require.NoError(t, err)
	_, err = f.Delete("a")
	require.ErrorContains(t, err, `cannot be written without "a": it has a value that is a app.make`)
}
