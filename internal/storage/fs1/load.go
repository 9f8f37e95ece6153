package fs1

import (
	"bytes"
	"compress/zlib"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"lab.nexedi.com/kirr/neo/go/zodb"
	fsfmt "lab.nexedi.com/kirr/neo/go/zodb/storage/fs1"

	"github.com/wcfs/wcfs/internal/storage"
)

// maxUnpacked bounds what a compressed record may grow to.
const maxUnpacked = 256 << 20

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
	var damage *damageError
	switch {
	case errors.As(err, &noData) && noData.DeletedAt == 0 && xid.At < src.packedAt:
		return &storage.PackedError{Xid: xid, PackTime: src.packedAt}
	case errors.As(err, &damage):
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
	var damage *damageError // declared here, because it costs an allocation
	if !errors.As(err, &damage) || scanned {
		return nil, 0, err
	}
	if err := s.reindex(ctx, df, damage); err != nil {
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
	df *dataFile
	f  io.ReaderAt
	at place
	dh fsfmt.DataHeader
	b  [fsfmt.DataHeaderSize]byte

	dataEnd int64 // of the transaction around the record in dh, after check
}

// load finds the record of xid in df, whose newest one is at p, and takes its data.
func (ld *loader) load(ctx context.Context, df *dataFile, xid zodb.Xid, p place, data take) (buf *storage.Buf, serial zodb.Tid, err error) {
	defer func() {
		if r := recover(); r != nil { // the format library does this
			buf, serial, err = nil, 0, damagedRecord(p.pos, "%v", r)
		}
	}()
	ld.df, ld.f, ld.at = df, df.f, p
	serial, err = ld.find(ctx, xid, p.pos)
	if err != nil || data == nil {
		return nil, serial, err
	}
	buf, err = data(ld)
	return buf, serial, err
}

// checkCtxEvery is how many steps of a chain are made without looking at ctx.
const checkCtxEvery = 256

// find leaves the record that has the data of xid in ld.dh. pos is the newest
// record of the object. Positions strictly decrease along all chains, which
// the format library checks.
func (ld *loader) find(ctx context.Context, xid zodb.Xid, pos int64) (serial zodb.Tid, err error) {
	if pos < firstDataPos || pos > ld.at.end-fsfmt.DataHeaderSize {
		return 0, damagedRecord(pos, "is outside of the %d bytes of the file", ld.at.end)
	}
	if err := ld.dh.Load(ld.f, pos); err != nil {
		return 0, asDamage(pos, err)
	}
	if ld.dh.Oid != xid.Oid {
		return 0, damagedRecord(pos, "is of object %s, not of %s", ld.dh.Oid, xid.Oid)
	}
	if err := ld.check(); err != nil {
		return 0, err
	}
	for step := 1; ld.dh.Tid > xid.At; step++ {
		if ld.dh.PrevRevPos == 0 {
			return 0, &zodb.NoDataError{Oid: xid.Oid}
		}
		if step%checkCtxEvery == 0 && ctx.Err() != nil {
			return 0, ctx.Err()
		}
		err := ld.dh.LoadPrevRev(ld.f)
		if err == nil && step%waypointEvery == 0 {
			err = ld.jump(xid, step == waypointEvery)
		}
		if err == nil {
			err = ld.check()
		}
		if err != nil {
			return 0, asDamage(pos, err)
		}
	}
	serial = ld.dh.Tid
	for step := 1; ld.dh.DataLen == 0; step++ {
		if step%checkCtxEvery == 0 && ctx.Err() != nil {
			return 0, ctx.Err()
		}
		err := ld.dh.LoadBack(ld.f)
		if err == nil {
			err = ld.check()
		}
		switch {
		case err == io.EOF:
			return 0, &zodb.NoDataError{Oid: xid.Oid, DeletedAt: serial}
		case err != nil:
			return 0, asDamage(pos, err)
		}
	}
	return serial, nil
}

// jump is called at waypoints on the way to xid. At the first one it goes on from
// ld.dh to the nearest record that is remembered, if there is one between; the
// others it remembers.
func (ld *loader) jump(xid zodb.Xid, first bool) error {
	if !first {
		ld.df.ways.add(xid.Oid, waypoint{ld.dh.Tid, ld.dh.Pos})
		return nil
	}
	p, ok := ld.df.ways.near(xid.Oid, xid.At)
	if !ok || p.pos >= ld.dh.Pos {
		return nil
	}
	if err := ld.dh.Load(ld.f, p.pos); err != nil {
		return err
	}
	if ld.dh.Oid != xid.Oid || ld.dh.Tid != p.tid {
		return damagedRecord(p.pos, "it is not what it was")
	}
	return nil
}

// check checks the record in ld.dh, on which data or the way to it depends, against the
// transaction around it. Its length is compared with that, and that with the file, so
// memory can be asked for.
func (ld *loader) check() error {
	dh := &ld.dh
	if ld.at.damaged {
		if err := ld.df.badRecord(dh.Pos); err != nil {
			return err
		}
	}
	if _, err := ld.f.ReadAt(ld.b[:16], dh.TxnPos); err != nil {
		return asDamage(dh.Pos, err)
	}
	tid, length := zodb.Tid(binary.BigEndian.Uint64(ld.b[0:])), binary.BigEndian.Uint64(ld.b[8:])
	err := ld.within(tid, length)
	if err == nil {
		ld.dataEnd = dh.TxnPos + int64(length)
		return nil
	}
	// One of both is damaged.
	sv, mendErr := ld.df.surveyed(dh.TxnPos, 0, true)
	if mendErr != nil || sv.bad[dh.Pos] != nil {
		return err
	}
	if ld.within(sv.tid, uint64(sv.size-trailerSize)) != nil {
		return err
	}
	ld.dataEnd = sv.dataEnd()
	return nil
}

// checkNext checks that the record in ld.dh ends where the next one begins, or the
// transaction ends, if no scan has.
func (ld *loader) checkNext() error {
	end := ld.dh.Pos + ld.dh.Len()
	if ld.at.scanned || end == ld.dataEnd {
		return nil
	}
	if end+fsfmt.DataHeaderSize <= ld.dataEnd {
		if _, err := ld.f.ReadAt(ld.b[:], end); err != nil {
			return asDamage(ld.dh.Pos, err)
		}
		if h := decodeRecord(ld.b[:]); h.tid == ld.dh.Tid || h.tloc == uint64(ld.dh.TxnPos) {
			return nil
		}
	}
	return damagedRecord(ld.dh.Pos, "behind its %d bytes of data there is no other record", ld.dh.DataLen)
}

// within checks that the record in ld.dh is in a transaction with that tid and length.
func (ld *loader) within(tid zodb.Tid, length uint64) error {
	dh := &ld.dh
	if tid != dh.Tid || length > uint64(max(0, ld.at.end-trailerSize-dh.TxnPos)) {
		return damagedRecord(dh.Pos, "the transaction around it, at position %d, is another one", dh.TxnPos)
	}
	if dh.DataLen > dh.TxnPos+int64(length)-dh.Pos-fsfmt.DataHeaderSize {
		return damagedRecord(dh.Pos, "its %d bytes of data do not fit into its transaction", dh.DataLen)
	}
	return nil
}

// checkData checks the record in ld.dh and that its data ends where it should.
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
	if ld.dh.DataLen != 8 {
		return nil
	}
	if _, err := ld.f.ReadAt(ld.b[:8], ld.dh.Pos+fsfmt.DataHeaderSize); err != nil {
		return asDamage(ld.dh.Pos, err)
	}
	if binary.BigEndian.Uint64(ld.b[:]) < uint64(ld.dh.Pos) {
		return damagedRecord(ld.dh.Pos, "its 8 bytes of data are a pointer to the data of another record")
	}
	return nil
}

