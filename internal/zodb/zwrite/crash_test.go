package zwrite

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/wcfs/wcfs/internal/zodb/fsformat"
	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/internal/zodb/storage/storagetest"
)

// TestKilledWriterLeavesWholeTransactions copies the file before every step of
// commits and an abort, as it would be after kill -9, and opens the copies.
func TestKilledWriterLeavesWholeTransactions(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	for _, buffer := range []int64{0, 500} {
		path := tempPath(t)
		db, steps := createStepped(t, path, 101, buffer)
		model := storagetest.NewModel()
		for range 3 {
			m := model.RandomTxn(rnd, 10)
			commit(t, db, m)
			model.Commit(m)
		}
		n := 0
		steps.setHook(func(step string) error {
			n++
			checkKilled(t, path, step, model, n%8 == 0)
			return nil
		})
		for i := range 6 {
			m := model.RandomTxn(rnd, 10)
			m.Records = append(m.Records, storagetest.Record{Oid: 3, Data: bytes.Repeat([]byte("x"), 700)})
			if i%2 == 0 {
				txn := begin(t, db, metaOf(m))
				apply(txn, m)
				txn.Abort()
				continue
			}
			commit(t, db, m)
			model.Commit(m)
			checkKilled(t, path, "commit", model, true)
		}
		t.Logf("buffer %d: %d states", buffer, n)
		if n < 40 {
			t.Errorf("only %d states were seen", n)
		}
	}
}

// checkKilled checks a copy of the database at path. The last transaction may be
// the last one of model or, while it is made durable, a later one. Readers are
// slow to close, so that is left out if read is false.
func checkKilled(t *testing.T, path, step string, model *storagetest.Model, read bool) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	kept := filepath.Join(dir, "Data.fs")
	if err := os.WriteFile(kept, data, 0o666); err != nil {
		t.Fatal(err)
	}
	at0 := model.Head()
	if read {
		var stor storage.Storage
		stor, at0 = openReader(t, kept) // before a writer cuts anything off
		stor.Close()
	}
	db := reopen(t, kept, Options{})
	head, end := db.Head(), db.index.TopPos
	if head < model.Head() || read && head != at0 {
		t.Fatalf("before %s: writer opens at %s, reader at %s; want %s", step, head, at0, model.Head())
	}
	if head > model.Head() && step != "sync" && step != "commit" {
		t.Fatalf("before %s: transaction %s is visible", step, head)
	}
	tail, err := os.ReadFile(kept + ".tr0")
	if end < int64(len(data)) && (err != nil || !bytes.Equal(tail, data[end:])) {
		t.Fatalf("before %s: the tail was saved as %d bytes, %v; want %d", step, len(tail), err, int64(len(data))-end)
	}
	if read && head == model.Head() {
		checkReader(t, kept, model)
	}
	next := put(0, "next", 1, 77)
	commit(t, db, next)
	closeDB(t, db)
	checkIndex(t, kept, false)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
}

func TestFailedWriteCommitsNothingAndTheNextCommitWorks(t *testing.T) {
	for _, buffer := range []int64{0, 500} {
		for fail := 0; ; fail++ {
			path := tempPath(t)
			db, steps := createStepped(t, path, 300, buffer)
			model := storagetest.NewModel()
			model.Commit(put(10, "one", 1))
			commit(t, db, model.Txns[0])
			before, _ := os.ReadFile(path)
			n, failed := 0, ""
			steps.setHook(func(step string) error {
				n++
				if n <= fail || failed != "" {
					return nil
				}
				failed = step
				return &os.PathError{Op: "write", Path: path, Err: syscall.ENOSPC}
			})
			txn := begin(t, db, Meta{Tid: 11})
			apply(txn, put(0, strings.Repeat("two", 300), 1, 2))
			_, err := txn.Commit()
			if failed == "" {
				if err != nil {
					t.Fatal(err)
				}
				break
			}
			steps.setHook(nil)
			var uncertain *UncertainError
			if errors.As(err, &uncertain) {
				checkUncertain(t, db, failed, uncertain)
				continue
			}
			after, _ := os.ReadFile(path)
			if !errors.Is(err, syscall.ENOSPC) || !bytes.Equal(before, after) {
				t.Fatalf("failed to %s: %v; %d bytes, were %d", failed, err, len(after), len(before))
			}
			model.Commit(put(11, "three", 1, 3))
			commit(t, db, model.Txns[1])
			closeDB(t, db)
			checkReader(t, path, model)
			checkIndex(t, path, true)
		}
	}
}

// checkUncertain checks what follows a transaction that is visible and may not
// be durable: only the last sync leads to that.
func checkUncertain(t *testing.T, db *DB, step string, err *UncertainError) {
	t.Helper()
	if step != "sync" || err.Tid != 11 || !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("failed to %s: %v", step, err)
	}
	if _, err := db.Begin(ctx, Meta{}); err == nil {
		t.Fatal("went on in an unknown state")
	}
	closeDB(t, db)
	if db = reopen(t, db.Path(), Options{}); db.Head() != 11 {
		t.Fatalf("opened at %s", db.Head())
	}
}

func TestFailureToCutOffIsToldByTheNextBegin(t *testing.T) {
	path := tempPath(t)
	db, steps := createStepped(t, path, 0, 0)
	steps.setHook(func(step string) error {
		if strings.HasPrefix(step, "write 1 ") || strings.HasPrefix(step, "truncate") {
			return syscall.EIO
		}
		return nil
	})
	txn := begin(t, db, Meta{})
	txn.Store(1, []byte("x"))
	if _, err := txn.Commit(); !errors.Is(err, syscall.EIO) {
		t.Errorf("commit: %v", err)
	}
	if _, err := db.Begin(ctx, Meta{}); !errors.Is(err, syscall.EIO) {
		t.Errorf("begin: %v", err)
	}
	closeDB(t, db)
	db = reopen(t, path, Options{})
	if db.Head() != 0 {
		t.Errorf("opened at %s", db.Head())
	}
	commit(t, db, put(0, "x", 1))
}

