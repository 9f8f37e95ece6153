package zwrite

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"

	"lab.nexedi.com/kirr/neo/go/zodb"
	fsfmt "lab.nexedi.com/kirr/neo/go/zodb/storage/fs1"
)

// verifyTxns is how many transactions, from the end of what a saved index
// covers, are compared with it.
const verifyTxns = 100

// buildIndex makes the index: from the saved one if the file is big, else, or if
// that cannot be trusted, by a scan. It leaves the tail alone.
func (db *DB) buildIndex(ctx context.Context, size int64) error {
	db.index, db.unsaved = fsfmt.IndexNew(), true
	if size > db.opt.scanLimit {
		switch err := db.useSavedIndex(ctx, size); {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			db.unsaved = false
		default:
			db.opt.Warnf("%s: the saved index is not used: %s; scanning %d bytes", db.path, err, size)
		}
	}
	s := newScanner(db.f, db.path, size)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		t, err := s.next(db.index.TopPos, db.last)
		if err == io.EOF || err == errTail {
			break
		}
		if err == nil {
			err = s.records(&t, db.index.Set)
		}
		if err != nil {
			return err
		}
		db.index.TopPos, db.last, db.unsaved = t.end(), t.tid, true
		db.opt.Progress(t.end(), size)
	}
	if !db.unsaved {
		return nil
	}
	// A saved index that happens to be right need not be saved again.
	if saved, err := loadIndex(db.indexPath()); err == nil && saved.Equal(db.index) {
		db.unsaved = false
	}
	return nil
}

func (db *DB) indexPath() string { return db.path + ".index" }

// useSavedIndex begins with the saved index if it agrees with the data. The
// error says why it cannot be used.
func (db *DB) useSavedIndex(ctx context.Context, size int64) error {
	index, err := loadIndex(db.indexPath())
	if err != nil {
		return err
	}
	if index.TopPos < firstTxnPos || index.TopPos > size {
		return fmt.Errorf("it covers %d bytes, the file has %d", index.TopPos, size)
	}
	if err := eachEntry(index, func(oid zodb.Oid, pos int64) error {
		if pos < firstDataPos || pos >= index.TopPos {
			return fmt.Errorf("it has object %s at position %d of %d", oid, pos, index.TopPos)
		}
		return nil
	}); err != nil {
		return err
	}
	last, err := verify(ctx, index, newScanner(db.f, db.path, index.TopPos))
	if err != nil {
		return err
	}
	db.index, db.last = index, last
	return nil
}

// loadIndex reads a saved index. The format library panics on some broken ones.
func loadIndex(path string) (index *fsfmt.Index, err error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, errors.New("there is none")
	}
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("load index: %v", r)
		}
	}()
	return fsfmt.LoadIndexFile(path)
}

// eachEntry calls f for all of index in the order of oids.
func eachEntry(index *fsfmt.Index, f func(oid zodb.Oid, pos int64) error) error {
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
		if err := f(oid, pos); err != nil {
			return err
		}
	}
}

// verify compares index with the last transactions that it covers and returns
// the tid of the last one. Any error means that index is not to be used.
func verify(ctx context.Context, index *fsfmt.Index, s *scanner) (last zodb.Tid, err error) {
	seen := make(map[zodb.Oid]bool)
	end := index.TopPos
	for i := 0; i < verifyTxns && end > firstTxnPos; i++ {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		t, err := s.before(end, firstTxnPos)
		if err != nil {
			return 0, err
		}
		if !t.plausible() {
			return 0, fmt.Errorf("there is no finished transaction at position %d", t.pos)
		}
		positions := make(map[zodb.Oid]int64) // of two records of an object the later one counts
		if err := s.records(&t, func(oid zodb.Oid, pos int64) { positions[oid] = pos }); err != nil {
			return 0, err
		}
		for oid, want := range positions {
			if pos, ok := index.Get(oid); !seen[oid] && (!ok || pos != want) {
				return 0, fmt.Errorf("it has object %s at position %d instead of %d", oid, pos, want)
			}
			seen[oid] = true
		}
		if i == 0 {
			last = t.tid
		}
		end = t.pos
	}
	return last, nil
}

