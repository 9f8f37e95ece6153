package fs1

import (
	"context"
	"errors"
	"fmt"
	"io"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/fsformat"
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
		s:   fsformat.NewScanner(df.f, df.end()),
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
		if fsformat.IsDamage(err) {
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
	s        *fsformat.Scanner
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
		if errors.Is(err, io.EOF) || err == nil && t.Tid > it.max {
			return nil
		}
		if err != nil {
			return err
		}
		if t.Tid >= it.min {
			if err := it.emit(t, entries); err != nil {
				return err
			}
		}
		pos, it.last = t.End(), t.Tid
	}
}

// next returns the transaction at pos. Of a damaged one it returns what can be told,
// if these are all objects that it may have changed.
func (it *iterator) next(pos int64) (*fsformat.Txn, []fsformat.Entry, error) {
	sv, _ := it.df.surveyed(pos, it.last, false)
	var why error
	if sv == nil {
		t, err := it.s.NextFinished(pos, it.last)
		if err == nil && t.Tid < it.min {
			return &t, nil, nil
		}
		var entries []fsformat.Entry
		if err == nil {
			entries, err = it.s.Records(&t)
		}
		if !fsformat.IsDamage(err) {
			return &t, entries, err
		}
		if why = err; it.df.hasGap(pos) {
			return nil, nil, why
		}
		if sv, err = it.df.surveyed(pos, it.last, true); err != nil {
			return nil, nil, why
		}
	}
	if sv.lost && sv.Tid >= it.min && sv.Tid <= it.max {
		return nil, nil, sv.why
	}
	return &sv.Txn, sv.entries, nil
}

// start returns the position of a transaction at or before the first wanted
// one. Transactions are walked from that end of the file which is nearer in
// time.
func (it *iterator) start(ctx context.Context) (pos int64, err error) {
	first, err := it.s.NextFinished(fsformat.FirstTxnPos, 0)
	if err != nil || it.min <= first.Tid || it.s.Size <= first.End() {
		return fsformat.FirstTxnPos, nil // whatever is wrong shows up again there
	}
	end := it.s.Size
	last, err := it.s.Before(end)
	if err != nil {
		return fsformat.FirstTxnPos, sysErrorOnly(err)
	}
	if it.min < last.Tid && it.min-first.Tid < last.Tid-it.min {
		return fsformat.FirstTxnPos, nil
	}
	for t := last; ; {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		if t.Tid <= it.min || t.Pos == fsformat.FirstTxnPos {
			return t.Pos, nil
		}
		if t, err = it.s.Before(t.Pos); err != nil {
			return fsformat.FirstTxnPos, sysErrorOnly(err)
		}
	}
}

// sysErrorOnly drops damage: what is damaged shows up again on the way there.
func sysErrorOnly(err error) error {
	if fsformat.IsDamage(err) {
		return nil
	}
	return err
}

// emit hands t to f.
func (it *iterator) emit(t *fsformat.Txn, entries []fsformat.Entry) error {
	str, err := t.Strings(it.s, it.strings)
	if err != nil {
		return err
	}
	it.strings = str
	it.txn = storage.Txn{
		Tid:         t.Tid,
		User:        str[:t.User:t.User],
		Description: str[t.User : t.User+t.Desc : t.User+t.Desc],
		Extension:   str[t.User+t.Desc:],
		Oids:        oidsOf(entries),
	}
	it.failed = it.f(&it.txn)
	return it.failed
}
