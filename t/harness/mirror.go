package harness

import (
	"context"
	"slices"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/fs1"
	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/internal/zodb/storage/storagetest"
)

// mirror commits to another database what is committed to a file: what writes databases
// does not write to all kinds of them.
type mirror struct {
	commit func(storagetest.Txn) // to the other database
	file   storage.Storage
	done   zodb.Tid // up to which the other database has everything
}

// inMirror has a file whose transactions another database gets, too, by commit. The caller
// says the url of that.
func (l *Live) inMirror(commit func(storagetest.Txn)) {
	l.T.Helper()
	l.inFile()
	u, err := storage.ParseURL(l.ZURL)
	require.NoError(l.T, err)
	file, _, err := fs1.Open(context.Background(), u, storage.Options{})
	require.NoError(l.T, err)
	l.T.Cleanup(func() { require.NoError(l.T, file.Close()) })
	l.mirror = &mirror{commit: commit, file: file}
}

// committed returns the transactions that the mirror does not have yet.
func (l *Live) committed() (txns []storagetest.Txn) {
	l.T.Helper()
	m := l.mirror
	head, err := m.file.Sync(context.Background())
	require.NoError(l.T, err)
	err = m.file.(storage.Iterator).Iterate(context.Background(), m.done+1, head, func(t *storage.Txn) error {
		txn := storagetest.Txn{Tid: t.Tid, User: slices.Clone(t.User), Description: slices.Clone(t.Description), Extension: slices.Clone(t.Extension)}
		for _, oid := range t.Oids {
			record := storagetest.Record{Oid: oid}
			buf, _, err := m.file.Load(context.Background(), zodb.Xid{At: t.Tid, Oid: oid})
			switch {
			case err == nil:
				record.Data = slices.Clone(buf.Data)
				buf.Release()
			case !storage.IsNoData(err):
				return err
			}
			txn.Records = append(txn.Records, record)
		}
		txns = append(txns, txn)
		return nil
	})
	require.NoError(l.T, err)
	m.done = head
	return txns
}

// reflect has the mirror commit what the file has.
func (l *Live) reflect() {
	l.T.Helper()
	if l.mirror == nil {
		return
	}
	for _, t := range l.committed() {
		l.mirror.commit(t)
	}
}