// saveIndex writes the index under a temporary name, and renames it. db.mu is
// held.
func (db *DB) saveIndex() error {
	data := encodeIndex(db.index, db.python2 != 0)
	tmp := db.indexPath() + ".index_tmp"
	_ = os.Remove(tmp) // of somebody who was killed
	f, err := db.like.create(tmp)
	if err != nil {
		return fmt.Errorf("save index: %w", err)
	}
	_, err = f.Write(data)
	if err == nil && !db.opt.NoSync {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(tmp, db.indexPath())
	}
	if err != nil {
		os.Remove(tmp)
		return fmt.Errorf("save index: %w", err)
	}
	db.unsaved = false
	return nil
}

// Pickle opcodes of a saved index.
const (
	opProto, opStop, opNone      = 0x80, '.', 'N'
	opInt1, opInt2, opInt4       = 'K', 'M', 'J'
	opLong1, opIntText           = 0x8a, 'I'
	opShortBytes, opBytes, opTwo = 'C', 'B', 0x86
	opShortString, opString      = 'U', 'T'
	opMark, opTuple              = '(', 't'
)

// indexPickler pickles a saved index: with protocol 3, or as Python 2 does it, with
// protocol 1.
type indexPickler struct {
	python2 bool
	b       []byte
}

// encodeIndex makes of an index what FileStorage does: pickles, without memo, of the
// position, of a pair of bytes for each 2^16 oids, and of None.
func encodeIndex(index *fsfmt.Index, python2 bool) []byte {
	p := &indexPickler{python2: python2}
	p.begin()
	p.int(index.TopPos)
	p.end()
	var prefix zodb.Oid
	var oids, positions []byte
	finish := func() {
		if len(oids) == 0 {
			return
		}
		p.pair(binary.BigEndian.AppendUint64(nil, uint64(prefix<<16))[:6], append(oids, positions...))
		oids, positions = oids[:0], positions[:0]
	}
	eachEntry(index, func(oid zodb.Oid, pos int64) error {
		if oid>>16 != prefix {
			finish()
			prefix = oid >> 16
		}
		oids = binary.BigEndian.AppendUint16(oids, uint16(oid))
		positions = append(positions, binary.BigEndian.AppendUint64(nil, uint64(pos))[2:]...)
		return nil
	})
	finish()
	p.begin()
	p.b = append(p.b, opNone)
	p.end()
	return p.b
}

func (p *indexPickler) begin() {
	if !p.python2 {
		p.b = append(p.b, opProto, 3)
	}
}

func (p *indexPickler) end() { p.b = append(p.b, opStop) }

func (p *indexPickler) pair(prefix, bucket []byte) {
	p.begin()
	if p.python2 {
		p.b = append(p.b, opMark)
	}
	p.bytes(prefix)
	p.bytes(bucket)
	if p.python2 {
		p.b = append(p.b, opTuple)
	} else {
		p.b = append(p.b, opTwo)
	}
	p.end()
}

// int appends an integer >= 0.
func (p *indexPickler) int(x int64) {
	le := binary.LittleEndian
	switch {
	case x <= math.MaxUint8:
		p.b = append(p.b, opInt1, byte(x))
	case x <= math.MaxUint16:
		p.b = le.AppendUint16(append(p.b, opInt2), uint16(x))
	case x <= math.MaxInt32:
		p.b = le.AppendUint32(append(p.b, opInt4), uint32(x))
	case p.python2:
		p.b = fmt.Appendf(p.b, "%c%d\n", opIntText, x)
	default:
		n := 5 // bytes that hold x and a bit for its sign
		for x>>(8*n-1) != 0 {
			n++
		}
		p.b = append(append(p.b, opLong1, byte(n)), le.AppendUint64(nil, uint64(x))[:n]...)
	}
}

func (p *indexPickler) bytes(data []byte) {
	short, long := byte(opShortBytes), byte(opBytes)
	if p.python2 {
		short, long = opShortString, opString
	}
	if len(data) <= math.MaxUint8 {
		p.b = append(p.b, short, byte(len(data)))
	} else {
		p.b = binary.LittleEndian.AppendUint32(append(p.b, long), uint32(len(data)))
	}
	p.b = append(p.b, data...)
}
