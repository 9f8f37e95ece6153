package postgresql

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/jackc/pgx/v5/pgconn"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// maxID is the greatest oid or tid that a column holds.
const maxID = math.MaxInt64

// Load implements remote.Session.
func (s *session) Load(ctx context.Context, xid zodb.Xid) (buf *storage.Buf, serial zodb.Tid, err error) {
	if xid.Oid > maxID {
		return nil, 0, &zodb.NoObjectError{Oid: xid.Oid}
	}
	params := [][]byte{bigint(uint64(xid.Oid)), bigint(min(uint64(xid.At), maxID))}
	err = s.with(ctx, func(c *pgconn.PgConn) error {
		found := false
		err := rows(c.ExecPrepared(ctx, stmtLoad, params, binaryFormat, binaryFormat), func(values [][]byte) (err error) {
			found = true
			buf, serial, err = recordOf(values, xid.Oid)
			return err
		})
		if err == nil && !found {
			err = absent(ctx, c, xid.Oid)
		}
		if err != nil && buf != nil { // the connection broke after the row
			buf.Release()
			buf = nil
		}
		return err
	})
	if err != nil {
		return nil, 0, loadError(err, xid)
	}
	return buf, serial, nil
}

// recordOf returns the record of a row, decompressed.
func recordOf(values [][]byte, oid zodb.Oid) (*storage.Buf, zodb.Tid, error) {
	tid, err := number(values[0])
	if err != nil {
		return nil, 0, &answerError{err}
	}
	serial, state := zodb.Tid(tid), values[1]
	if state == nil {
		return nil, 0, &answerError{&zodb.NoDataError{Oid: oid, DeletedAt: serial}}
	}
	buf := storage.NewBuf(len(state))
	copy(buf.Data, state)
	plain, err := storage.Plain(buf)
	if err != nil {
		return nil, 0, &answerError{&storage.CorruptError{Oid: oid, Tid: serial, Err: fmt.Errorf("it cannot be decompressed: %w", err)}}
	}
	return plain, serial, nil
}

// absent says whether an object that a view does not have is there in another one.
func absent(ctx context.Context, c *pgconn.PgConn, oid zodb.Oid) error {
	known := false
	err := rows(c.ExecPrepared(ctx, stmtKnown, [][]byte{bigint(uint64(oid))}, binaryFormat, binaryFormat), func([][]byte) error {
		known = true
		return nil
	})
	switch {
	case err != nil:
		return err
	case known:
		return &answerError{&zodb.NoDataError{Oid: oid}}
	}
	return &answerError{&zodb.NoObjectError{Oid: oid}}
}

// loadError says what was attempted.
func loadError(err error, xid zodb.Xid) error {
	var answer *answerError
	switch {
	case errors.As(err, &answer):
		return answer.error
	case isDamage(err):
		return &storage.CorruptError{Oid: xid.Oid, Tid: xid.At, Err: err}
	}
	return wrap(err, "load %s", xid)
}

// wrap says what was attempted. Errors of contexts stay as they are.
func wrap(err error, format string, args ...any) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return fmt.Errorf(format+": %w", append(args, err)...)
}
