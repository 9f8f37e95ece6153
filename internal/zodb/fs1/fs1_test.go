package fs1

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

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
	storagetest.Run(t, func(t testing.TB) storagetest.Fixture {
		w := newWriter(t)
		return storagetest.Fixture{
			Open: func(t testing.TB) (storage.Storage, zodb.Tid) {
				stor, at0, err := Open(context.Background(), fileURL(w.Path), storage.Options{Warnf: t.Logf})
				if err != nil {
					t.Fatal(err)
				}
				return stor, at0
			},
			Commit: w.Commit,
		}
	})
}

func newWriter(t testing.TB) *storagetest.FSWriter {
	w := storagetest.NewFSWriter(filepath.Join(t.TempDir(), "Data.fs"))
	t.Cleanup(w.Close)
	return w
}

func fileURL(path string) storage.URL {
	u, err := storage.ParseURL("file://" + path)
	if err != nil {
		panic(err)
	}
	return u
}

// rig is a database with a writer and a reader, whose clock stands still.
type rig struct {
	testing.TB
	*Storage
	w     *storagetest.FSWriter
	model *storagetest.Model
	ctx   context.Context
	cfg   config
	at0   zodb.Tid

	mu    sync.Mutex
	clock time.Time
	warns []string
}

// newRig makes an empty database; openStorage is up to the test.
func newRig(t testing.TB) *rig {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	r := &rig{TB: t, ctx: ctx, w: newWriter(t), model: storagetest.NewModel(), cfg: defaultConfig(), clock: time.Unix(0, 0)}
	r.cfg.now = func() time.Time {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.clock
	}
	return r
}

func (r *rig) warnf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.warns = append(r.warns, fmt.Sprintf(format, args...))
	r.Logf(format, args...)
}

// warnings returns what was told so far.
func (r *rig) warnings() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.warns...)
}

// wait moves the clock, and has the reader look before and after that.
func (r *rig) wait(d time.Duration) error {
	if _, err := r.Sync(r.ctx); err != nil {
		return err
	}
	r.mu.Lock()
	r.clock = r.clock.Add(d)
	r.mu.Unlock()
	_, err := r.Sync(r.ctx)
	return err
}

func (r *rig) tryOpen() error {
	s, at0, err := open(r.ctx, fileURL(r.w.Path), storage.Options{Warnf: r.warnf}, r.cfg)
	if err != nil {
		return err
	}
	r.Storage, r.at0 = s, at0
	r.Cleanup(func() { s.Close() })
	return nil
}

func (r *rig) mustOpen() {
	r.Helper()
	if err := r.tryOpen(); err != nil {
		r.Fatal(err)
	}
}

func (r *rig) commit(t storagetest.Txn) {
	r.w.Commit(t)
	r.model.Commit(t)
}

// sync has the reader look, and checks its head.
func (r *rig) sync(want zodb.Tid) {
	r.Helper()
	if head, err := r.Sync(r.ctx); err != nil || head != want {
		r.Fatalf("sync: %s, %v; want %s", head, err, want)
	}
}

// wantEvents reads events and checks their tids; no more may be waiting.
func (r *rig) wantEvents(tids ...zodb.Tid) {
	r.Helper()
	for _, tid := range tids {
		if ev, err := r.NextEvent(r.ctx); err != nil || ev.Tid != tid {
			r.Fatalf("event %v, %v; want @%s", ev, err, tid)
		}
	}
	if n := r.queue.Len(); n != 0 {
		r.Fatalf("%d more events", n)
	}
}

// checkLoads compares all objects at all views with the model.
func (r *rig) checkLoads() {
	r.Helper()
	for _, t := range r.model.Txns {
		for _, oid := range r.model.Oids() {
			if err := storagetest.CheckLoad(r.ctx, r.Storage, r.model, zodb.Xid{At: t.Tid, Oid: oid}); err != nil {
				r.Fatal(err)
			}
		}
	}
}

// put is a transaction that writes the given text to each of oids.
func put(tid zodb.Tid, text string, oids ...zodb.Oid) storagetest.Txn {
	t := storagetest.Txn{Tid: tid, User: []byte("u"), Description: []byte("dd")}
	for _, oid := range oids {
		t.Records = append(t.Records, storagetest.Record{Oid: oid, Data: []byte(text)})
	}
	return t
}
