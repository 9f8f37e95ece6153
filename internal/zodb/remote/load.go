package remote

import (
	"context"
	"fmt"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// Load implements storage.Loader.
func (s *Storage) Load(ctx context.Context, xid zodb.Xid) (*storage.Buf, zodb.Tid, error) {
	xid.At = min(xid.At, zodb.TidMax)
	if err := s.canLoad(ctx, xid.At); err != nil {
		return nil, 0, err
	}
	var got storage.Loaded
	got.Err = s.call(ctx, s.newPatience(), func(c *conn) error {
		return s.answered(ctx, func(ctx context.Context) (err error) {
			got.Buf, got.Serial, err = c.session.Load(ctx, xid)
			return err
		})
	})
	got = s.checked(ctx, xid, got)
	return got.Buf, got.Serial, got.Err
}

// LoadsMany says that LoadMany is one question to the server, if sessions can ask it: see
// storage.Many.
func (s *Storage) LoadsMany() bool { return s.together }

// LoadMany implements storage.ManyLoader.
func (s *Storage) LoadMany(ctx context.Context, xids []zodb.Xid) []storage.Loaded {
	q := &question{all: make([]storage.Loaded, len(xids)), xids: make([]zodb.Xid, len(xids))}
	for i, xid := range xids {
		xid.At = min(xid.At, zodb.TidMax)
		q.xids[i] = xid
		if q.all[i].Err = s.canLoad(ctx, xid.At); q.all[i].Err == nil {
			q.open = append(q.open, i)
		}
	}
	asked := q.open
	if len(asked) == 0 {
		return q.all
	}
	err := s.call(ctx, s.newPatience(), func(c *conn) error {
		return s.answered(ctx, func(ctx context.Context) error { return q.ask(ctx, c) })
	})
	for _, i := range q.open {
		q.all[i] = storage.Loaded{Err: err}
	}
	for _, i := range asked {
		q.all[i] = s.checked(ctx, q.xids[i], q.all[i])
	}
	return q.all
}

// question is a LoadMany under way.
type question struct {
	xids []zodb.Xid
	all  []storage.Loaded
	open []int // objects without an answer
}

// ask asks a session for all that is open. An error of an object is no answer if the session
// has ended, or ctx: it is open again, and ask returns that error.
func (q *question) ask(ctx context.Context, c *conn) (err error) {
	xids := make([]zodb.Xid, len(q.open))
	for k, i := range q.open {
		xids[k] = q.xids[i]
	}
	answers := storage.LoadMany(ctx, c.session, xids)
	over := ctx.Err() != nil || c.lost()
	var open []int
	for k, i := range q.open {
		q.all[i] = answers[k]
		if over && answers[k].Err != nil {
			open, err = append(open, i), answers[k].Err
		}
	}
	q.open = open
	return err
}

// checked is what Load returns for what a load of xid came to.
func (s *Storage) checked(ctx context.Context, xid zodb.Xid, got storage.Loaded) storage.Loaded {
	err := got.Err
	switch {
	case err != nil && (storage.IsNoData(err) || s.asItIs(ctx, err)):
		return storage.Loaded{Err: err}
	case err != nil:
		return storage.Loaded{Err: fmt.Errorf("%s: load %s: %w", s.cfg.URL, xid, err)}
	case len(got.Buf.Data) == 0 || got.Serial == 0 || got.Serial > xid.At:
		err := fmt.Errorf("the server gave %d bytes of transaction @%s", len(got.Buf.Data), got.Serial)
		got.Buf.Release()
		return storage.Loaded{Err: &storage.CorruptError{Oid: xid.Oid, Tid: xid.At, Err: err}}
	}
	s.seen.loaded(xid, got.Serial)
	return got
}

func (s *Storage) canLoad(ctx context.Context, at zodb.Tid) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(); err != nil {
		return err
	}
	if at > s.head {
		return &storage.FutureViewError{At: at, Head: s.head}
	}
	return nil
}
