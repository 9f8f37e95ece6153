package fs1

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/fsformat"
	"github.com/wcfs/wcfs/internal/zodb/storage"
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
	lastRaw *fsformat.Txn // its header as it stands there, if it is damaged

	// The last transaction that a pack wrote, among those that were scanned; for
	// whoever opens df.
	packed zodb.Tid

	lost error // guarded by Storage.mu; why this is not what it was any more
	cut  bool  // guarded by Storage.mu; it was truncated: what is left can be read

	mu      sync.RWMutex
	index   *fsformat.Index // guarded by mu; TopPos is the end of what is served
	damage  damages         // guarded by mu; what is wrong with what index covers
	scanned bool            // guarded by mu; index comes from the data, not from a saved one
	rebuild *rebuild        // guarded by mu; set when index is, or was, replaced
}

func newDataFile(f *os.File, fi os.FileInfo) *dataFile {
	return &dataFile{f: f, id: idOf(fi), index: fsformat.NewIndex(), scanned: true}
}

// useSavedIndex makes df, of size bytes, start with the index saved at path, if it agrees
// with the data. The error says why it cannot be used, and wraps fs.ErrNotExist if there
// is none.
func (df *dataFile) useSavedIndex(ctx context.Context, path string, size int64) error {
	index, err := fsformat.LoadIndex(path, size)
	if err != nil {
		return err
	}
	last, err := index.Verify(ctx, fsformat.NewScanner(df.f, size))
	if err != nil {
		return err
	}
	df.last, df.lastPos = last.Tid, last.Pos
	df.index, df.scanned = index, false
	return nil
}

// place is where to look for an object.
type place struct {
	pos     int64 // of its newest record
	end     int64 // of what is served
	damaged bool  // something in the file is
	scanned bool  // the headers were
}

// lookup returns where to look for xid. ok is false if there is no such object. An error
// says why nobody can tell.
func (df *dataFile) lookup(xid zodb.Xid) (p place, ok bool, err error) {
	df.mu.RLock()
	defer df.mu.RUnlock()
	pos, ok := df.index.Get(xid.Oid)
	p = place{pos, df.index.TopPos, df.damage.any(), df.scanned}
	if p.damaged {
		err = df.damage.unsure(xid, pos)
	}
	return p, ok, err
}

// has reports whether an object is in the index.
func (df *dataFile) has(oid zodb.Oid) bool {
	df.mu.RLock()
	defer df.mu.RUnlock()
	_, ok := df.index.Get(oid)
	return ok
}

// badRecord returns what is wrong with the record at pos, as far as that is known.
func (df *dataFile) badRecord(pos int64) error {
	df.mu.RLock()
	defer df.mu.RUnlock()
	return df.damage.bad[pos]
}

// hasGap reports whether what is at pos cannot be told.
func (df *dataFile) hasGap(pos int64) bool {
	df.mu.RLock()
	defer df.mu.RUnlock()
	return df.damage.inGap(pos)
}

// surveyed returns what is known of the transaction at pos if it is damaged. With find
// it finds that out.
func (df *dataFile) surveyed(pos int64, last zodb.Tid, find bool) (*survey, error) {
	df.mu.RLock()
	sv := df.damage.txns[pos]
	end := df.index.TopPos
	df.mu.RUnlock()
	if sv != nil || !find {
		return sv, nil
	}
	sv, err := takeSurvey(fsformat.NewScanner(df.f, end), pos, last, nil)
	if err != nil {
		return nil, err
	}
	df.mu.Lock()
	defer df.mu.Unlock()
	if df.damage.txns == nil {
		df.damage.txns = make(map[int64]*survey)
	}
	if len(df.damage.txns) < maxDamaged {
		df.damage.txns[pos] = sv
	}
	for at, err := range sv.bad {
		if df.damage.check() == nil {
			df.damage.setBad(at, err)
		}
	}
	return sv, nil
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
func (df *dataFile) add(s *fsformat.Scanner, t *fsformat.Txn, entries []fsformat.Entry) error {
	df.last, df.lastPos, df.lastRaw = t.Tid, t.Pos, nil
	if t.Status == fsformat.StatusPacked {
		df.packed = t.Tid
	}
	df.mu.Lock()
	defer df.mu.Unlock()
	return df.damage.add(s, df.index, t, entries)
}

// extend adds the finished transactions up to tid until, and returns at the
// first later one or at the tail. For whoever opens df. progress, which may be
// nil, is told where it is. saved, which may be nil, is asked about what is damaged.
func (df *dataFile) extend(ctx context.Context, until zodb.Tid, progress func(done, total int64), saved func() *fsformat.Index) error {
	fi, err := df.f.Stat()
	if err != nil {
		return err
	}
	s := fsformat.NewScanner(df.f, fi.Size())
	b := builder{index: df.index, damages: df.damage, last: df.last, lastPos: df.lastPos, packed: df.packed, max: until}
	for done := false; !done; {
		if done, err = b.step(ctx, s); err != nil {
			return err
		}
		if progress != nil && !done {
			progress(b.index.TopPos, fi.Size())
		}
	}
	if saved != nil && len(b.gaps)+len(b.doubts) > 0 {
		if index := saved(); index != nil {
			b.resolve(b.index, index)
		}
	}
	df.last, df.lastPos, df.lastRaw, df.packed = b.last, b.lastPos, b.lastRaw, b.packed
	df.damage = b.damages
	return nil
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
	want := fsformat.Txn{Tid: df.last, Size: end - df.lastPos}
	if df.lastRaw != nil {
		want = *df.lastRaw
	}
	c := fsformat.Cursor{F: df.f}
	t, err1 := c.TxnAt(df.lastPos)
	length, err2 := c.Number(end - fsformat.TrailerSize)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	if t.Tid != want.Tid || t.Size != want.Size || df.lastRaw == nil && length != want.Length() {
		return &storage.AnotherDatabaseError{Head: head,
			Why: fmt.Sprintf("transaction %s is no longer at position %d", df.last, df.lastPos)}, nil
	}
	return nil, nil
}
