package harness

import (
	"context"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/fs1"
	"github.com/wcfs/wcfs/internal/zodb/neo/neotest"
	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/internal/zodb/storage/storagetest"
)

// mirror commits to a cluster what is committed to a file.
type mirror struct {
	cluster *neotest.Cluster
	file    storage.Storage
	done    zodb.Tid // up to which the cluster has everything
}

// NewLiveNEO makes an empty database in a cluster of this process.
func NewLiveNEO(t testing.TB, opt neotest.Options) (*Live, *neotest.Cluster) {
	t.Helper()
	l := &Live{T: t}
	c := l.inCluster(opt)
	l.begin()
	return l, c
}

// inCluster has a file whose transactions a cluster gets, too: what writes databases
// does not write to clusters.
func (l *Live) inCluster(opt neotest.Options) *neotest.Cluster {
	l.T.Helper()
	l.inFile()
	u, err := storage.ParseURL(l.ZURL)
	require.NoError(l.T, err)
	file, _, err := fs1.Open(context.Background(), u, storage.Options{})
	require.NoError(l.T, err)
	c := neotest.New(opt)
	l.T.Cleanup(func() {
		require.NoError(l.T, file.Close())
		c.Close()
		require.Empty(l.T, c.Complaints())
	})
	l.mirror = &mirror{cluster: c, file: file}
	l.ZURL = c.URL()
	return c
}

// committed returns the transactions that the cluster does not have yet.
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

// reflect has the cluster commit what the file has.
func (l *Live) reflect() {
	if l.mirror == nil {
		return
	}
	for _, t := range l.committed() {
		l.mirror.cluster.Commit(t)
	}
}
