package mem_test

import (
	"context"
	"errors"
	"testing"

	"go.uber.org/goleak"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/internal/zodb/storage/mem"
	"github.com/wcfs/wcfs/internal/zodb/storage/storagetest"
)

func TestMain(m *testing.M) {
	// The format library links in a logger that never ends.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/golang/glog.(*fileSink).flushDaemon"))
}

func TestConformance(t *testing.T) {
	for name, many := range map[string]bool{"Single": false, "Many": true} {
		t.Run(name, func(t *testing.T) { testConformance(t, many) })
	}
}

func testConformance(t *testing.T, many bool) {
	storagetest.Run(t, func(t testing.TB) storagetest.Fixture {
		db := mem.New()
		db.AnswerMany(many)
		t.Cleanup(func() { db.Close() })
		return storagetest.Fixture{
			Open: func(t testing.TB) (storage.Storage, zodb.Tid) {
				stor, at0, err := db.Open(context.Background(), storage.URL{}, storage.Options{})
				if err != nil {
					t.Fatal(err)
				}
				return stor, at0
			},
			Commit: func(t storagetest.Txn) {
				records := make(map[zodb.Oid][]byte)
				for _, r := range t.Records {
					records[r.Oid] = r.Data
				}
				db.CommitTxn(mem.Txn{Tid: t.Tid, User: t.User, Description: t.Description, Extension: t.Extension, Records: records})
			},
		}
	})
}

func TestHookFailsAndDelaysLoads(t *testing.T) {
	ctx := context.Background()
	db := mem.New()
	db.Commit(1, map[zodb.Oid][]byte{5: []byte("five")})
	xid := zodb.Xid{At: 1, Oid: 5}

	mine := errors.New("mine")
	db.OnLoad(func(context.Context, zodb.Xid) error { return mine })
	if _, _, err := db.Load(ctx, xid); err != mine {
		t.Fatalf("load: %v", err)
	}

	reached := make(chan struct{})
	db.OnLoad(func(ctx context.Context, _ zodb.Xid) error {
		close(reached)
		<-ctx.Done()
		return ctx.Err()
	})
	done := make(chan error)
	go func() {
		_, _, err := db.Load(ctx, xid)
		done <- err
	}()
	<-reached
	db.Close()
	if err := <-done; !errors.Is(err, storage.ErrClosed) {
		t.Fatalf("load during close: %v", err)
	}
	if db.Loads() != 2 || db.LoadsOf(5) != 2 || db.LoadsOf(6) != 0 {
		t.Fatalf("counted %d loads, %d of object 5", db.Loads(), db.LoadsOf(5))
	}
}

func TestFailedHandleServesKnownViewsOnly(t *testing.T) {
	ctx := context.Background()
	db := mem.New()
	defer db.Close()
	db.Commit(1, map[zodb.Oid][]byte{5: []byte("five")})
	db.Fail(errors.New("gone"))
	db.Commit(2, map[zodb.Oid][]byte{5: []byte("six")})
	var down *storage.DownError
	if ev, err := db.NextEvent(ctx); err != nil || ev.Tid != 1 {
		t.Fatalf("event %v, %v", ev, err)
	}
	if _, err := db.NextEvent(ctx); !errors.As(err, &down) {
		t.Fatalf("after the last event: %v", err)
	}
	if _, err := db.Sync(ctx); !errors.As(err, &down) {
		t.Fatalf("sync: %v", err)
	}
	if db.Head() != 1 {
		t.Fatalf("head %s", db.Head())
	}
	if _, _, err := db.Load(ctx, zodb.Xid{At: 1, Oid: 5}); err != nil {
		t.Fatal(err)
	}
}
