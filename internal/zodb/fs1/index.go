package fs1

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"lab.nexedi.com/kirr/neo/go/zodb"
	fsfmt "lab.nexedi.com/kirr/neo/go/zodb/storage/fs1"
)

// verifyTxns is how many transactions, from the end of what a saved index
// covers, are compared with it.
const verifyTxns = 100

// useSavedIndex makes df start with the index saved at path, if there is one
// and it agrees with the data. An error says why it cannot be used, nil with
// ok false that there is none.
func (df *dataFile) useSavedIndex(ctx context.Context, path string, size int64) (ok bool, err error) {
	index, err := loadIndex(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if err := checkPositions(index, size); err != nil {
		return false, err
	}
	last, err := df.verify(ctx, index, size)
	if err != nil {
		return false, err
	}
	if index.TopPos > firstTxnPos {
		df.last, df.lastPos = last.tid, last.pos
	}
	df.index, df.scanned = index, false
	return true, nil
}

// loadIndex reads a saved index. The library panics on some broken ones.
func loadIndex(path string) (index *fsfmt.Index, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("load index: %v", r)
		}
	}()
	// Opening a fifo would wait for a writer.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil {
		return nil, err
	} else if !st.Mode().IsRegular() {
		return nil, errors.New("load index: it is not a regular file")
	}
	return fsfmt.LoadIndex(f)
}

// checkPositions checks that all of index is inside a file of size bytes.
func checkPositions(index *fsfmt.Index, size int64) error {
	if index.TopPos < firstTxnPos || index.TopPos > size {
		return fmt.Errorf("it covers %d bytes, the file has %d", index.TopPos, size)
	}
	e, _ := index.SeekFirst()
	if e == nil {
		return nil
	}
	defer e.Close()
	for {
		oid, pos, stop := e.Next()
		if stop != nil {
			return nil
		}
		if pos < firstDataPos || pos >= index.TopPos {
			return fmt.Errorf("it has object %s at position %d of %d", oid, pos, index.TopPos)
		}
	}
}

// verify compares index with the last transactions that it covers and returns
// the last one. Any error means that index is not to be used.
func (df *dataFile) verify(ctx context.Context, index *fsfmt.Index, size int64) (last txn, err error) {
	s := newScanner(df.f, size)
	seen := make(map[zodb.Oid]bool)
	end := index.TopPos
	for i := 0; i < verifyTxns && end > firstTxnPos; i++ {
		if err := ctx.Err(); err != nil {
			return txn{}, err
		}
		t, err := s.before(end)
		if err != nil {
			return txn{}, err
		}
		entries, err := s.records(&t)
		if err != nil {
			return txn{}, err
		}
		// From the back: of two records of an object the later one counts.
		for j := len(entries) - 1; j >= 0; j-- {
			e := entries[j]
			if pos, ok := index.Get(e.oid); !seen[e.oid] && (!ok || pos != e.pos) {
				return txn{}, fmt.Errorf("it has object %s at position %d instead of %d", e.oid, pos, e.pos)
			}
			seen[e.oid] = true
		}
		if i == 0 {
			last = t
		}
		end = t.pos
	}
	return last, nil
}

// before returns the finished transaction that ends at end.
func (s *scanner) before(end int64) (txn, error) {
	var b [trailerSize]byte
	if end-trailerSize < firstDataPos {
		return txn{}, damagedTxn(end, "nothing can end here")
	}
	if _, err := s.f.ReadAt(b[:], end-trailerSize); err != nil {
		return txn{}, asDamage(end, err)
	}
	length := binary.BigEndian.Uint64(b[:])
	if length < fsfmt.TxnHeaderFixSize || length > uint64(end-trailerSize-firstTxnPos) {
		return txn{}, damagedTxn(end, "the length in front of it, %d, is wrong", length)
	}
	pos := end - trailerSize - int64(length)
	t, err := s.nextFinished(pos, 0)
	if err != nil {
		return txn{}, err
	}
	if t.end() != end {
		return txn{}, damagedTxn(pos, "is not a finished transaction that ends at position %d", end)
	}
	return t, nil
}
