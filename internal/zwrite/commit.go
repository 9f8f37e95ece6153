package zwrite

import (
	"encoding/binary"
	"errors"
	"fmt"

	"lab.nexedi.com/kirr/neo/go/zodb"
)

// Commit makes the transaction visible and durable, and returns its tid. A
// transaction without changes is written too.
//
// If it fails nothing is committed, with two exceptions: an *UncertainError,
// and an error after which Begin fails because it is not known what was
// written. Other errors: *ConflictError, ErrForeign, ErrDone, the first trouble
// of Store, Delete or New, those of the operating system.
func (t *Txn) Commit() (zodb.Tid, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.done {
		return 0, fmt.Errorf("commit: %w", ErrDone)
	}
	defer t.finish()
	err := t.err
	if err == nil {
		err = t.checkExpected()
	}
	if err == nil {
		err = t.vote()
	}
	if err == nil {
		err = t.flip()
	} else {
		err = t.rollback(err)
	}
	if err != nil {
		return 0, fmt.Errorf("commit: %w", err)
	}
	return t.tid, nil
}

// Abort ends the transaction without effect. It does nothing after Commit or
// Abort.
func (t *Txn) Abort() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.done {
		_ = t.rollback(nil) // that it failed is told by the next Begin
		t.finish()
	}
}

// finish lets the next transaction begin.
func (t *Txn) finish() {
	t.done = true
	t.changes, t.order = nil, nil
	<-t.db.turn
}

// rollback removes what was written, and returns why.
func (t *Txn) rollback(why error) error {
	if t.out == nil {
		return why
	}
	if t.isReplaced() {
		t.db.breakDown(ErrForeign)
		return errors.Join(why, ErrForeign)
	}
	if err := t.db.f.Truncate(t.end); err != nil {
		err = fmt.Errorf("cut off the transaction at position %d: %w", t.end, err)
		t.db.breakDown(err)
		return errors.Join(why, err)
	}
	return why
}

// isReplaced reports whether somebody who ignores the lock has put something else in
// the place of what was written, which must not be touched then. An application that
// opens the database cuts off what is not finished, and goes on there.
func (t *Txn) isReplaced() bool {
	var b [statusOff + 1]byte
	if size, err := t.db.f.Size(); err != nil || size < t.end+int64(len(b)) {
		return err == nil && size < t.end
	}
	if _, err := t.db.f.ReadAt(b[:], t.end); err != nil {
		return false
	}
	return zodb.Tid(binary.BigEndian.Uint64(b[:])) != t.tid || b[statusOff] != statusVoted
}

// checkWhole returns ErrForeign unless the file ends with what was written.
func (t *Txn) checkWhole() error {
	size, err := t.db.f.Size()
	if err != nil {
		return err
	}
	if size != t.out.pos() || t.isReplaced() {
		return ErrForeign
	}
	return nil
}

func (t *Txn) checkExpected() error {
	for oid, serial := range t.expect {
		current, err := t.db.serial(oid)
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
func (t *Txn) vote() error {
	written := t.out != nil
	if err := t.write(); err != nil {
		return err
	}
	length := binary.BigEndian.AppendUint64(nil, uint64(t.out.pos()-t.end))
	if err := t.out.write(length); err != nil {
		return err
	}
	if err := t.out.flush(); err != nil {
		return err
	}
	if written { // the length was not known when the header was written
		if _, err := t.db.f.WriteAt(length, t.end+8); err != nil {
			return err
		}
	}
	if err := t.db.f.Sync(); err != nil {
		return err
	}
	return t.checkWhole()
}

// start writes the header. If more than what is in memory may follow, its
// length is the shortest possible until vote sets it. Nobody trusts a header
// with status "c" anyway.
func (t *Txn) start() error {
	size, err := t.db.f.Size()
	if err != nil {
		return err
	}
	if size != t.end {
		t.db.breakDown(ErrForeign)
		return fmt.Errorf("file has %d bytes instead of %d: %w", size, t.end, ErrForeign)
	}
	t.tid = t.meta.Tid
	if t.tid == 0 {
		t.tid = laterTid(t.db.opt.Now(), t.db.Head())
	}
	if !t.tid.Valid() {
		return fmt.Errorf("no tid can come after that of the last transaction, %s", t.db.Head())
	}
	t.out = &appender{f: t.db.f, off: t.end}
	length := t.meta.headerLen()
	for _, oid := range t.order {
		d := dataHeader{size: uint64(t.changes[oid].size)}
		length += d.len()
	}
	return t.out.write(encodeTxnHeader(t.tid, length, statusVoted, &t.meta))
}

// write writes what is in memory.
func (t *Txn) write() error {
	if t.out == nil {
		if err := t.start(); err != nil {
			return err
		}
	} else if t.isReplaced() {
		return ErrForeign
	}
	for _, oid := range t.order {
		c := t.changes[oid]
		pos := t.out.pos()
		if pos+c.size > maxPos {
			return fmt.Errorf("data file would become larger than %d bytes", int64(maxPos))
		}
		prev, _, _ := t.db.lookup(oid)
		d := dataHeader{oid: oid, tid: t.tid, prev: prev, txn: t.end, size: uint64(c.size)}
		if err := t.out.write(d.encode()); err != nil {
			return err
		}
		if err := t.out.write(c.data); err != nil {
			return err
		}
		c.data, c.written = nil, pos
		t.placed[oid] = pos
	}
	t.order, t.size = nil, 0
	return nil
}

// flip sets the status, which makes the voted transaction visible.
func (t *Txn) flip() error {
	pos := t.end + statusOff
	if _, err := t.db.f.WriteAt([]byte{statusComplete}, pos); err != nil {
		return t.unflipped(err)
	}
	if err := t.db.f.Sync(); err != nil {
		err = &UncertainError{Tid: t.tid, Err: err}
		t.db.breakDown(err)
		return err
	}
	t.db.advance(t)
	return nil
}

// unflipped follows up on an error of setting the status: if it was not set, the
// transaction can be removed. Else somebody may have seen it already.
func (t *Txn) unflipped(why error) error {
	var status [1]byte
	_, err := t.db.f.ReadAt(status[:], t.end+statusOff)
	if err == nil && status[0] == statusVoted {
		return t.rollback(why)
	}
	err = &UncertainError{Tid: t.tid, Err: errors.Join(why, err)}
	t.db.breakDown(err)
	return err
}

// advance makes a committed transaction part of db.
func (db *DB) advance(t *Txn) {
	db.mu.Lock()
	defer db.mu.Unlock()
	for oid, pos := range t.placed {
		db.index.Set(oid, pos)
	}
	db.index.TopPos = t.out.pos()
	db.last = t.tid
	db.unsaved = true
}
