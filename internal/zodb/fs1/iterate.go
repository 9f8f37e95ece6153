package fs1

import (
	"context"
	"errors"
	"fmt"
	"io"

	"lab.nexedi.com/kirr/neo/go/zodb"
	fsfmt "lab.nexedi.com/kirr/neo/go/zodb/storage/fs1"

	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// Iterate implements storage.Iterator. After a pack it gives what the pack has
// left.
func (s *Storage) Iterate(ctx context.Context, tidMin, tidMax zodb.Tid, f func(*storage.Txn) error) error {
	s.mu.RLock()
	df, head, closed := s.cur, s.head, s.closed
	s.mu.RUnlock()
	if closed {
		return storage.ErrClosed
	}
	it := &iterator{
		df:  df,
		s:   newScanner(df.f, df.end()),
		min: tidMin,
		max: min(tidMax, head),
		f:   f,
	}
	switch err := it.run(ctx); {
	case err == nil:
		return nil
	case it.failed != nil: // by f
		return it.failed
	case ctx.Err() != nil:
		return ctx.Err()
	case s.isClosed():
		return storage.ErrClosed
	default:
		var damage *damageError
		if errors.As(err, &damage) {
			return &storage.CorruptError{Oid: zodb.InvalidOid, Tid: it.last, Err: err}
		}
		return fmt.Errorf("%s: iterate: %w", s.url, err)
	}
}

func (s *Storage) isClosed() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.closed
}

// iterator is the state of one Iterate.
type iterator struct {
	df       *dataFile
	s        *scanner
	min, max zodb.Tid
	f        func(*storage.Txn) error
	failed   error // what f returned
	last     zodb.Tid
	strings  []byte
	txn      storage.Txn
}

func (it *iterator) run(ctx context.Context) error {
	if it.min > it.max {
		return nil
	}
	pos, err := it.start(ctx)
	if err != nil {
		return err
	}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		t, entries, err := it.next(pos)
		if errors.Is(err, io.EOF) || err == nil && t.tid > it.max {
			return nil
		}
		if err != nil {
			return err
		}
		if t.tid >= it.min {
			if err := it.emit(t, entries); err != nil {
				return err
			}
		}
		pos, it.last = t.end(), t.tid
	}
}

// next returns the transaction at pos. Of a damaged one it returns what can be told,
// if these are all objects that it may have changed.
func (it *iterator) next(pos int64) (*txn, []entry, error) {
	sv, _ := it.df.surveyed(pos, it.last, false)
	var why error
	if sv == nil {
		t, err := it.s.nextFinished(pos, it.last)
		if err == nil && t.tid < it.min {
			return &t, nil, nil
		}
		var entries []entry
		if err == nil {
			entries, err = it.s.records(&t)
		}
		var damage *damageError
		if !errors.As(err, &damage) {
			return &t, entries, err
		}
		if why = err; it.df.hasGap(pos) {
			return nil, nil, why
		}
		if sv, err = it.df.surveyed(pos, it.last, true); err != nil {
			return nil, nil, why
		}
	}
	if sv.lost && sv.tid >= it.min && sv.tid <= it.max {
		return nil, nil, sv.why
	}
	return &sv.txn, sv.entries, nil
}

// start returns the position of a transaction at or before the first wanted
// one. Transactions are walked from that end of the file which is nearer in
// time.
func (it *iterator) start(ctx context.Context) (pos int64, err error) {
	first, err := it.s.nextFinished(firstTxnPos, 0)
	if err != nil || it.min <= first.tid || it.s.size <= first.end() {
		return firstTxnPos, nil // whatever is wrong shows up again there
	}
	end := it.s.size
	last, err := it.s.before(end)
	if err != nil {
		return firstTxnPos, sysErrorOnly(err)
	}
	if it.min < last.tid && it.min-first.tid < last.tid-it.min {
		return firstTxnPos, nil
	}
	for t := last; ; {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		if t.tid <= it.min || t.pos == firstTxnPos {
			return t.pos, nil
		}
		if t, err = it.s.before(t.pos); err != nil {
			return firstTxnPos, sysErrorOnly(err)
		}
	}
}

// sysErrorOnly drops damage: what is damaged shows up again on the way there.
func sysErrorOnly(err error) error {
	var damage *damageError
	if errors.As(err, &damage) {
		return nil
	}
	return err
}

// emit hands t to f.
func (it *iterator) emit(t *txn, entries []entry) error {
	n := t.user + t.desc + t.ext
	if cap(it.strings) < n {
		it.strings = make([]byte, n)
	}
	str := it.strings[:n]
	if n > 0 {
		if _, err := it.s.win.ReadAt(str, t.pos+fsfmt.TxnHeaderFixSize); err != nil {
			return asDamage(t.pos, err)
		}
	}
	it.txn = storage.Txn{
		Tid:         t.tid,
		User:        str[:t.user:t.user],
		Description: str[t.user : t.user+t.desc : t.user+t.desc],
		Extension:   str[t.user+t.desc:],
		Oids:        oidsOf(entries),
	}
	it.failed = it.f(&it.txn)
	return it.failed
}
