package storagetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// Fixture is a new database, empty but for Base.
type Fixture struct {
	// Open opens it, every time anew. The suite closes what it gets.
	Open func(t testing.TB) (_ storage.Storage, at0 zodb.Tid)

	// Commit commits a transaction as somebody else. When it returns the
	// transaction is finished.
	Commit func(t Txn)

	// Base is what the database has from the beginning: fewer than ten transactions,
	// with the tids 1, 2 and so on.
	Base []Txn

	// Shows returns what is seen of a transaction that is committed as t, nil: just that.
	Shows func(t Txn) Txn

	// Extension is what iteration tells of the Extension of a transaction, nil: the same.
	// There are protocols that hand over not the pickle but what is in it.
	Extension func(ext []byte) []byte
}

// leavesNothing is the test that looks at all goroutines and descriptors of the process.
const leavesNothing = "OpenAndCloseLeaveNothingBehind"

// Run runs the suite. The names of the tests are the promises.
func Run(t *testing.T, newFixture func(t testing.TB) Fixture) {
	tests := []struct {
		name string
		test func(*testing.T, *bench)
	}{
		{"LoadAnswersEveryViewLikeTheModel", testLoadMatrix},
		{"LoadsOfManyGoroutinesAgreeAndDataDoesNotChangeLater", testConcurrentLoads},
		{"LoadGivesBigRecords", testBigRecords},
		{"LoadManyAnswersEachObjectLikeLoad", testLoadMany},
		{"LoadManyEndsLikeLoad", testLoadManyEnds},
		{"EmptyDatabaseHasHead0AndTellsItsFirstCommit", testEmpty},
		{"OpenWhileCommittingMissesAndRepeatsNothing", testOpenWhileCommitting},
		{"LoadWorksAtTheTidOfAnEventAtOnce", testEventThenLoad},
		{"UnreadEventsBlockNothing", testSlowConsumer},
		{"SyncIncludesWhatWasCommittedBefore", testSync},
		{"IterateGivesTransactionsInBounds", testIterate},
		{"CancelledCallsReturnTheErrorOfTheirContext", testCancel},
		{"CloseEndsEverythingAtAnyTime", testClose},
		{leavesNothing, testOpenClose},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.name != leavesNothing { // others run when it is over
				t.Parallel()
			}
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
			defer cancel()
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			b := &bench{
				T:       t,
				Fixture: newFixture(t),
				ctx:     ctx,
				rnd:     rand.New(rand.NewPCG(seed, 0)),
				model:   NewModel(),
			}
			for _, txn := range b.Base {
				b.model.Commit(txn)
			}
			tt.test(t, b)
		})
	}
}

// bench is one running test: a database and the model of it.
type bench struct {
	*testing.T
	Fixture
	ctx   context.Context
	rnd   *rand.Rand
	model *Model
}

// commit commits t to the database, then to the model.
func (b *bench) commit(t Txn) {
	b.Commit(t)
	if b.Shows != nil {
		t = b.Shows(t)
	}
	b.model.Commit(t)
}

func (b *bench) commitRandom(n int) {
	for range n {
		b.commit(b.model.RandomTxn(b.rnd, 40))
	}
}

// open opens the database and closes it at the end of the test.
func (b *bench) open() (storage.Storage, zodb.Tid) {
	stor, at0 := b.Open(b)
	b.Cleanup(func() {
		if err := stor.Close(); err != nil {
			b.Errorf("close: %s", err)
		}
	})
	return stor, at0
}

// event returns the next event and fails the test if it does not come.
func (b *bench) event(stor storage.Storage) storage.Event {
	b.Helper()
	ev, err := stor.NextEvent(b.ctx)
	if err != nil {
		b.Fatalf("next event: %s", err)
	}
	return ev
}

// checkEvent compares ev with the transaction of the model.
func checkEvent(ev storage.Event, t *Txn) error {
	oids := t.Oids()
	if ev.Tid != t.Tid || fmt.Sprint(ev.Oids) != fmt.Sprint(oids) {
		return fmt.Errorf("event @%s %v; want @%s %v", ev.Tid, ev.Oids, t.Tid, oids)
	}
	return nil
}