// data reads the data of the record in ld.dh.
func (ld *loader) data() (*storage.Buf, error) {
	if err := ld.checkData(); err != nil {
		return nil, err
	}
	dh := &ld.dh
	buf := storage.NewBuf(int(dh.DataLen))
	if _, err := ld.f.ReadAt(buf.Data, dh.Pos+fsfmt.DataHeaderSize); err != nil {
		buf.Release()
		return nil, asDamage(dh.Pos, err)
	}
	if len(buf.Data) > 2 && buf.Data[0] == '.' && buf.Data[1] == 'z' {
		return unpack(buf, dh.Pos)
	}
	return buf, nil
}

// stream calls f with the data of the record in ld.dh.
func (ld *loader) stream(f func(r io.Reader) error) error {
	if err := ld.checkData(); err != nil {
		return err
	}
	data := io.NewSectionReader(ld.f, ld.dh.Pos+fsfmt.DataHeaderSize, ld.dh.DataLen)
	var head [2]byte
	if n, _ := data.ReadAt(head[:], 0); n < len(head) || head != [2]byte{'.', 'z'} || data.Size() == 2 {
		return f(data)
	}
	pos := ld.dh.Pos
	z, err := zlib.NewReader(io.NewSectionReader(data, 2, data.Size()-2))
	if err == nil {
		err = f(io.LimitReader(z, maxUnpacked))
	}
	if errors.Is(err, zlib.ErrHeader) || errors.Is(err, zlib.ErrChecksum) || errors.Is(err, io.ErrUnexpectedEOF) {
		return damagedRecord(pos, "cannot be decompressed: %s", err)
	}
	return err
}

// unpack undoes the compression of zc.zlibstorage. It takes over buf.
func unpack(buf *storage.Buf, pos int64) (*storage.Buf, error) {
	defer buf.Release()
	plain, err := unpackBounded(buf.Data, maxUnpacked)
	if err != nil {
		return nil, damagedRecord(pos, "cannot be decompressed: %s", err)
	}
	out := storage.NewBuf(len(plain))
	copy(out.Data, plain)
	return out, nil
}

// unpackBounded returns what data, which begins with ".z", was before it was
// compressed: at least one byte and at most limit.
func unpackBounded(data []byte, limit int64) ([]byte, error) {
	z, err := zlib.NewReader(bytes.NewReader(data[2:]))
	if err != nil {
		return nil, err
	}
	var plain bytes.Buffer
	n, err := io.Copy(&plain, io.LimitReader(z, limit+1))
	switch {
	case err != nil:
		return nil, err
	case n > limit:
		return nil, fmt.Errorf("it would become more than %d bytes", limit)
	case n == 0:
		return nil, errors.New("nothing is in it")
	}
	return plain.Bytes(), nil
}
