package fsformat

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"

	"golang.org/x/sys/unix"
	"lab.nexedi.com/kirr/neo/go/zodb"
	fsfmt "lab.nexedi.com/kirr/neo/go/zodb/storage/fs1"
)

// Index says where the newest record of each object is. TopPos is the end of what it
// covers.
type Index struct{ fsfmt.Index }

// NewIndex returns the index of an empty file.
func NewIndex() *Index { return &Index{*fsfmt.IndexNew()} }

// All returns the objects and the positions, in the order of oids.
func (x *Index) All() iter.Seq2[zodb.Oid, int64] {
	return func(yield func(zodb.Oid, int64) bool) {
		e, _ := x.SeekFirst()
		if e == nil {
			return
		}
		defer e.Close()
		for {
			oid, pos, stop := e.Next()
			if stop != nil || !yield(oid, pos) {
				return
			}
		}
	}
}

// Equal reports whether x and y cover the same and have the same.
func (x *Index) Equal(y *Index) bool { return x.Index.Equal(&y.Index) }

// LoadIndex reads the index that is saved at path, of a data file of size bytes. All
// positions are inside of that. The error wraps fs.ErrNotExist if there is none.
func LoadIndex(path string, size int64) (*Index, error) {
	// Opening a fifo would wait for a writer.
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if fi, err := f.Stat(); err != nil {
		return nil, err
	} else if !fi.Mode().IsRegular() {
		return nil, errors.New("load index: it is not a regular file")
	}
	x, err := readIndex(f)
	if err != nil {
		return nil, err
	}
	return x, x.checkPositions(size)
}

// readIndex reads a saved index. The library panics on some broken ones.
func readIndex(f *os.File) (x *Index, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("load index: %v", r)
		}
	}()
	index, err := fsfmt.LoadIndex(f)
	if err != nil {
		return nil, err
	}
	return &Index{*index}, nil
}

func (x *Index) checkPositions(size int64) error {
	if x.TopPos < FirstTxnPos || x.TopPos > size {
		return fmt.Errorf("it covers %d bytes, the file has %d", x.TopPos, size)
	}
	for oid, pos := range x.All() {
		if pos < FirstDataPos || pos >= x.TopPos {
			return fmt.Errorf("it has object %s at position %d of %d", oid, pos, x.TopPos)
		}
	}
	return nil
}

// ScanLimit is the size up to which a file is scanned whatever index there is, since that
// takes a second or less, and a saved index can be wrong.
const ScanLimit = 256 << 20

// VerifyTxns is how many transactions, from the end of what a saved index covers, are
// compared with it.
const VerifyTxns = 100

// Verify compares x with the last transactions that it covers, and returns the last one,
// which is zero if there is none. Any error means that x is not to be used.
func (x *Index) Verify(ctx context.Context, s *Scanner) (last Txn, err error) {
	seen := make(map[zodb.Oid]bool)
	end := x.TopPos
	for i := 0; i < VerifyTxns && end > FirstTxnPos; i++ {
		if err := ctx.Err(); err != nil {
			return Txn{}, err
		}
		t, err := s.Before(end)
		if err != nil {
			return Txn{}, err
		}
		entries, err := s.Records(&t)
		if err != nil {
			return Txn{}, err
		}
		// From the back: of two records of an object the later one counts.
		for j := len(entries) - 1; j >= 0; j-- {
			e := entries[j]
			if pos, ok := x.Get(e.Oid); !seen[e.Oid] && (!ok || pos != e.Pos) {
				return Txn{}, fmt.Errorf("it has object %s at position %d instead of %d", e.Oid, pos, e.Pos)
			}
			seen[e.Oid] = true
		}
		if i == 0 {
			last = t
		}
		end = t.Pos
	}
	return last, nil
}
