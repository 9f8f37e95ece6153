package client

import (
	"fmt"
	"math"
	"strconv"
)

// Tid is the id of a transaction, and with it a view: the database as of that
// transaction, inclusive. Later transactions have larger ids.
type Tid uint64

// Oid is the id of an object, here always of a ZBigFile.
type Oid uint64

// Head, where a view is asked for, means the newest one at that moment.
const Head Tid = math.MaxUint64

// String returns t as 16 lower-case hexadecimal digits, or "head".
func (t Tid) String() string {
	if t == Head {
		return "head"
	}
	return hex16(uint64(t))
}

// String returns o as 16 lower-case hexadecimal digits.
func (o Oid) String() string { return hex16(uint64(o)) }

// ParseTid parses exactly 16 lower-case hexadecimal digits. Head has no such
// form.
func ParseTid(s string) (Tid, error) {
	v, ok := parseHex16([]byte(s))
	if !ok || Tid(v) == Head {
		return 0, fmt.Errorf("tid %q: %w", s, strconv.ErrSyntax)
	}
	return Tid(v), nil
}

// ParseOid parses exactly 16 lower-case hexadecimal digits.
func ParseOid(s string) (Oid, error) {
	v, ok := parseHex16([]byte(s))
	if !ok {
		return 0, fmt.Errorf("oid %q: %w", s, strconv.ErrSyntax)
	}
	return Oid(v), nil
}

func hex16(v uint64) string { return fmt.Sprintf("%016x", v) }
