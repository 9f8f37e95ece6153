package postgresql

import (
	"encoding/binary"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"
	"lab.nexedi.com/kirr/neo/go/zodb"
)

// binaryFormat has all columns come in binary form, and parameters be so.
var binaryFormat = []int16{1}

// bigint is a parameter in binary form.
func bigint(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// number reads a bigint. All that RelStorage stores is below 2^63.
func number(value []byte) (uint64, error) {
	if len(value) != 8 || value[0] >= 0x80 {
		return 0, fmt.Errorf("the server gives %q where a tid or an oid should be", value[:min(len(value), 16)])
	}
	return binary.BigEndian.Uint64(value), nil
}

// oidsOf reads a list of objects.
func oidsOf(value []byte) ([]zodb.Oid, error) {
	if len(value)%8 != 0 {
		return nil, fmt.Errorf("the server gives a list of objects of %d bytes", len(value))
	}
	oids := make([]zodb.Oid, 0, len(value)/8)
	for ; len(value) > 0; value = value[8:] {
		n, err := number(value[:8])
		if err != nil {
			return nil, err
		}
		oids = append(oids, zodb.Oid(n))
	}
	return oids, nil
}

// rows calls f for each row of a result. Values are valid during the call. All rows are
// read also if f fails, since the connection is of no use before.
func rows(r *pgconn.ResultReader, f func(values [][]byte) error) error {
	var failed error
	for r.NextRow() {
		if failed == nil {
			failed = f(r.Values())
		}
	}
	if _, err := r.Close(); err != nil {
		return err
	}
	return failed
}
