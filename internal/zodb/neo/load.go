package neo

import (
	"context"
	"crypto/sha1"
	"errors"
	"fmt"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/neoproto"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// Load implements remote.Session. A storage knows views by what they come before. It
// waits while a commit of the object is under way.
func (s *session) Load(ctx context.Context, xid zodb.Xid) (buf *storage.Buf, serial zodb.Tid, err error) {
	at := min(xid.At, zodb.TidMax-1)
	partition := int(uint64(xid.Oid) % uint64(s.partitions()))
	err = fromPartition(ctx, s, partition, &neoproto.AskObject{Oid: xid.Oid, Before: at + 1}, func(o *neoproto.Object, refused error) error {
		if refused != nil {
			return refusal(refused, xid.Oid)
		}
		buf, err = s.record(o, xid.Oid, at)
		serial = o.Serial
		return err
	})
	if err != nil {
		return nil, 0, loadError(err, xid)
	}
	return buf, serial, nil
}

// loadError says what was attempted.
func loadError(err error, xid zodb.Xid) error {
	var damaged *damageError
	switch {
	case storage.IsNoData(err):
		return err
	case errors.As(err, &damaged):
		return &storage.CorruptError{Oid: xid.Oid, Tid: damaged.serial, Err: fmt.Errorf("%s, on every storage that has it", damaged.msg)}
	}
	return wrap(err, "load %s", xid)
}

// refusal understands why a storage gives no revision.
func refusal(refused error, oid zodb.Oid) error {
	var e *neoproto.Error
	if !errors.As(refused, &e) {
		return refused
	}
	switch e.Kind {
	case neoproto.OidDoesNotExist:
		return &zodb.NoObjectError{Oid: oid}
	case neoproto.OidNotFound:
		return &zodb.NoDataError{Oid: oid}
	}
	return &elsewhereError{err: e} // most of all NonReadableCell: the partition has moved
}

// damageError says that a record is not what was stored.
type damageError struct {
	oid    zodb.Oid
	serial zodb.Tid
	msg    string
}

func (e *damageError) Error() string {
	return fmt.Sprintf("damaged record of object %s @%s: %s", e.oid, e.serial, e.msg)
}

func damagef(o *neoproto.Object, format string, args ...any) error {
	return &elsewhereError{err: &damageError{o.Oid, o.Serial, fmt.Sprintf(format, args...)}, damaged: true}
}

// record returns what an answer has, decompressed. It takes over the buffer of the answer.
func (s *session) record(o *neoproto.Object, oid zodb.Oid, at zodb.Tid) (*storage.Buf, error) {
	buf, err := s.verified(o, oid, at)
	if err != nil {
		o.Data.Release()
		return nil, err
	}
	return buf, nil
}

func (s *session) verified(o *neoproto.Object, oid zodb.Oid, at zodb.Tid) (*storage.Buf, error) {
	data := o.Data.Data
	switch {
	case o.Oid != oid || o.Serial > at || !o.Serial.Valid():
		return nil, damagef(o, "it is the answer for object %s before @%s", oid, at+1)
	case o.Deleted():
		return nil, &zodb.NoDataError{Oid: oid, DeletedAt: o.Serial}
	case !s.cfg.IgnoreChecksums && sha1.Sum(data) != o.Checksum:
		return nil, damagef(o, "its checksum is wrong")
	case len(data) == 0:
		return nil, damagef(o, "it is empty")
	}
	buf := o.Data
	switch o.Compression {
	case neoproto.Plain:
	case neoproto.Zlib:
		plain, err := storage.Inflate(data, storage.MaxUnpacked)
		if err != nil {
			return nil, damagef(o, "it cannot be decompressed: %s", err)
		}
		buf = storage.NewBuf(len(plain))
		copy(buf.Data, plain)
		o.Data.Release()
		o.Data = buf
	default:
		return nil, damagef(o, "it is compressed in a way %d that is not known", o.Compression)
	}
	plain, err := storage.Plain(buf)
	if err != nil {
		o.Data = storage.NewBuf(0) // Plain has given the other one back
		return nil, damagef(o, "it cannot be decompressed: %s", err)
	}
	return plain, nil
}
