package fs1

import (
	"context"
	"errors"
	"io/fs"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/storage"
)

var _ storage.Serialer = (*Storage)(nil)

// Serial implements storage.Serialer. It reads headers of records only, so what
// is wrong with the data of the record goes unnoticed.
func (s *Storage) Serial(ctx context.Context, xid zodb.Xid) (zodb.Tid, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	xid.At = min(xid.At, zodb.TidMax)
	for {
		src, err := s.sourceOf(xid.At)
		if err != nil {
			return 0, err
		}
		serial, err := s.serialFrom(ctx, src.file, xid)
		if src.fallback != nil && storage.IsNoData(err) {
			serial, err = s.serialFrom(ctx, src.fallback, xid)
		}
		if err == nil {
			return serial, nil
		}
		if errors.Is(err, fs.ErrClosed) {
			continue // by Close, or by a pack: then the source is another one
		}
		return 0, s.loadError(src, xid, err)
	}
}

// serialFrom asks df. What cannot be right is left to a load, which decides
// whether the index or the record is wrong.
func (s *Storage) serialFrom(ctx context.Context, df *dataFile, xid zodb.Xid) (zodb.Tid, error) {
	serial, err := s.readSerial(ctx, df, xid)
	var damage *damageError
	if err == nil || !errors.As(err, &damage) {
		return serial, err
	}
	buf, serial, err := s.loadFrom(ctx, df, xid)
	if err != nil {
		return 0, err
	}
	buf.Release()
	return serial, nil
}

// readSerial finds the record of xid in df.
func (s *Storage) readSerial(ctx context.Context, df *dataFile, xid zodb.Xid) (serial zodb.Tid, err error) {
	pos, end, ok := df.lookup(xid.Oid)
	if !ok {
		return 0, &zodb.NoObjectError{Oid: xid.Oid}
	}
	ld := s.loaders.Get().(*loader)
	defer func() {
		if r := recover(); r != nil { // the format library does this
			serial, err = 0, damagedRecord(pos, "%v", r)
		}
		s.loaders.Put(ld)
	}()
	ld.f, ld.end, ld.ways = df.f, end, &df.ways
	return ld.find(ctx, xid, pos)
}