func TestStepsAreInTheOrderThatSurvivesPowerLoss(t *testing.T) {
	db, steps := createStepped(t, tempPath(t), 0, 0)
	var got []string
	steps.setHook(func(step string) error { got = append(got, step); return nil })
	m := put(0, "x", 1)
	commit(t, db, m)
	if want := "[write 77 at 4 sync write 1 at 20 sync]"; fmt.Sprint(got) != want {
		t.Errorf("%v; want %s", got, want)
	}
}

func TestWriterThatIgnoresTheLockIsNoticed(t *testing.T) {
	path := tempPath(t)
	db := create(t, path, Options{})
	commit(t, db, put(10, "x", 1))
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	txn := begin(t, db, Meta{})
	txn.Store(1, []byte("y"))
	if _, err := txn.Commit(); !errors.Is(err, ErrForeign) {
		t.Errorf("commit: %v", err)
	}
	if fi, _ := f.Stat(); fi.Size() != db.index.TopPos+1 {
		t.Error("what the other writer wrote was changed")
	}
}

func TestDamageInTheMiddleIsRefusedAndNothingIsCutOff(t *testing.T) {
	path := tempPath(t)
	db := create(t, path, Options{})
	commit(t, db, put(10, "one", 1))
	pos := db.index.TopPos
	commit(t, db, put(11, "two", 1))
	commit(t, db, put(12, "three", 1))
	closeDB(t, db)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const rec = fsformat.TxnSize + 3
	for name, patch := range map[string]struct {
		off int64
		b   []byte
	}{
		"status":             {fsformat.StatusOff, []byte{'x'}},
		"voted":              {fsformat.StatusOff, []byte{'c'}},
		"length short":       {8, []byte{0, 0, 0, 0, 0, 0, 0, 3}},
		"length beyond":      {8, []byte{0, 0, 1}},
		"length max":         {8, bytes.Repeat([]byte{0xff}, 8)},
		"strings":            {17, []byte{0xff, 0xff}},
		"tid":                {0, make([]byte, 8)},
		"tid not ascending":  {7, []byte{10}},
		"record tid":         {rec + 15, []byte{1}},
		"record transaction": {rec + 31, []byte{4}},
		"record version":     {rec + 33, []byte{1}},
		"record size":        {rec + 34, []byte{1}},
		"record size max":    {rec + 34, bytes.Repeat([]byte{0xff}, 8)},
		"record prev":        {rec + 16, bytes.Repeat([]byte{0xff}, 8)},
		"trailer":            {rec + 42 + 3 + 7, []byte{1}},
	} {
		bad := bytes.Clone(good)
		copy(bad[pos+patch.off:], patch.b)
		if err := os.WriteFile(path, bad, 0o666); err != nil {
			t.Fatal(err)
		}
		var damage *DamageError
		db, err := Open(ctx, path, Options{NoSync: true})
		if !errors.As(err, &damage) || damage.Pos < pos {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil {
			db.Close()
		}
		if after, _ := os.ReadFile(path); !bytes.Equal(after, bad) {
			t.Errorf("%s: the file was changed", name)
		}
	}
}

func TestTailsAreSavedUnderNewNames(t *testing.T) {
	path := tempPath(t)
	db := create(t, path, Options{})
	commit(t, db, put(10, "one", 1))
	closeDB(t, db)
	good, _ := os.ReadFile(path)
	for i, tail := range []string{"x", strings.Repeat("y", 22), strings.Repeat("\x00", 5000)} {
		if err := os.WriteFile(path, append(bytes.Clone(good), tail...), 0o666); err != nil {
			t.Fatal(err)
		}
		closeDB(t, reopen(t, path, Options{}))
		saved, err := os.ReadFile(fmt.Sprintf("%s.tr%d", path, i))
		if err != nil || string(saved) != tail {
			t.Errorf("tail of %d bytes: saved %d, %v", len(tail), len(saved), err)
		}
		if after, _ := os.ReadFile(path); !bytes.Equal(after, good) {
			t.Errorf("tail of %d bytes: file has %d bytes; want %d", len(tail), len(after), len(good))
		}
	}
}

func TestWrongIndexIsNotUsed(t *testing.T) {
	path := tempPath(t)
	db := create(t, path, Options{})
	for tid := range 20 {
		commit(t, db, put(0, fmt.Sprint(tid), 1, 2, 3))
	}
	closeDB(t, db)
	good, _ := os.ReadFile(path + ".index")
	old := bytes.Clone(good)
	for name, index := range map[string][]byte{
		"empty":   nil,
		"cut":     good[:len(good)-3],
		"noise":   bytes.Repeat([]byte{0x80}, 100),
		"shifted": append(old[:len(old)-6], append([]byte{old[len(old)-6] ^ 1}, old[len(old)-5:]...)...),
	} {
		if err := os.WriteFile(path+".index", index, 0o666); err != nil {
			t.Fatal(err)
		}
		db := reopen(t, path, Options{scanLimit: 1})
		closeDB(t, db)
		if after, _ := os.ReadFile(path + ".index"); !bytes.Equal(after, good) {
			t.Errorf("%s: index was not replaced", name)
		}
	}
}
