package postgresql

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/storage"
)

var _ storage.ManyLoader = (*session)(nil)

// LoadMany implements storage.ManyLoader, by one statement.
func (s *session) LoadMany(ctx context.Context, xids []zodb.Xid) []storage.Loaded {
	answers := make([]storage.Loaded, len(xids))
	err := s.with(ctx, func(c *pgconn.PgConn) error { return loadMany(ctx, c, xids, answers) })
	switch {
	case err == nil:
		return answers
	case isDamage(err): // of one of them, and the server does not say which
		for i, xid := range xids {
			buf, serial, err := s.Load(ctx, xid)
			answers[i] = storage.Loaded{Buf: buf, Serial: serial, Err: err}
		}
		return answers
	}
	for i, xid := range xids {
		answers[i].Err = loadError(err, xid)
	}
	return answers
}

// isDamage reports whether a statement failed because of what is stored.
func isDamage(err error) bool {
	var tooLong *pgproto3.ExceededMaxBodyLenErr
	code := codeOf(err)
	return code == dataCorrupted || code == indexCorrupted || errors.As(err, &tooLong)
}

// loadMany sets the answers for all of xids, to nothing if it fails.
func loadMany(ctx context.Context, c *pgconn.PgConn, xids []zodb.Xid, answers []storage.Loaded) error {
	oids, views := bigintArray(len(xids)), bigintArray(len(xids))
	for i, xid := range xids {
		oids = appendBigint(oids, min(uint64(xid.Oid), maxID))
		views = appendBigint(views, min(uint64(xid.At), maxID))
		answers[i] = storage.Loaded{Err: errNoAnswer}
	}
	total := 0
	err := rows(c.ExecPrepared(ctx, stmtMany, [][]byte{oids, views}, binaryFormat, binaryFormat), func(values [][]byte) error {
		n, err := number(values[0])
		if err != nil || n < 1 || n > uint64(len(xids)) || answers[n-1].Err != errNoAnswer {
			return &answerError{fmt.Errorf("the server gives number %x where it was asked for %d objects", values[0], len(xids))}
		}
		if total += len(values[2]); total > maxBytes {
			answers[n-1].Err = fmt.Errorf("load %s together with others: the records have more than %d bytes", xids[n-1], maxBytes)
			return nil
		}
		answers[n-1] = answerOf(values[1:], xids[n-1].Oid)
		return nil
	})
	for i := range answers {
		switch a := &answers[i]; {
		case err == nil && a.Err == errNoAnswer:
			a.Err = wrap(errNoAnswer, "load %s", xids[i])
		case err != nil && a.Buf != nil:
			a.Buf.Release()
			*a = storage.Loaded{}
		}
	}
	return err
}

// maxBytes is far beyond what callers of LoadMany expect, who count on sound records.
const maxBytes = DefaultMaxRow

var errNoAnswer = errors.New("the server has left it out")

// answerOf understands a row of stmtMany without its number.
func answerOf(values [][]byte, oid zodb.Oid) storage.Loaded {
	known := len(values[2]) == 1 && values[2][0] != 0
	switch {
	case oid > maxID, values[0] == nil && !known:
		return storage.Loaded{Err: &zodb.NoObjectError{Oid: oid}}
	case values[0] == nil:
		return storage.Loaded{Err: &zodb.NoDataError{Oid: oid}}
	}
	buf, serial, err := recordOf(values, oid)
	var answer *answerError
	if errors.As(err, &answer) {
		err = answer.error
	}
	return storage.Loaded{Buf: buf, Serial: serial, Err: err}
}

// bigintArray begins a parameter of type bigint[] in binary form: one dimension, no nulls,
// the type of the elements, their number, and that of the first one.
func bigintArray(n int) []byte {
	const typeBigint = 20
	b := make([]byte, 0, 20+12*n)
	for _, field := range []uint32{1, 0, typeBigint, uint32(n), 1} {
		b = binary.BigEndian.AppendUint32(b, field)
	}
	return b
}

// appendBigint adds an element to an array.
func appendBigint(b []byte, n uint64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(b, 8), n)
}
