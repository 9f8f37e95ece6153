package zwrite

import (
	"bytes"
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"
	fsfmt "lab.nexedi.com/kirr/neo/go/zodb/storage/fs1"

	"github.com/wcfs/wcfs/internal/zodb/btree"
	"github.com/wcfs/wcfs/internal/zodb/fsformat"
	"github.com/wcfs/wcfs/internal/zodb/record"
	"github.com/wcfs/wcfs/internal/zodb/storage/storagetest"
)

// rootOfPython2 is the root object as ZODB on Python 2 makes it.
func rootOfPython2(protocol int) string {
	head := ""
	if protocol > 1 {
		head = fmt.Sprintf("\x80%c", protocol)
	}
	return head + "cpersistent.mapping\nPersistentMapping\nq\x01." + head + "}q\x02U\x04dataq\x03}q\x04s."
}

// databaseOfPython2 makes one with records, one transaction each.
func databaseOfPython2(t testing.TB, records ...storagetest.Record) string {
	t.Helper()
	path := tempPath(t)
	db := create(t, path, Options{})
	for i, r := range records {
		commit(t, db, storagetest.Txn{Tid: zodb.Tid(1 + i), Records: []storagetest.Record{r}})
	}
	closeDB(t, db)
	require.NoError(t, os.Remove(path+".index"))
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	copy(data, fsformat.MagicPy2)
	require.NoError(t, os.WriteFile(path, data, 0o666))
	return path
}

func block(text string) []byte {
	var e record.Encoder
	e.Reset(record.ZBlk0)
	e.Bytes([]byte(text))
	return e.Record()
}

// TestApplicationUnderstandsWhatIsWritten for it: the records, the name of a new
// array, and the index.
func TestApplicationUnderstandsWhatIsWritten(t *testing.T) {
	root := func(protocol int) storagetest.Record {
		return storagetest.Record{Oid: RootOid, Data: []byte(rootOfPython2(protocol))}
	}
	other := func(oid zodb.Oid, data string) storagetest.Record {
		return storagetest.Record{Oid: oid, Data: []byte(data)}
	}
	const blk = "c" + record.ModuleBigFile + "\nZBlk0\nq\x00."
	for _, c := range []struct {
		name    string
		records []storagetest.Record
		want    string // a ZBlk0 of "x"
	}{
		{"ZODB 3", []storagetest.Record{root(1)}, blk + "U\x01xq\x01."},
		{"ZODB 5.3", []storagetest.Record{root(2)}, "\x80\x02" + blk + "\x80\x02U\x01xq\x01."},
		{"ZODB 5.4", []storagetest.Record{root(3)}, "\x80\x03" + blk + "\x80\x03U\x01xq\x01."},
		{"newer than its root", []storagetest.Record{root(1), other(1, "\x80\x02cm\nC\n.\x80\x02N.")}, blk + "U\x01xq\x01."},
		{"older than its root", []storagetest.Record{root(2), other(1, "cm\nC\n.N.")}, blk + "U\x01xq\x01."},
		{"after an import that did not know", []storagetest.Record{root(1), other(1, "\x80\x03cm\nC\n.\x80\x03N.")}, blk + "U\x01xq\x01."},
		{"after an end without records", []storagetest.Record{root(3), other(1, "\x80\x02cm\nC\n.\x80\x02N."), {Oid: 1}}, "\x80\x03" + blk + "\x80\x03U\x01xq\x01."},
		{"empty", nil, "\x80\x02" + blk + "\x80\x02U\x01xq\x01."},
	} {
		path := databaseOfPython2(t, c.records...)
		db := reopen(t, path, Options{})
		txn := begin(t, db, Meta{})
		oid := txn.New()
		txn.Store(oid, block("x"))
		ref := btree.Ref{Oid: oid, Class: record.ZBlk0}
		require.NoError(t, SetName(txn, "name", ref))
		require.NoError(t, SetName(txn, "größe", ref))
		_, err := txn.Commit()
		require.NoError(t, err)
		got, _, err := db.load(oid)
		require.NoError(t, err)
		require.Equal(t, c.want, string(got), c.name)
		got, _, err = db.load(RootOid)
		require.NoError(t, err)
		require.Contains(t, string(got), "U\x04name", c.name)
		require.Contains(t, string(got), "X\x07\x00\x00\x00größe", c.name)
		closeDB(t, db)

		index, err := os.ReadFile(path + ".index")
		require.NoError(t, err)
		require.False(t, bytes.Contains(index, []byte("\x80\x03")), "%s: %q", c.name, index)
		saved, err := fsfmt.LoadIndexFile(path + ".index")
		require.NoError(t, err)
		require.Equal(t, db.index.TopPos, saved.TopPos)
		require.True(t, saved.Equal(&db.index.Index), c.name)
		again := reopen(t, path, Options{scanLimit: 1, Warnf: t.Errorf})
		require.False(t, again.unsaved)
		closeDB(t, again)
	}
}

// TestPython3HasProtocol3, whatever old records there are.
func TestPython3HasProtocol3(t *testing.T) {
	db := create(t, tempPath(t), Options{})
	commit(t, db, storagetest.Txn{Tid: 1, Records: []storagetest.Record{{Oid: RootOid, Data: []byte(rootOfPython2(1))}}})
	path := db.Path()
	closeDB(t, db)
	db = reopen(t, path, Options{})
	txn := begin(t, db, Meta{})
	txn.Store(1, block("x"))
	_, err := txn.Commit()
	require.NoError(t, err)
	got, _, err := db.load(1)
	require.NoError(t, err)
	require.Equal(t, string(block("x")), string(got))
}
