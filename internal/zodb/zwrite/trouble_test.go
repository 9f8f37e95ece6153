package zwrite

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/fsformat"
)

// TestWhatAnotherWriterPutInOurPlaceStays: it has opened the database by a name that we
// do not know, cut off what is not finished, and gone on.
func TestWhatAnotherWriterPutInOurPlaceStays(t *testing.T) {
	for name, end := range map[string]func(*Txn) error{
		"commit": func(txn *Txn) error { _, err := txn.Commit(); return err },
		"abort":  func(txn *Txn) error { txn.Abort(); return nil },
		"more": func(txn *Txn) error {
			for oid := range zodb.Oid(9) {
				txn.Store(100+oid, bytes.Repeat([]byte("z"), 300_000))
			}
			_, err := txn.Commit()
			return err
		},
		"abort after trouble": func(txn *Txn) error { txn.fail(errors.New("trouble")); _, err := txn.Commit(); return err },
	} {
		for _, length := range []int{2, 400, 40_000} {
			path := tempPath(t)
			db, steps := createStepped(t, path, 0, 500)
			commit(t, db, put(10, "x", 1))
			end0 := db.index.TopPos
			other := append(bytes.Repeat([]byte("o"), length), " "...)
			put := func() { replaceEnd(t, path, end0, other) }
			txn := begin(t, db, Meta{})
			for oid := range zodb.Oid(9) {
				txn.Store(1+oid, bytes.Repeat([]byte("y"), 300))
			}
			if name == "commit" {
				steps.setHook(func(step string) error {
					if step == "sync" {
						steps.setHook(nil)
						put()
					}
					return nil
				})
			} else {
				put()
			}
			err := end(txn)
			if name == "commit" && !errors.Is(err, ErrForeign) {
				t.Errorf("%s: %v", name, err)
			}
			got, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if length > fsformat.StatusOff && !bytes.Equal(got[end0:], other) {
				t.Errorf("%s: %d bytes of the other writer have become %d", name, len(other), int64(len(got))-end0)
			}
			if _, err := db.Begin(ctx, Meta{}); length > fsformat.StatusOff && !errors.Is(err, ErrForeign) {
				t.Errorf("%s: the next transaction: %v", name, err)
			}
		}
	}
}

// replaceEnd replaces all of a file from end on.
func replaceEnd(t *testing.T, path string, end int64, data []byte) {
	t.Helper()
	if err := os.Truncate(path, end); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err == nil {
		_, err = f.Write(data)
	}
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}

// TestFirstTroubleIsTold by everything that follows, and by Err at once.
func TestFirstTroubleIsTold(t *testing.T) {
	db, steps := createStepped(t, tempPath(t), 0, 500)
	steps.setHook(func(step string) error {
		if strings.HasPrefix(step, "write") {
			return syscall.ENOSPC
		}
		return nil
	})
	txn := begin(t, db, Meta{})
	if err := txn.Err(); err != nil {
		t.Error(err)
	}
	txn.Store(1, bytes.Repeat([]byte("x"), 300))
	for oid := zodb.Oid(2); txn.Err() == nil; oid++ {
		if oid > 5000 {
			t.Fatal("no write")
		}
		txn.Store(oid, bytes.Repeat([]byte("x"), 300))
	}
	txn.Store(6000, []byte("after"))
	for _, oid := range []zodb.Oid{1, 2, 6000, 7000} {
		if _, _, err := txn.Load(oid); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("load %s: %v", oid, err)
		}
	}
	if _, err := txn.Commit(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("commit: %v", err)
	}
}
