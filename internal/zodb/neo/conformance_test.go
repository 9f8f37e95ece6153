package neo

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/neo/neotest"
	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/internal/zodb/storage/storagetest"
)

func TestConformance(t *testing.T) {
	for name, tt := range map[string]struct {
		opt   neotest.Options
		delay func() time.Duration
	}{
		"one partition": {neotest.Options{}, func() time.Duration { return 100 * time.Microsecond }},
		"replicas and disorder": {neotest.Options{Partitions: 5, Replicas: 1, Storages: 3, Masters: 2}, func() time.Duration {
			return max(0, time.Duration(rand.IntN(1500)-500)*time.Microsecond)
		}},
	} {
		if testing.Short() && tt.opt.Replicas == 0 {
			continue
		}
		t.Run(name, func(t *testing.T) {
			storagetest.Run(t, func(t testing.TB) storagetest.Fixture {
				c := startCluster(t, tt.opt)
				c.Delay(tt.delay)
				return storagetest.Fixture{
					Open: func(t testing.TB) (storage.Storage, zodb.Tid) {
						s, at0, err := Open(context.Background(), urlOf(t, c.URL()), storage.Options{Warnf: t.Logf})
						require.NoError(t, err)
						return s, at0
					},
					Commit: c.Commit,
				}
			})
		})
	}
}
