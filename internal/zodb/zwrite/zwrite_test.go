package zwrite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"lab.nexedi.com/kirr/neo/go/zodb"
	_ "lab.nexedi.com/kirr/neo/go/zodb/storage/fs1"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/internal/zodb/fs1"
	"github.com/wcfs/wcfs/internal/zodb/fsformat"
	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/internal/zodb/storage/storagetest"
)

func TestTidsIncreaseWhateverTheClockDoes(t *testing.T) {
	now := time.Date(2024, 2, 29, 0, 0, 0, 0, time.UTC)
	db := create(t, tempPath(t), Options{Now: func() time.Time { return now }})
	first := commit(t, db, put(0, "x", 1))
	if first != TidOf(now) {
		t.Errorf("%s; want %s", first, TidOf(now))
	}
	now = now.Add(-time.Hour)
	for i := range zodb.Tid(3) {
		if tid := commit(t, db, put(0, "x", 1)); tid != first+1+i {
			t.Errorf("%s; want %s", tid, first+1+i)
		}
	}
	if _, err := db.Begin(ctx, Meta{Tid: first + 3}); err == nil {
		t.Error("a tid that does not increase was taken")
	}
	now = now.Add(2 * time.Hour)
	if tid := commit(t, db, put(0, "x", 1)); tid != TidOf(now) {
		t.Errorf("%s; want %s", tid, TidOf(now))
	}
}

func TestConformanceOfTheReader(t *testing.T) {
	for _, buffer := range []int64{0, 1000} {
		t.Run(fmt.Sprintf("Buffer=%d", buffer), func(t *testing.T) {
			storagetest.Run(t, func(t testing.TB) storagetest.Fixture {
				path := tempPath(t)
				db := create(t, path, Options{Buffer: buffer})
				return storagetest.Fixture{
					Open:   func(t testing.TB) (storage.Storage, zodb.Tid) { return openReader(t, path) },
					Commit: func(m storagetest.Txn) { commit(t, db, m) },
				}
			})
		})
	}
}

// randomHistory commits n random transactions, aborts some, and closes and opens
// the database now and then.
func randomHistory(t *testing.T, rnd *rand.Rand, path string, n int, opt Options) *storagetest.Model {
	model := storagetest.NewModel()
	db := create(t, path, opt)
	for range n {
		m := model.RandomTxn(rnd, 40)
		if rnd.IntN(3) == 0 {
			txn := begin(t, db, metaOf(m))
			apply(txn, m)
			txn.Abort()
			txn.Abort()
			if _, err := txn.Commit(); !errors.Is(err, ErrDone) {
				t.Fatalf("commit after abort: %v", err)
			}
		}
		commit(t, db, m)
		model.Commit(m)
		if rnd.IntN(20) == 0 {
			closeDB(t, db)
			opt.scanLimit = rnd.Int64N(2) * fsformat.ScanLimit
			db = reopen(t, path, opt)
			if db.Head() != model.Head() {
				t.Fatalf("opened at %s; want %s", db.Head(), model.Head())
			}
		}
	}
	closeDB(t, db)
	return model
}

func TestRandomHistoriesReadBack(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	for _, opt := range []Options{{}, {Buffer: 2000}} {
		path := tempPath(t)
		model := randomHistory(t, rnd, path, 150, opt)
		checkReader(t, path, model)
		// The verification does not expect an object twice in a transaction.
		checkIndex(t, path, opt.Buffer == 0)
		checkDriver(t, path, model)
	}
}

