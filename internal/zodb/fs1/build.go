package fs1

import (
	"context"
	"errors"
	"fmt"
	"io"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/fsformat"
)

// builder makes an index from the data, transaction by transaction. It notes
// damage.
type builder struct {
	index *fsformat.Index
	damages
	last    zodb.Tid // the last transaction
	lastPos int64
	lastRaw *fsformat.Txn                                                     // its header as it stands there, if that is damaged
	packed  zodb.Tid                                                          // the last one that a pack wrote
	max     zodb.Tid                                                          // later ones are not taken
	taken   func(t *fsformat.Txn, entries []fsformat.Entry, sv *survey) error // told each, unless it is nil
}

// step takes the next transaction. It reports done at the tail, or at the first one
// that is too late.
func (b *builder) step(ctx context.Context, s *fsformat.Scanner) (done bool, err error) {
	if err := ctx.Err(); err != nil {
		return true, err
	}
	pos := b.index.TopPos
	t, tl, err := s.Next(pos, b.last)
	if err == nil && tl == fsformat.VotedTail {
		err = s.CheckVotedIsLast(pos, b.last)
	}
	if errors.Is(err, io.EOF) || err == nil && (tl == fsformat.VotedTail || tl == fsformat.NoTail && t.Tid > b.max) {
		return true, nil
	}
	var entries []fsformat.Entry
	if err == nil && tl == fsformat.NoTail {
		entries, err = s.Records(&t)
	}
	switch {
	case err == nil && tl == fsformat.NoTail:
		return false, b.take(s, &t, entries, nil)
	case err != nil && !fsformat.IsDamage(err):
		return true, err
	}
	sv, mendErr := takeSurvey(s, pos, b.last, b.before)
	switch {
	case mendErr == nil && sv.Tid > b.max:
		return true, nil
	case mendErr == nil:
		sv.note(err)
		return false, b.take(s, &sv.Txn, sv.entries, sv)
	case !fsformat.IsDamage(mendErr):
		return true, mendErr
	case err == nil:
		return true, nil // a tail that is none
	}
	return b.skip(s, pos, err)
}

// before tells where the newest record of an object is.
func (b *builder) before(oid zodb.Oid) int64 {
	pos, _ := b.index.Get(oid)
	return pos
}

func (b *builder) take(s *fsformat.Scanner, t *fsformat.Txn, entries []fsformat.Entry, sv *survey) error {
	b.lastRaw = nil
	if sv != nil {
		raw, err := s.Txn(t.Pos)
		if err != nil {
			return err
		}
		b.lastRaw = &raw
		if err := b.addTxn(sv); err != nil {
			return fmt.Errorf("%w: %w", sv.why, err)
		}
	}
	b.last, b.lastPos = t.Tid, t.Pos
	if t.Status == fsformat.StatusPacked {
		b.packed = t.Tid
	}
	if err := b.add(s, b.index, t, entries); err != nil || b.taken == nil {
		return err
	}
	return b.taken(t, entries, sv)
}

// skip goes on behind what cannot be told, if it is known where that is.
func (b *builder) skip(s *fsformat.Scanner, pos int64, why error) (bool, error) {
	at, err := s.Boundary(pos, s.Size)
	if err != nil {
		return true, err
	}
	if at == 0 || at == s.Size {
		return true, why
	}
	if err := b.addGap(gap{b.last + 1, pos, at, why}); err != nil {
		return true, fmt.Errorf("%w: %w", why, err)
	}
	b.index.TopPos = at
	return false, nil
}
