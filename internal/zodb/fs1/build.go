package fs1

import (
	"context"
	"errors"
	"fmt"
	"io"

	"lab.nexedi.com/kirr/neo/go/zodb"
	fsfmt "lab.nexedi.com/kirr/neo/go/zodb/storage/fs1"
)

// builder makes an index from the data, transaction by transaction. What is damaged
// it notes.
type builder struct {
	index *fsfmt.Index
	damages
	last    zodb.Tid // the last transaction
	lastPos int64
	lastRaw *[16]byte                                       // its header, if that is damaged
	packed  zodb.Tid                                        // the last one that a pack wrote
	max     zodb.Tid                                        // later ones are not taken
	taken   func(t *txn, entries []entry, sv *survey) error // told each, unless it is nil
}

// step takes the next transaction. It reports done at the tail, or at the first one
// that is too late.
func (b *builder) step(ctx context.Context, s *scanner, ends ...int64) (done bool, err error) {
	if err := ctx.Err(); err != nil {
		return true, err
	}
	pos := b.index.TopPos
	t, tl, err := s.next(pos, b.last)
	if err == nil && tl == tailVoted {
		err = s.checkVotedIsLast(pos, b.last)
	}
	if errors.Is(err, io.EOF) || err == nil && (tl == tailVoted || tl == tailNone && t.tid > b.max) {
		return true, nil
	}
	var entries []entry
	if err == nil && tl == tailNone {
		entries, err = s.records(&t)
	}
	var damage *damageError
	switch {
	case err == nil && tl == tailNone:
		return false, b.take(s, &t, entries, nil)
	case err != nil && !errors.As(err, &damage):
		return true, err
	}
	sv, mendErr := s.survey(pos, b.last, b.before)
	switch {
	case mendErr == nil && sv.tid > b.max:
		return true, nil
	case mendErr == nil:
		sv.note(err)
		return false, b.take(s, &sv.txn, sv.entries, sv)
	case !errors.As(mendErr, &damage):
		return true, mendErr
	case err == nil:
		return true, nil // a tail that is none
	}
	return b.skip(s, pos, err, ends)
}

// before tells where the newest record of an object is.
func (b *builder) before(oid zodb.Oid) int64 {
	pos, _ := b.index.Get(oid)
	return pos
}

func (b *builder) take(s *scanner, t *txn, entries []entry, sv *survey) error {
	b.lastRaw = nil
	if sv != nil {
		b.lastRaw = new([16]byte)
		if _, err := s.f.ReadAt(b.lastRaw[:], t.pos); err != nil {
			return err
		}
		if err := b.addTxn(sv); err != nil {
			return fmt.Errorf("%w: %w", sv.why, err)
		}
	}
	b.last, b.lastPos = t.tid, t.pos
	if t.status == statusPacked {
		b.packed = t.tid
	}
	if err := b.add(s, b.index, t, entries); err != nil || b.taken == nil {
		return err
	}
	return b.taken(t, entries, sv)
}

// skip goes on behind what cannot be told, if it is known where that is.
func (b *builder) skip(s *scanner, pos int64, why error, ends []int64) (bool, error) {
	for _, end := range append([]int64{s.size}, ends...) {
		at, err := s.boundaryBehind(pos, end)
		var damage *damageError
		if err != nil && !errors.As(err, &damage) {
			return true, err
		}
		if at == 0 || at == s.size {
			continue
		}
		if err := b.addGap(gap{b.last + 1, pos, at, why}); err != nil {
			return true, fmt.Errorf("%w: %w", why, err)
		}
		b.index.TopPos = at
		return false, nil
	}
	return true, why
}
