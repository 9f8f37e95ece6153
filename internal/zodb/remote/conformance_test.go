package remote

import (
	"context"
	"testing"

	"go.uber.org/goleak"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/internal/zodb/storage/storagetest"
)

func TestMain(m *testing.M) {
	// The format library links in a logger that never ends.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/golang/glog.(*fileSink).flushDaemon"))
}

func TestConformance(t *testing.T) {
	t.Run("Single", func(t *testing.T) { testConformance(t, nil) })
	t.Run("Many", func(t *testing.T) { testConformance(t, func(s *session) Session { return &batch{session: s} }) })
}

func testConformance(t *testing.T, wrap func(*session) Session) {
	storagetest.Run(t, func(t testing.TB) storagetest.Fixture {
		sv := newServer()
		sv.wrap = wrap
		// Like ZEO, it lists nothing now and then.
		set(&sv.listed, func(oids []zodb.Oid) []zodb.Oid {
			if len(oids)%2 == 1 {
				return nil
			}
			return oids
		})
		return storagetest.Fixture{
			Open: func(t testing.TB) (storage.Storage, zodb.Tid) {
				s, at0, err := Open(context.Background(), Config{URL: "fake://", Dial: sv.dial})
				if err != nil {
					t.Fatal(err)
				}
				return s, at0
			},
			Commit: sv.commitTxn,
		}
	})
}
