package demostorage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// Storage is a delta over a base.
type Storage struct {
	base, delta part
	frozen      zodb.Tid // head of base, for ever
	opt         storage.Options
	past        past

	ctx      context.Context         // ends with Close, or when the storage goes down
	end      context.CancelCauseFunc // with ErrClosed or a *DownError
	failedAt atomic.Pointer[time.Time]
	watching sync.WaitGroup // the watcher of the base
	closing  sync.Once
	closeErr error // result of Close; valid after closing
}

var (
	_ storage.Storage  = (*Storage)(nil)
	_ storage.Iterator = (*Storage)(nil)
	_ storage.Packed   = (*Storage)(nil)
	_ storage.Serialer = (*Storage)(nil)
	_ storage.Streamer = (*Storage)(nil)
)

// newStorage returns a storage that owns its parts.
func newStorage(base, delta part, frozen zodb.Tid, opt storage.Options) storage.Storage {
	s := &Storage{base: base, delta: delta, frozen: frozen, opt: opt, past: newPast()}
	s.ctx, s.end = context.WithCancelCause(context.Background())
	keep(base, frozen)
	s.watching.Go(s.watchBase)
	for _, p := range []part{base, delta} {
		if _, ok := p.(storage.Reachable); ok {
			return &overServer{s}
		}
	}
	return s
}

// watchBase tells once that the base goes on, and ends the storage when the base ends.
func (s *Storage) watchBase() {
	warned := false
	for {
		ev, err := s.base.NextEvent(s.ctx)
		switch {
		case s.ctx.Err() != nil:
			return
		case err != nil:
			s.fail(partError("base", err))
			return
		case !warned:
			warned = true
			s.opt.Warn("%s: the base goes on with transaction @%s, which is not seen: the base of a database over another one must not change. It stays what it was @%s",
				s.URL(), ev.Tid, s.frozen)
		}
		if s.lostBase() != nil {
			return
		}
	}
}

// lostBase ends the storage if packs have removed something of the frozen view.
func (s *Storage) lostBase() error {
	if complete, _ := packs(s.base); complete > s.frozen {
		s.fail(fmt.Errorf("base: it was packed up to @%s, and what it was @%s, as which it is shown, is gone", complete, s.frozen))
		return s.ended()
	}
	return nil
}

// fail ends the storage because of err, unless it has ended.
func (s *Storage) fail(err error) {
	down, ok := err.(*storage.DownError)
	if !ok {
		down = &storage.DownError{Err: err}
	}
	now := time.Now()
	s.failedAt.CompareAndSwap(nil, &now)
	s.end(down)
}

// ended returns why the storage does not work any more, nil if it does.
func (s *Storage) ended() error { return context.Cause(s.ctx) }

// isClosed reports whether Close was called.
func (s *Storage) isClosed() bool { return errors.Is(s.ended(), storage.ErrClosed) }

// URL implements storage.Storage.
func (s *Storage) URL() string { return "demo:(" + s.base.URL() + ")/(" + s.delta.URL() + ")" }

// Head implements storage.Storage.
func (s *Storage) Head() zodb.Tid { return max(s.frozen, s.delta.Head()) }

// Sync implements storage.Storage.
func (s *Storage) Sync(ctx context.Context) (zodb.Tid, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if err := s.ended(); err != nil {
		return 0, err
	}
	head, err := s.delta.Sync(ctx)
	return max(s.frozen, head), partError("delta", err)
}

// NextEvent implements storage.Storage. Nobody but the delta commits.
func (s *Storage) NextEvent(ctx context.Context) (storage.Event, error) {
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	ev, err := s.delta.NextEvent(waiting)
	switch {
	case err == nil && ev.Tid > s.frozen:
		return ev, nil
	case err == nil:
		s.fail(fmt.Errorf("delta: transaction @%s is not after the last one of the base, @%s", ev.Tid, s.frozen))
	case s.ended() == nil && ctx.Err() != nil:
		return storage.Event{}, ctx.Err()
	case s.ended() == nil:
		s.fail(partError("delta", err))
	}
	if s.isClosed() {
		return storage.Event{}, io.EOF
	}
	return storage.Event{}, s.ended()
}

// Close implements storage.Storage.
func (s *Storage) Close() error {
	s.closing.Do(func() {
		s.end(storage.ErrClosed)
		s.closeErr = errors.Join(partError("delta", s.delta.Close()), partError("base", s.base.Close()))
	})
	s.watching.Wait()
	return s.closeErr
}

// DataFiles returns the files of both parts: see storage.DataFiles.
func (s *Storage) DataFiles() []string {
	return append(storage.DataFiles(s.base), storage.DataFiles(s.delta)...)
}
