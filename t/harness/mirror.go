package harness

import (
	"context"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/fs1"
	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/internal/zodb/storage/storagetest"
)

// mirror commits to another database what is committed to a file: what writes databases
// does not write to all kinds of them.
type mirror struct {
	t      testing.TB
	file   storage.Storage
	commit func(storagetest.Txn) // to the other database
	done   zodb.Tid              // up to which the other database has everything
}

// newMirror makes one that has committed nothing yet.
func newMirror(t testing.TB, zurl string, commit func(storagetest.Txn)) *mirror {
	t.Helper()
	u, err := storage.ParseURL(zurl)
	require.NoError(t, err)
	file, _, err := fs1.Open(context.Background(), u, storage.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, file.Close()) })
	return &mirror{t: t, file: file, commit: commit}
}

// catchUp commits what is new in the file.
func (m *mirror) catchUp() {
	m.t.Helper()
	head, err := m.file.Sync(context.Background())
	require.NoError(m.t, err)
	var txns []storagetest.Txn
	err = m.file.(storage.Iterator).Iterate(context.Background(), m.done+1, head, func(t *storage.Txn) error {
		txn, err := m.copyOf(t)
		txns = append(txns, txn)
		return err
	})
	require.NoError(m.t, err)
	for _, txn := range txns {
		m.commit(txn)
	}
	m.done = head
}

// copyOf returns a transaction with its data.
func (m *mirror) copyOf(t *storage.Txn) (storagetest.Txn, error) {
	txn := storagetest.Txn{Tid: t.Tid, User: slices.Clone(t.User), Description: slices.Clone(t.Description), Extension: slices.Clone(t.Extension)}
	for _, oid := range t.Oids {
		record := storagetest.Record{Oid: oid}
		buf, _, err := m.file.Load(context.Background(), zodb.Xid{At: t.Tid, Oid: oid})
		switch {
		case err == nil:
			record.Data = slices.Clone(buf.Data)
			buf.Release()
		case !storage.IsNoData(err):
			return txn, err
		}
		txn.Records = append(txn.Records, record)
	}
	return txn, nil
}

// inMirror has a file whose transactions another database gets, too, by commit. The caller
// says the url of that.
func (l *Live) inMirror(commit func(storagetest.Txn)) {
	l.T.Helper()
	l.inFile()
	l.mirror = newMirror(l.T, l.ZURL, commit)
}
