package neo

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/fs1"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// The sample databases are the same when a cluster has them.
func TestSampleDatabasesAreTheSame(t *testing.T) {
	for _, name := range []string{"basic", "topo", "packed"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join("../../../t/testdata", name+".fs")
			c := startCluster(t, three)
			require.NoError(t, c.Fill(path))
			s, at0, err := Open(t.Context(), urlOf(t, c.URL()), storage.Options{})
			require.NoError(t, err)
			defer s.Close()
			absolute, err := filepath.Abs(path)
			require.NoError(t, err)
			file, head, err := fs1.Open(t.Context(), urlOf(t, "file://"+absolute), storage.Options{})
			require.NoError(t, err)
			defer file.Close()
			require.Equal(t, head, at0)
			list := func(s storage.Storage) (txns []storage.Txn, text string) {
				var all strings.Builder
				require.NoError(t, s.(storage.Iterator).Iterate(t.Context(), 0, head, func(t *storage.Txn) error {
					txns = append(txns, storage.Txn{Tid: t.Tid, Oids: append([]zodb.Oid{}, t.Oids...)})
					fmt.Fprintf(&all, "%s %q %q %q %v\n", t.Tid, t.User, t.Description, t.Extension, t.Oids)
					return nil
				}))
				return txns, all.String()
			}
			txns, want := list(file)
			_, got := list(s)
			require.Equal(t, want, got)
			var group errgroup.Group
			group.SetLimit(16)
			for _, txn := range txns {
				group.Go(func() error {
					for _, oid := range txn.Oids {
						for _, at := range []zodb.Tid{txn.Tid - 1, txn.Tid, head} {
							if err := sameLoad(t, s, file, zodb.Xid{At: at, Oid: oid}); err != nil {
								return err
							}
						}
					}
					return nil
				})
			}
			require.NoError(t, group.Wait())
		})
	}
}

func sameLoad(t *testing.T, a, b storage.Loader, xid zodb.Xid) error {
	bufA, serialA, errA := a.Load(t.Context(), xid)
	bufB, serialB, errB := b.Load(t.Context(), xid)
	switch {
	case storage.IsNoData(errA) && storage.IsNoData(errB):
	case errA != nil || errB != nil:
		return fmt.Errorf("load %s: %v, %w", xid, errA, errB)
	case serialA != serialB || string(bufA.Data) != string(bufB.Data):
		return fmt.Errorf("load %s: %d bytes of @%s, and %d of @%s", xid, len(bufA.Data), serialA, len(bufB.Data), serialB)
	}
	return nil
}
