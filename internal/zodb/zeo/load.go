package zeo

import (
	"context"
	"errors"
	"fmt"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/pickle"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// Load implements remote.Session. A server knows views by what they come before, and
// does not tell whether an object that it has nothing of was deleted or never there.
func (s *session) Load(ctx context.Context, xid zodb.Xid) (*storage.Buf, zodb.Tid, error) {
	at := min(xid.At, zodb.TidMax-1)
	r, err := s.call(ctx, "loadBefore", bytes8(xid.Oid), bytes8(at+1))
	var exc *ServerError
	switch {
	case errors.As(err, &exc) && exc.Class == posKeyError:
		return nil, 0, &zodb.NoObjectError{Oid: xid.Oid}
	case err != nil:
		return nil, 0, s.wrap(err, "load %s", xid)
	}
	defer r.release()
	if r.value == nil {
		return nil, 0, &zodb.NoDataError{Oid: xid.Oid}
	}
	data, serial, err := s.revision(r.value)
	if err != nil {
		return nil, 0, s.wrap(err, "load %s", xid)
	}
	buf, err := record(data)
	if err == nil && serial > at {
		err = fmt.Errorf("the server answers for view @%s with a revision of @%s", at, serial)
	}
	if err != nil {
		return nil, 0, &storage.CorruptError{Oid: xid.Oid, Tid: serial, Err: err}
	}
	return buf, serial, nil
}

// revision understands (data, serial, serial of the next revision or None).
func (s *session) revision(value any) (data pickle.Bytes, serial zodb.Tid, err error) {
	parts, ok := items(value)
	if !ok || len(parts) != 3 {
		return "", 0, s.violation("loadBefore", value)
	}
	data, ok1 := parts[0].(pickle.Bytes)
	serial, ok2 := tidOf(parts[1])
	if !ok1 || !ok2 {
		return "", 0, s.violation("loadBefore", value)
	}
	return data, serial, nil
}

// record copies a record out of its frame.
func record(data pickle.Bytes) (*storage.Buf, error) {
	if len(data) == 0 {
		return nil, errors.New("the record is empty")
	}
	buf := storage.NewBuf(len(data))
	copy(buf.Data, data)
	plain, err := storage.Plain(buf)
	if err != nil {
		return nil, fmt.Errorf("it cannot be decompressed: %w", err)
	}
	return plain, nil
}

// Last implements remote.Session.
func (s *session) Last(ctx context.Context) (zodb.Tid, error) {
	r, err := s.call(ctx, "lastTransaction")
	if err != nil {
		return 0, s.wrap(err, "ask for the last transaction")
	}
	tid, ok := tidOf(r.value)
	if !ok {
		return 0, s.violation("lastTransaction", r.value)
	}
	return tid, nil
}

// wrap says what was attempted. Errors of contexts stay as they are.
func (s *session) wrap(err error, format string, args ...any) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return fmt.Errorf(format+": %w", append(args, err)...)
}
