package postgresql

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/internal/zodb/storage/storagetest"
)

func TestConformance(t *testing.T) {
	c := ground.Shared(t)
	storagetest.Run(t, func(t testing.TB) storagetest.Fixture {
		d := c.CreateDatabase(t, true)
		w := d.Writer(t)
		return storagetest.Fixture{
			Open: func(t testing.TB) (storage.Storage, zodb.Tid) {
				stor, at0, err := Open(context.Background(), urlOf(t, d.URL()), storage.Options{Warnf: t.Logf})
				require.NoError(t, err)
				return stor, at0
			},
			Commit: func(txn storagetest.Txn) { require.Equal(t, txn.Tid, w.Do(orderOf(txn))) },
			Shows:  storable,
		}
	})
}