// checkDriver reads the database with the driver of NEO/go.
func checkDriver(t *testing.T, path string, model *storagetest.Model) {
	t.Helper()
	drv, at0, err := zodb.OpenDriver(ctx, "file://"+path, &zodb.DriverOptions{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer drv.Close()
	if at0 != model.Head() {
		t.Fatalf("driver opens at %s; want %s", at0, model.Head())
	}
	for _, txn := range model.Txns {
		for _, oid := range txn.Oids() {
			data, wantSerial, _ := model.Load(zodb.Xid{At: txn.Tid, Oid: oid})
			buf, serial, err := drv.Load(ctx, zodb.Xid{At: txn.Tid, Oid: oid})
			if data == nil && err == nil || data != nil && (err != nil || serial != wantSerial || !bytes.Equal(buf.Data, data)) {
				t.Fatalf("driver: load %s:%s: %v", txn.Tid, oid, err)
			}
		}
	}
	it := drv.Iterate(ctx, 0, zodb.TidMax)
	for _, txn := range model.Txns {
		info, data, err := it.NextTxn(ctx)
		if err != nil || info.Tid != txn.Tid || string(info.Description) != string(txn.Description) || info.Status != zodb.TxnComplete {
			t.Fatalf("driver: iterate: %v, %v; want %s", info, err, txn.Tid)
		}
		n := 0
		for ; ; n++ {
			if _, err := data.NextData(ctx); err != nil {
				break
			}
		}
		if n < len(txn.Oids()) {
			t.Fatalf("driver: %s has %d records of %d objects", txn.Tid, n, len(txn.Oids()))
		}
	}
}

func TestFollowerSeesEveryCommitAndNoAbort(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	path := tempPath(t)
	db := create(t, path, Options{Buffer: 3000})
	stor, _ := openReader(t, path)
	model := storagetest.NewModel()
	var txns []storagetest.Txn
	for range 1000 {
		m := model.RandomTxn(rnd, 40)
		model.Commit(m)
		txns = append(txns, m)
	}
	go func() {
		for i, m := range txns {
			txn, err := db.Begin(ctx, Meta{})
			if err != nil {
				t.Error(err)
				return
			}
			if i%3 == 0 {
				apply(txn, txns[min(i+1, len(txns)-1)])
				txn.Abort()
			} else {
				txn.Abort()
			}
			commit(t, db, m)
		}
	}()
	timeout, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for _, m := range txns {
		ev, err := stor.NextEvent(timeout)
		if err != nil || ev.Tid != m.Tid || !slices.Equal(ev.Oids, m.Oids()) {
			t.Fatalf("event %v, %v; want %s %v", ev, err, m.Tid, m.Oids())
		}
		for _, oid := range ev.Oids {
			data, serial, _ := model.Load(zodb.Xid{At: ev.Tid, Oid: oid})
			buf, got, err := stor.Load(timeout, zodb.Xid{At: ev.Tid, Oid: oid})
			if (data == nil) != storage.IsNoData(err) || data != nil && (err != nil || got != serial || !bytes.Equal(buf.Data, data)) {
				t.Fatalf("load %s:%s: %v", ev.Tid, oid, err)
			}
		}
	}
}

func TestTransactionReadsItsOwnWrites(t *testing.T) {
	for _, buffer := range []int64{0, 1} {
		db := create(t, tempPath(t), Options{Buffer: buffer})
		commit(t, db, put(10, "old", 1, 2))
		txn := begin(t, db, Meta{Tid: 11})
		if oid := txn.New(); oid != 3 {
			t.Errorf("new oid %s", oid)
		}
		txn.Store(1, []byte("first"))
		txn.Store(1, []byte("new"))
		txn.Store(3, []byte("three"))
		txn.Delete(2)
		check := func(oid zodb.Oid, want string, wantSerial zodb.Tid) {
			t.Helper()
			if data, serial, err := txn.Load(oid); string(data) != want || serial != wantSerial || (want == "") != storage.IsNoData(err) {
				t.Errorf("%s: %q, %s, %v; want %q, %s", oid, data, serial, err, want, wantSerial)
			}
		}
		check(1, "new", 0)
		check(2, "", 0)
		check(3, "three", 0)
		check(4, "", 0)
		txn.Abort()
		if _, _, err := txn.Load(1); !errors.Is(err, ErrDone) {
			t.Errorf("load after abort: %v", err)
		}
		txn = begin(t, db, Meta{Tid: 11})
		check(1, "old", 10)
		check(2, "old", 10)
		check(3, "", 0)
		if oid := txn.New(); oid != 4 {
			t.Errorf("new oid %s", oid)
		}
		txn.Abort()
	}
}

func TestConflictIsFoundBySerial(t *testing.T) {
	path := tempPath(t)
	db := create(t, path, Options{})
	commit(t, db, put(10, "old", 1))
	commit(t, db, put(11, "new", 1))
	before, _ := os.ReadFile(path)
	for oid, serial := range map[zodb.Oid]zodb.Tid{1: 10, 2: 5} {
		txn := begin(t, db, Meta{})
		txn.Expect(oid, serial)
		txn.Store(oid, []byte("mine"))
		var conflict *ConflictError
		if _, err := txn.Commit(); !errors.As(err, &conflict) || conflict.Oid != oid || conflict.Expected != serial {
			t.Errorf("%v", err)
		}
	}
	if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
		t.Error("a conflict left something in the file")
	}
	txn := begin(t, db, Meta{})
	txn.Expect(1, 11)
	txn.Expect(2, 0)
	txn.Store(2, []byte("mine"))
	if _, err := txn.Commit(); err != nil {
		t.Error(err)
	}
}

func TestMisuseIsToldByCommit(t *testing.T) {
	path := tempPath(t)
	db := create(t, path, Options{})
	for name, misuse := range map[string]func(*Txn){
		"empty record":   func(txn *Txn) { txn.Store(1, nil) },
		"unknown object": func(txn *Txn) { txn.Delete(7) },
		"invalid oid":    func(txn *Txn) { txn.Store(zodb.InvalidOid, []byte("x")) },
	} {
		txn := begin(t, db, Meta{})
		misuse(txn)
		txn.Store(1, []byte("x"))
		if _, err := txn.Commit(); err == nil {
			t.Errorf("%s was committed", name)
		}
	}
	if _, err := db.Begin(ctx, Meta{User: make([]byte, 1<<16)}); err == nil {
		t.Error("a user of 64 KiB was taken")
	}
	if fi, _ := os.Stat(path); fi.Size() != fsformat.FirstTxnPos {
		t.Errorf("file has %d bytes", fi.Size())
	}
}

func TestSecondWriterIsRefusedWithThePid(t *testing.T) {
	path := tempPath(t)
	db := create(t, path, Options{})
	text, err := os.ReadFile(path + ".lock")
	if err != nil || string(text) != fmt.Sprintf(" %d\n", os.Getpid()) {
		t.Errorf("lock file: %q, %v", text, err)
	}
	var locked *LockedError
	if _, err := Open(ctx, path, Options{}); !errors.As(err, &locked) || locked.Pid != os.Getpid() {
		t.Errorf("second open: %v", err)
	}
	closeDB(t, db)
	if _, err := Create(ctx, path, Options{}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("create again: %v", err)
	}
	reopen(t, path, Options{})
}

func TestBeginWaitsForTheTransactionInProgress(t *testing.T) {
	db := create(t, tempPath(t), Options{})
	txn := begin(t, db, Meta{})
	short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	if _, err := db.Begin(short, Meta{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("begin: %v", err)
	}
	if err := db.Close(); !errors.Is(err, ErrBusy) {
		t.Errorf("close: %v", err)
	}
	go txn.Abort()
	begin(t, db, Meta{}).Abort()
	closeDB(t, db)
	closeDB(t, db)
	if _, err := db.Begin(ctx, Meta{}); !errors.Is(err, ErrClosed) {
		t.Errorf("begin after close: %v", err)
	}
}

// TestProgressOfOpeningReachesTheEnd, for the writer and for the reader, and goes
// forward only.
func TestProgressOfOpeningReachesTheEnd(t *testing.T) {
	const path = "../../../t/testdata/bigtree.fs"
	fi, err := os.Stat(path)
	require.NoError(t, err)
	var last int64
	calls := 0
	progress := func(done, total int64) {
		require.Greater(t, done, last)
		require.Equal(t, fi.Size(), total)
		last, calls = done, calls+1
	}
	mine := filepath.Join(t.TempDir(), "Data.fs")
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(mine, data, 0o644))

	db, err := Open(t.Context(), mine, Options{Progress: progress})
	require.NoError(t, err)
	require.NoError(t, db.Close())
	require.Equal(t, fi.Size(), last)
	require.Greater(t, calls, 40)

	last, calls = 0, 0
	u, err := storage.ParseURL("file://" + mine)
	require.NoError(t, err)
	store, _, err := fs1.Open(t.Context(), u, storage.Options{Progress: progress})
	require.NoError(t, err)
	require.NoError(t, store.Close())
	require.Equal(t, fi.Size(), last)
	require.Greater(t, calls, 40)
}
