package fs1

import (
	"compress/zlib"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/fsformat"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

var _ storage.Serialer = (*Storage)(nil)

// Load implements storage.Loader.
func (s *Storage) Load(ctx context.Context, xid zodb.Xid) (*storage.Buf, zodb.Tid, error) {
	return s.find(ctx, xid, (*loader).data)
}

// Serial implements storage.Serialer. It reads headers of records only, so what
// is wrong with the data of the record goes unnoticed.
func (s *Storage) Serial(ctx context.Context, xid zodb.Xid) (zodb.Tid, error) {
	_, serial, err := s.find(ctx, xid, nil)
	return serial, err
}

var _ storage.Streamer = (*Storage)(nil)

// Stream implements storage.Streamer.
func (s *Storage) Stream(ctx context.Context, xid zodb.Xid, f func(r io.Reader) error) (zodb.Tid, error) {
	_, serial, err := s.find(ctx, xid, func(ld *loader) (*storage.Buf, error) { return nil, ld.stream(f) })
	return serial, err
}

// take is what is done with a record that was found: nothing if it is nil.
type take = func(*loader) (*storage.Buf, error)

// find finds the record of xid, and takes its data.
func (s *Storage) find(ctx context.Context, xid zodb.Xid, data take) (*storage.Buf, zodb.Tid, error) {
	if err := ctx.Err(); err != nil {
		return nil, 0, err
	}
	xid.At = min(xid.At, zodb.TidMax)
	for {
		src, err := s.sourceOf(xid)
		if err != nil {
			return nil, 0, err
		}
		buf, serial, err := s.findIn(ctx, src.file, xid, data)
		if err == nil {
			return buf, serial, nil
		}
		if errors.Is(err, fs.ErrClosed) {
			continue // by Close, or by a pack: then the source is another one
		}
		return nil, 0, s.loadError(src, xid, err)
	}
}

// loadError gives err the form that callers know.
func (s *Storage) loadError(src source, xid zodb.Xid, err error) error {
	var noData *zodb.NoDataError
	switch {
	case errors.As(err, &noData) && noData.DeletedAt == 0 && xid.At < src.packedAt:
		return &storage.PackedError{Xid: xid, PackTime: src.packedAt}
	case fsformat.IsDamage(err):
		return &storage.CorruptError{Oid: xid.Oid, Tid: xid.At, Err: err}
	case storage.IsNoData(err), errors.Is(err, storage.ErrClosed),
		errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	}
	return fmt.Errorf("%s: load %s: %w", s.url, xid, err)
}

// findIn is find in df. If the record that a saved index points to cannot be
// right, the index is not: it is rebuilt, once, and asked again.
func (s *Storage) findIn(ctx context.Context, df *dataFile, xid zodb.Xid, data take) (*storage.Buf, zodb.Tid, error) {
	scanned := df.wasScanned() // before the read, because another load may have it rebuilt meanwhile
	buf, serial, err := s.read(ctx, df, xid, data)
	if err == nil {
		return buf, serial, nil
	}
	if !fsformat.IsDamage(err) || scanned {
		return nil, 0, err
	}
	if err := s.reindex(ctx, df, err); err != nil {
		return nil, 0, err
	}
	return s.read(ctx, df, xid, data)
}

// read finds the record of xid in df, and takes its data.
func (s *Storage) read(ctx context.Context, df *dataFile, xid zodb.Xid, data take) (*storage.Buf, zodb.Tid, error) {
	p, ok, err := df.lookup(xid)
	if err != nil {
		return nil, 0, err
	}
	if !ok {
		return nil, 0, &zodb.NoObjectError{Oid: xid.Oid}
	}
	ld := s.loaders.Get().(*loader)
	defer s.loaders.Put(ld)
	return ld.load(ctx, df, xid, p, data)
}

// loader is the state of one load. It is re-used to save allocations.
type loader struct {
	df  *dataFile
	at  place
	rec fsformat.Cursor

	dataEnd int64 // of the transaction around rec, after check
}

// load finds the record of xid in df, whose newest one is at p, and takes its data.
func (ld *loader) load(ctx context.Context, df *dataFile, xid zodb.Xid, p place, data take) (buf *storage.Buf, serial zodb.Tid, err error) {
	ld.df, ld.rec.F, ld.at = df, df.f, p
	serial, err = ld.find(ctx, xid, p.pos)
	if err != nil || data == nil {
		return nil, serial, err
	}
	buf, err = data(ld)
	return buf, serial, err
}

// checkCtxEvery is how many steps of a chain are made without looking at ctx.
const checkCtxEvery = 256

// find leaves ld.rec at the record that has the data of xid. pos is the newest
// record of the object. Positions strictly decrease along all chains, which
// a cursor checks.
func (ld *loader) find(ctx context.Context, xid zodb.Xid, pos int64) (serial zodb.Tid, err error) {
	if pos < fsformat.FirstDataPos || pos > ld.at.end-fsformat.RecordSize {
		return 0, fsformat.DamagedRecord(pos, "is outside of the %d bytes of the file", ld.at.end)
	}
	if err := ld.rec.Load(pos); err != nil {
		return 0, err
	}
	if ld.rec.Oid != xid.Oid {
		return 0, fsformat.DamagedRecord(pos, "is of object %s, not of %s", ld.rec.Oid, xid.Oid)
	}
	if err := ld.check(); err != nil {
		return 0, err
	}
	for step := 1; ld.rec.Tid > xid.At; step++ {
		if ld.rec.Prev == 0 {
			return 0, &zodb.NoDataError{Oid: xid.Oid}
		}
		if step%checkCtxEvery == 0 && ctx.Err() != nil {
			return 0, ctx.Err()
		}
		err := ld.rec.LoadPrev()
		if err == nil && step%waypointEvery == 0 {
			err = ld.jump(xid, step == waypointEvery)
		}
		if err == nil {
			err = ld.check()
		}
		if err != nil {
			return 0, err
		}
	}
	serial = ld.rec.Tid
	for step := 1; ld.rec.DataLen == 0; step++ {
		if step%checkCtxEvery == 0 && ctx.Err() != nil {
			return 0, ctx.Err()
		}
		exists, err := ld.rec.LoadBack()
		if err == nil && exists {
			err = ld.check()
		}
		switch {
		case err != nil:
			return 0, err
		case !exists:
			return 0, &zodb.NoDataError{Oid: xid.Oid, DeletedAt: serial}
		}
	}
	return serial, nil
}

// jump is called at waypoints on the way to xid. At the first one it goes on from
// ld.rec to the nearest record that is remembered, if there is one between; the
// others it remembers.
func (ld *loader) jump(xid zodb.Xid, first bool) error {
	if !first {
		ld.df.ways.add(xid.Oid, waypoint{ld.rec.Tid, ld.rec.Pos})
		return nil
	}
	p, ok := ld.df.ways.near(xid.Oid, xid.At)
	if !ok || p.pos >= ld.rec.Pos {
		return nil
	}
	if err := ld.rec.Load(p.pos); err != nil {
		return err
	}
	if ld.rec.Oid != xid.Oid || ld.rec.Tid != p.tid {
		return fsformat.DamagedRecord(p.pos, "it is not what it was")
	}
	return nil
}

// check checks ld.rec, on which data or the way to it depends, against the
// transaction around it. Its length is compared with that, and that with the file, so
// memory can be asked for.
func (ld *loader) check() error {
	rec := &ld.rec
	if ld.at.damaged {
		if err := ld.df.badRecord(rec.Pos); err != nil {
			return err
		}
	}
	t, err := rec.TxnAt(rec.Txn)
	if err != nil {
		return err
	}
	if err = ld.within(&t); err == nil {
		ld.dataEnd = t.DataEnd()
		return nil
	}
	// One of both is damaged.
	sv, mendErr := ld.df.surveyed(rec.Txn, 0, true)
	if mendErr != nil || sv.bad[rec.Pos] != nil || ld.within(&sv.Txn) != nil {
		return err
	}
	ld.dataEnd = sv.DataEnd()
	return nil
}

// checkNext checks that ld.rec ends where the next one begins, or the transaction ends, if
// no scan has.
func (ld *loader) checkNext() error {
	rec := &ld.rec
	if ld.at.scanned || rec.End() == ld.dataEnd {
		return nil
	}
	if rec.End()+fsformat.RecordSize <= ld.dataEnd {
		next, err := rec.Peek(rec.End())
		if err != nil {
			return err
		}
		if next.Tid == rec.Tid || next.Txn == rec.Txn {
			return nil
		}
	}
	return fsformat.DamagedRecord(rec.Pos, "behind its %d bytes of data there is no other record", rec.DataLen)
}

// within checks that ld.rec is in t.
func (ld *loader) within(t *fsformat.Txn) error {
	rec := &ld.rec
	if t.Tid != rec.Tid || t.End() > ld.at.end {
		return fsformat.DamagedRecord(rec.Pos, "the transaction around it, at position %d, is another one", rec.Txn)
	}
	if rec.DataLen > t.DataEnd()-rec.DataPos() {
		return fsformat.DamagedRecord(rec.Pos, "its %d bytes of data do not fit into its transaction", rec.DataLen)
	}
	return nil
}

// checkData checks ld.rec and that its data ends where it should.
func (ld *loader) checkData() error {
	if err := ld.check(); err != nil {
		return err
	}
	if err := ld.checkNext(); err != nil {
		return err
	}
	return ld.checkPointer()
}

// checkPointer checks that the data is not a pointer back to other data, which is what
// follows a length of 0: with one wrong bit that is 8. No pickle begins as a position does.
func (ld *loader) checkPointer() error {
	if ld.rec.DataLen != 8 {
		return nil
	}
	n, err := ld.rec.Number(ld.rec.DataPos())
	if err == nil && uint64(n) < uint64(ld.rec.Pos) {
		err = fsformat.DamagedRecord(ld.rec.Pos, "its 8 bytes of data are a pointer to the data of another record")
	}
	return err
}

// data reads the data of ld.rec.
func (ld *loader) data() (*storage.Buf, error) {
	if err := ld.checkData(); err != nil {
		return nil, err
	}
	rec := &ld.rec
	buf := storage.NewBuf(int(rec.DataLen))
	if _, err := rec.F.ReadAt(buf.Data, rec.DataPos()); err != nil {
		buf.Release()
		return nil, fsformat.AsDamage(rec.Pos, err)
	}
	return plain(buf, rec.Pos)
}

// stream calls f with the data of ld.rec.
func (ld *loader) stream(f func(r io.Reader) error) error {
	if err := ld.checkData(); err != nil {
		return err
	}
	data := io.NewSectionReader(ld.rec.F, ld.rec.DataPos(), ld.rec.DataLen)
	var head [3]byte
	if n, _ := data.ReadAt(head[:], 0); !storage.IsPacked(head[:n]) {
		return f(data)
	}
	pos := ld.rec.Pos
	z, err := zlib.NewReader(io.NewSectionReader(data, 2, data.Size()-2))
	if err == nil {
		err = f(io.LimitReader(z, storage.MaxUnpacked))
	}
	if errors.Is(err, zlib.ErrHeader) || errors.Is(err, zlib.ErrChecksum) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fsformat.DamagedRecord(pos, "cannot be decompressed: %s", err)
	}
	return err
}

// plain undoes the compression of zc.zlibstorage. It takes over buf.
func plain(buf *storage.Buf, pos int64) (*storage.Buf, error) {
	buf, err := storage.Plain(buf)
	if err != nil {
		return nil, fsformat.DamagedRecord(pos, "cannot be decompressed: %s", err)
	}
	return buf, nil
}
