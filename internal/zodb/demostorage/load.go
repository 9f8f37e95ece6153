package demostorage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// Load implements storage.Loader.
func (s *Storage) Load(ctx context.Context, xid zodb.Xid) (*storage.Buf, zodb.Tid, error) {
	var got storage.Loaded
	got.Serial, got.Err = s.find(ctx, xid, func(p part, xid zodb.Xid) (zodb.Tid, error) {
		got.Buf, got.Serial, got.Err = p.Load(ctx, xid)
		return got.Serial, got.Err
	})
	got = found(got)
	return got.Buf, got.Serial, got.Err
}

// found is what Load returns for a record that was taken. A search may fail after that.
func found(got storage.Loaded) storage.Loaded {
	if got.Err != nil && got.Buf != nil {
		got.Buf.Release()
		got.Buf = nil
	}
	return got
}

// Serial implements storage.Serialer, by a load if a part does not.
func (s *Storage) Serial(ctx context.Context, xid zodb.Xid) (zodb.Tid, error) {
	return s.find(ctx, xid, func(p part, xid zodb.Xid) (zodb.Tid, error) { return storage.Serial(ctx, p, xid) })
}

// Stream implements storage.Streamer, by a load if a part does not.
func (s *Storage) Stream(ctx context.Context, xid zodb.Xid, f func(r io.Reader) error) (zodb.Tid, error) {
	var failed error // what f returned, which says nothing about the object
	serial, err := s.find(ctx, xid, func(p part, xid zodb.Xid) (zodb.Tid, error) {
		g := func(r io.Reader) error {
			failed = f(r)
			return failed
		}
		serial, err := streamIn(ctx, p, xid, g)
		if failed != nil {
			err = errConsumer
		}
		return serial, err
	})
	if failed != nil {
		err = fmt.Errorf("%s: stream %s: %w", s.URL(), xid, failed)
	}
	return serial, err
}

var errConsumer = errors.New("the consumer of the record failed")

func streamIn(ctx context.Context, p part, xid zodb.Xid, f func(r io.Reader) error) (zodb.Tid, error) {
	if p, ok := p.(storage.Streamer); ok {
		return p.Stream(ctx, xid, f)
	}
	buf, serial, err := p.Load(ctx, xid)
	if err != nil {
		return 0, err
	}
	defer buf.Release()
	return serial, f(bytes.NewReader(buf.Data))
}

// take does with a record of a part what the caller wants. It fails like a Load.
type take = func(p part, xid zodb.Xid) (serial zodb.Tid, err error)

// find finds the record of xid, and takes it.
func (s *Storage) find(ctx context.Context, xid zodb.Xid, take take) (serial zodb.Tid, err error) {
	return s.findBy(ctx, xid, take, func() error { return s.errBefore(ctx, xid.Oid) })
}

// errBefore returns what the delta says of an object before all that is in the delta.
func (s *Storage) errBefore(ctx context.Context, oid zodb.Oid) error {
	_, err := storage.Serial(ctx, s.delta, zodb.Xid{At: s.frozen, Oid: oid})
	return err
}

// findBy is find with another errBefore.
func (s *Storage) findBy(ctx context.Context, xid zodb.Xid, take take, before func() error) (serial zodb.Tid, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	xid.At = min(xid.At, zodb.TidMax)
	switch head := s.Head(); {
	case s.isClosed():
		return 0, storage.ErrClosed
	case xid.At > head:
		return 0, &storage.FutureViewError{At: xid.At, Head: head}
	case xid.At <= s.frozen:
		return s.inBase(xid, take)
	}
	serial, notThere := take(s.delta, xid)
	if !storage.IsNoData(notThere) {
		return serial, partError("delta", notThere)
	}
	serial, err = s.inBase(zodb.Xid{At: s.frozen, Oid: xid.Oid}, take)
	if err != nil && !storage.IsNoData(err) {
		return 0, err
	}
	since, deletedErr := s.deletedIn(ctx, xid, notThere, before)
	switch {
	case deletedErr != nil:
		return 0, deletedErr
	case err != nil && since != 0:
		return 0, &zodb.NoDataError{Oid: xid.Oid, DeletedAt: since}
	}
	return max(serial, since), err
}

// inBase finds the record of xid in the base, and takes it.
func (s *Storage) inBase(xid zodb.Xid, take take) (zodb.Tid, error) {
	serial, err := take(s.base, xid)
	var packed *storage.PackedError
	if storage.IsNoData(err) || errors.As(err, &packed) {
		if lost := s.lostBase(); lost != nil {
			return 0, lost
		}
	}
	return serial, partError("base", err)
}

// deletedIn returns the tid of the transaction of the delta that has deleted the object,
// so that it is in view xid.At as it was in the base; 0 if there is none. notThere is the
// error of the delta, and before is errBefore.
func (s *Storage) deletedIn(ctx context.Context, xid zodb.Xid, notThere error, before func() error) (zodb.Tid, error) {
	var noData *zodb.NoDataError
	if errors.As(notThere, &noData) {
		return noData.DeletedAt, nil
	}
	// Drivers that cannot tell what was deleted from what has never been there can do so
	// for a view in which it was not created yet.
	err := before()
	var never *zodb.NoObjectError
	var packed *storage.PackedError
	switch {
	case errors.As(err, &never):
		return 0, nil
	case err != nil && !storage.IsNoData(err) && !errors.As(err, &packed):
		return 0, partError("delta", err)
	}
	tid, err := s.past.changed(ctx, s.delta, xid)
	if err != nil || tid != 0 {
		return tid, partError("delta", err)
	}
	_, newest := packs(s.delta)
	return min(newest, xid.At), nil
}

// partError says which part has failed, if it is not what callers decide by.
func partError(name string, err error) error {
	var future *storage.FutureViewError
	down, isDown := err.(*storage.DownError)
	switch {
	case err == nil:
		return nil
	case isDown:
		return &storage.DownError{Err: fmt.Errorf("%s: %w", name, down.Err)}
	case storage.IsNoData(err), errors.As(err, &future), errors.Is(err, storage.ErrClosed), errors.Is(err, errConsumer),
		err == context.Canceled, err == context.DeadlineExceeded:
		return err
	}
	return fmt.Errorf("%s: %w", name, err)
}
