package zwrite

import (
	"errors"
	"fmt"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/fsformat"
)

// commit implements engine.
func (f *fileTxn) commit(t *Txn) (zodb.Tid, error) {
	err := f.checkExpected(t.expect)
	if err == nil {
		err = f.vote(t)
	}
	if err != nil {
		return 0, f.abort(err)
	}
	return f.tid, f.flip()
}

// abort implements engine: it removes what was written.
func (f *fileTxn) abort(why error) error {
	if f.out == nil {
		return why
	}
	if f.isReplaced() {
		f.db.breakDown(ErrForeign)
		return errors.Join(why, ErrForeign)
	}
	if err := f.db.f.Truncate(f.end); err != nil {
		err = fmt.Errorf("cut off the transaction at position %d: %w", f.end, err)
		f.db.breakDown(err)
		return errors.Join(why, err)
	}
	return why
}

// isReplaced reports whether somebody who ignores the lock has put something else in
// the place of what was written, which must not be touched then. An application that
// opens the database cuts off what is not finished, and goes on there.
func (f *fileTxn) isReplaced() bool {
	const known = fsformat.StatusOff + 1
	if size, err := f.db.f.Size(); err != nil || size < f.end+known {
		return err == nil && size < f.end
	}
	var b [fsformat.TxnSize]byte
	if _, err := f.db.f.ReadAt(b[:known], f.end); err != nil {
		return false
	}
	t := fsformat.DecodeTxn(f.end, b[:])
	return t.Tid != f.tid || t.Status != fsformat.StatusVoted
}

// checkWhole returns ErrForeign unless the file ends with what was written.
func (f *fileTxn) checkWhole() error {
	size, err := f.db.f.Size()
	if err != nil {
		return err
	}
	if size != f.out.pos() || f.isReplaced() {
		return ErrForeign
	}
	return nil
}

func (f *fileTxn) checkExpected(expect map[zodb.Oid]zodb.Tid) error {
	for oid, serial := range expect {
		current, err := f.db.serial(oid)
		if err != nil {
			return err
		}
		if current != serial {
			return &ConflictError{Oid: oid, Expected: serial, Current: current}
		}
	}
	return nil
}

// vote writes the whole transaction with status "c".
func (f *fileTxn) vote(t *Txn) error {
	written := f.out != nil
	if err := f.write(t); err != nil {
		return err
	}
	length := fsformat.AppendNumber(nil, f.out.pos()-f.end)
	if err := f.out.write(length); err != nil {
		return err
	}
	if err := f.out.flush(); err != nil {
		return err
	}
	if written { // the length was not known when the header was written
		if _, err := f.db.f.WriteAt(length, f.end+fsformat.LengthOff); err != nil {
			return err
		}
	}
	if err := f.db.f.Sync(); err != nil {
		return err
	}
	return f.checkWhole()
}

// start writes the header. If more than what is in memory may follow, its
// length is the shortest possible until vote sets it. Nobody trusts a header
// with status "c" anyway.
func (f *fileTxn) start(t *Txn) error {
	size, err := f.db.f.Size()
	if err != nil {
		return err
	}
	if size != f.end {
		f.db.breakDown(ErrForeign)
		return fmt.Errorf("file has %d bytes instead of %d: %w", size, f.end, ErrForeign)
	}
	f.tid = f.meta.Tid
	if f.tid == 0 {
		f.tid = laterTid(f.db.opt.Now(), f.db.Head())
	}
	if !f.tid.Valid() {
		return fmt.Errorf("no tid can come after that of the last transaction, %s", f.db.Head())
	}
	f.out = &appender{f: f.db.f, off: f.end}
	length := f.meta.headerLen()
	for _, c := range t.order {
		r := fsformat.Record{DataLen: c.size}
		length += r.Len()
	}
	return f.out.write(fsformat.AppendTxn(nil, f.tid, length, fsformat.StatusVoted, f.meta.User, f.meta.Description, f.meta.Extension))
}

// write writes what is in memory.
func (f *fileTxn) write(t *Txn) error {
	if f.out == nil {
		if err := f.start(t); err != nil {
			return err
		}
	} else if f.isReplaced() {
		return ErrForeign
	}
	for _, c := range t.order {
		pos := f.out.pos()
		if pos+c.size > fsformat.MaxPos {
			return fmt.Errorf("data file would become larger than %d bytes", int64(fsformat.MaxPos))
		}
		prev, _, _ := f.db.lookup(c.oid)
		r := fsformat.Record{Oid: c.oid, Tid: f.tid, Prev: prev, Txn: f.end, DataLen: c.size}
		header := r.Append(nil)
		if c.size == 0 {
			header = fsformat.AppendNumber(header, 0) // the object does not exist from here on
		}
		if err := f.out.write(header); err != nil {
			return err
		}
		if err := f.out.write(c.data); err != nil {
			return err
		}
		c.data, c.written = nil, pos
		f.placed[c.oid] = pos
	}
	t.order, t.size = nil, 0
	return nil
}

// flip sets the status, which makes the voted transaction visible.
func (f *fileTxn) flip() error {
	pos := f.end + fsformat.StatusOff
	if _, err := f.db.f.WriteAt([]byte{fsformat.StatusComplete}, pos); err != nil {
		return f.unflipped(err)
	}
	if err := f.db.f.Sync(); err != nil {
		err = &UncertainError{Tid: f.tid, Err: err}
		f.db.breakDown(err)
		return err
	}
	f.db.advance(f)
	return nil
}

// unflipped follows up on an error of setting the status: if it was not set, the
// transaction can be removed. Else somebody may have seen it already.
func (f *fileTxn) unflipped(why error) error {
	var status [1]byte
	_, err := f.db.f.ReadAt(status[:], f.end+fsformat.StatusOff)
	if err == nil && status[0] == fsformat.StatusVoted {
		return f.abort(why)
	}
	err = &UncertainError{Tid: f.tid, Err: errors.Join(why, err)}
	f.db.breakDown(err)
	return err
}

// advance makes a committed transaction part of db.
func (db *DB) advance(f *fileTxn) {
	db.mu.Lock()
	defer db.mu.Unlock()
	for oid, pos := range f.placed {
		db.index.Set(oid, pos)
	}
	db.index.TopPos = f.out.pos()
	db.last = f.tid
	db.unsaved = true
}
