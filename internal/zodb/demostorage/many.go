package demostorage

import (
	"context"
	"errors"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/storage"
)

var _ storage.ManyLoader = (*Storage)(nil)

// LoadsMany says whether LoadMany is few questions: see storage.Many.
func (s *Storage) LoadsMany() bool {
	_, inBase := storage.Many(s.base)
	_, inDelta := storage.Many(s.delta)
	return inBase || inDelta
}

// LoadMany implements storage.ManyLoader. It asks the parts in three steps for all that the
// search for the objects will ask for, and then finds them one by one.
func (s *Storage) LoadMany(ctx context.Context, xids []zodb.Xid) []storage.Loaded {
	n := len(xids)
	a := answers{s: s, xids: xids, inBase: make([]storage.Loaded, n), inDelta: make([]storage.Loaded, n), before: make([]storage.Loaded, n)}
	a.fetch(ctx)
	all := make([]storage.Loaded, n)
	for i, xid := range xids {
		got := &all[i]
		got.Serial, got.Err = s.findBy(ctx, xid, func(p part, xid zodb.Xid) (zodb.Tid, error) {
			answer := a.answer(ctx, p, xid, i)
			got.Buf = answer.Buf
			return answer.Serial, answer.Err
		}, func() error {
			if a.before[i] == (storage.Loaded{}) {
				return s.errBefore(ctx, xid.Oid)
			}
			return a.before[i].Err
		})
		*got = found(*got)
	}
	return all
}

// answers is what the parts have answered about objects, in their order. It is zero for an
// object that they were not asked about.
type answers struct {
	s       *Storage
	xids    []zodb.Xid
	inBase  []storage.Loaded
	inDelta []storage.Loaded
	before  []storage.Loaded // in the delta before all that is in it
}

// answer returns the answer of a part about object i, as of a view that the search asks for. A
// view that was beyond head a moment ago may not be any more.
func (a *answers) answer(ctx context.Context, p part, xid zodb.Xid, i int) storage.Loaded {
	got := a.inDelta[i]
	if p == a.s.base {
		got = a.inBase[i]
	}
	if got == (storage.Loaded{}) {
		got.Buf, got.Serial, got.Err = p.Load(ctx, xid)
	}
	return got
}

// fetch asks the parts.
func (a *answers) fetch(ctx context.Context) {
	frozen, head := a.s.frozen, a.s.Head()
	a.ask(ctx, a.s.delta, a.inDelta, func(i int) (at zodb.Tid, ok bool) {
		at = min(a.xids[i].At, zodb.TidMax)
		return at, frozen < at && at <= head
	})
	a.ask(ctx, a.s.base, a.inBase, func(i int) (at zodb.Tid, ok bool) {
		at = min(a.xids[i].At, frozen)
		return at, at == a.xids[i].At || storage.IsNoData(a.inDelta[i].Err)
	})
	a.ask(ctx, a.s.delta, a.before, func(i int) (at zodb.Tid, ok bool) {
		var noData *zodb.NoDataError
		return frozen, storage.IsNoData(a.inDelta[i].Err) && !errors.As(a.inDelta[i].Err, &noData)
	})
}

// ask asks a part about those objects for which want tells a view.
func (a *answers) ask(ctx context.Context, p part, to []storage.Loaded, want func(i int) (at zodb.Tid, ok bool)) {
	var xids []zodb.Xid
	var of []int // index of each in a.xids
	for i := range a.xids {
		if at, ok := want(i); ok {
			xids, of = append(xids, zodb.Xid{At: at, Oid: a.xids[i].Oid}), append(of, i)
		}
	}
	for k, got := range storage.LoadMany(ctx, p, xids) {
		to[of[k]] = got
	}
}
