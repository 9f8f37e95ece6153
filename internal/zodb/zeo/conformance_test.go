package zeo

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/internal/zodb/storage/storagetest"
)

func TestConformance(t *testing.T) {
	for _, kind := range kinds() {
		t.Run(kind, func(t *testing.T) {
			storagetest.Run(t, func(t testing.TB) storagetest.Fixture { return newFixture(t, kind[:1], kind[1:]) })
		})
	}
}

func newFixture(t testing.TB, version, encoding string) storagetest.Fixture {
	srv := newServer(t, version, encoding, "")
	w := srv.writer()
	return storagetest.Fixture{
		Open: func(t testing.TB) (storage.Storage, zodb.Tid) {
			stor, at0, err := Open(context.Background(), srv.url(t), storage.Options{Warnf: t.Logf})
			require.NoError(t, err)
			return stor, at0
		},
		Commit: w.CommitTxn,
		// Extensions come as dicts. Those of the suite are empty, with bytes behind.
		Extension: func([]byte) []byte { return nil },
	}
}