// CheckLoad loads xid and compares the outcome with the model.
func CheckLoad(ctx context.Context, stor storage.Loader, m *Model, xid zodb.Xid) error {
	buf, err := LoadChecked(ctx, stor, m, xid)
	if buf != nil {
		buf.Release()
	}
	return err
}

// LoadChecked is CheckLoad that returns the buffer, nil if there is no data.
func LoadChecked(ctx context.Context, stor storage.Loader, m *Model, xid zodb.Xid) (*storage.Buf, error) {
	buf, serial, err := stor.Load(ctx, xid)
	return checkLoaded(m, xid, storage.Loaded{Buf: buf, Serial: serial, Err: err})
}

// checkLoaded compares the outcome of a load with the model. It returns the buffer.
func checkLoaded(m *Model, xid zodb.Xid, got storage.Loaded) (*storage.Buf, error) {
	buf, serial, err := got.Buf, got.Serial, got.Err
	if min(xid.At, zodb.TidMax) > m.Head() {
		var future *storage.FutureViewError
		if !errors.As(err, &future) || future.Head != m.Head() {
			return buf, fmt.Errorf("load %s: %v; want a FutureViewError with head @%s", xid, err, m.Head())
		}
		return nil, nil
	}
	data, wantSerial, known := m.Load(xid)
	var noObject *zodb.NoObjectError
	var noData *zodb.NoDataError
	switch {
	case data != nil:
		if err != nil || serial != wantSerial || string(buf.Data) != string(data) {
			return buf, fmt.Errorf("load %s: serial %s, error %v; want serial %s and %d bytes", xid, serial, err, wantSerial, len(data))
		}
		return buf, nil
	case !storage.IsNoData(err):
		return buf, fmt.Errorf("load %s: serial %s, error %v; want that it does not exist", xid, serial, err)
	case errors.As(err, &noObject) && noObject.Oid == xid.Oid:
		return nil, nil // some databases cannot tell more
	case errors.As(err, &noData) && noData.Oid == xid.Oid && known && noData.DeletedAt == wantSerial:
		return nil, nil
	}
	return buf, fmt.Errorf("load %s: %w; want known %v, deleted at %s", xid, err, known, wantSerial)
}

// views returns all views at which something may be different.
func (m *Model) views() []zodb.Tid {
	views := m.bounds()
	for _, t := range m.Txns {
		views = append(views, t.Tid-1, t.Tid, t.Tid+1)
	}
	return views
}

// bounds returns the views where there may be something special.
func (m *Model) bounds() []zodb.Tid {
	return []zodb.Tid{0, 1, m.Head() + 1, zodb.TidMax, zodb.InvalidTid}
}

// unknownOids are never in a generated history.
var unknownOids = []zodb.Oid{41, 0x123456789, zodb.InvalidOid - 1}

// checkSample checks some of what checkMatrix does.
func (b *bench) checkSample(stor storage.Storage) {
	b.Helper()
	oids, views := append(b.model.Oids(), unknownOids...), b.model.views()
	for range 2000 {
		xid := zodb.Xid{At: views[b.rnd.IntN(len(views))], Oid: oids[b.rnd.IntN(len(oids))]}
		if err := CheckLoad(b.ctx, stor, b.model, xid); err != nil {
			b.Fatal(err)
		}
	}
}

// checkMatrix checks every object, and some that never were, at every transaction and at
// the bounds; and what a transaction changes right before and behind it, too. Loads are
// many at a time, since each may take a way to a server and back.
func (b *bench) checkMatrix(stor storage.Storage) {
	b.Helper()
	var g errgroup.Group
	g.SetLimit(16)
	check := func(at zodb.Tid, oids []zodb.Oid) {
		g.Go(func() error {
			for _, oid := range oids {
				if err := CheckLoad(b.ctx, stor, b.model, zodb.Xid{At: at, Oid: oid}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	all := append(b.model.Oids(), unknownOids...)
	for _, at := range b.model.bounds() {
		check(at, all)
	}
	for _, t := range b.model.Txns {
		check(t.Tid-1, t.Oids())
		check(t.Tid, all)
		check(t.Tid+1, t.Oids())
	}
	if err := g.Wait(); err != nil {
		b.Fatal(err)
	}
}
