package fs1

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"

	"lab.nexedi.com/kirr/neo/go/zodb"
	fsfmt "lab.nexedi.com/kirr/neo/go/zodb/storage/fs1"

	"github.com/wcfs/wcfs/internal/storage"
)

// fileID tells files apart whatever they are called.
type fileID struct{ dev, ino uint64 }

func idOf(fi os.FileInfo) fileID {
	st := fi.Sys().(*syscall.Stat_t)
	return fileID{uint64(st.Dev), st.Ino}
}

// dataFile is one open data file with its index.
type dataFile struct {
	f  *os.File
	id fileID

	ways waypoints // along chains of f

	// The last transaction that is in the index; for the follower only.
	last    zodb.Tid
	lastPos int64

	// The last transaction that a pack wrote, among those that were scanned; for
	// whoever opens df.
	packed zodb.Tid

	lost error // guarded by Storage.mu; why this is not what it was any more
	cut  bool  // guarded by Storage.mu; it was truncated: what is left can be read

	mu      sync.RWMutex
	index   *fsfmt.Index // guarded by mu; TopPos is the end of what is served
	scanned bool         // guarded by mu; index comes from the data, not from a saved one
	rebuild *rebuild     // guarded by mu; set when index is, or was, replaced
}

func newDataFile(f *os.File, fi os.FileInfo) *dataFile {
	return &dataFile{f: f, id: idOf(fi), index: fsfmt.IndexNew(), scanned: true}
}

// lookup returns the position of the newest record of oid and the end of what
// is served.
func (df *dataFile) lookup(oid zodb.Oid) (pos, end int64, ok bool) {
	df.mu.RLock()
	defer df.mu.RUnlock()
	pos, ok = df.index.Get(oid)
	return pos, df.index.TopPos, ok
}

// truncate keeps loads from what is behind size, where somebody may write anything.
func (df *dataFile) truncate(size int64) {
	df.mu.Lock()
	defer df.mu.Unlock()
	df.index.TopPos = min(df.index.TopPos, size)
}

// end returns the end of what is served.
func (df *dataFile) end() int64 {
	df.mu.RLock()
	defer df.mu.RUnlock()
	return df.index.TopPos
}

func (df *dataFile) wasScanned() bool {
	df.mu.RLock()
	defer df.mu.RUnlock()
	return df.scanned
}

// add puts a transaction into the index. For the follower only.
func (df *dataFile) add(t *txn, entries []entry) {
	df.last, df.lastPos = t.tid, t.pos
	if t.status == statusPacked {
		df.packed = t.tid
	}
	df.mu.Lock()
	defer df.mu.Unlock()
	addToIndex(df.index, t, entries)
}

func addToIndex(index *fsfmt.Index, t *txn, entries []entry) {
	for _, e := range entries {
		index.Set(e.oid, e.pos)
	}
	index.TopPos = t.end()
}

// extend adds the finished transactions up to tid until, and returns at the
// first later one or at the tail. For whoever opens df. progress, which may be
// nil, is told where it is.
func (df *dataFile) extend(ctx context.Context, until zodb.Tid, progress func(done, total int64)) error {
	fi, err := df.f.Stat()
	if err != nil {
		return err
	}
	s := newScanner(df.f, fi.Size())
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		t, tl, err := s.next(df.index.TopPos, df.last)
		if errors.Is(err, io.EOF) || err == nil && (tl != tailNone || t.tid > until) {
			return nil
		}
		if err != nil {
			return err
		}
		entries, err := s.records(&t)
		if err != nil {
			return err
		}
		df.add(&t, entries)
		if progress != nil {
			progress(df.index.TopPos, fi.Size())
		}
	}
}

// checkUnchanged returns why df is no longer the file that was indexed, as far
// as its size and its last transaction tell. head is what was served.
func (df *dataFile) checkUnchanged(size int64, head zodb.Tid) (why, err error) {
	end := df.end()
	if size < end {
		return &storage.HistoryLostError{Head: head, Why: fmt.Sprintf("the file was truncated to %d bytes, %d were served", size, end)}, nil
	}
	if df.lastPos == 0 {
		return nil, nil
	}
	var b [24]byte
	_, err1 := df.f.ReadAt(b[:16], df.lastPos)
	_, err2 := df.f.ReadAt(b[16:], end-trailerSize)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	be := binary.BigEndian
	length := uint64(end - df.lastPos - trailerSize)
	if zodb.Tid(be.Uint64(b[0:])) != df.last || be.Uint64(b[8:]) != length || be.Uint64(b[16:]) != length {
		return &storage.AnotherDatabaseError{Head: head,
			Why: fmt.Sprintf("transaction %s is no longer at position %d", df.last, df.lastPos)}, nil
	}
	return nil, nil
}
