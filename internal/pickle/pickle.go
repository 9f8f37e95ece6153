package pickle

import (
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/record"
)

// Values are nil for None, bool, int64, *big.Int (what int64 cannot hold),
// float64, string for text, and:
type (
	// Bytes is a byte string: bytes, and str of Python 2, which may be text.
	Bytes string

	// Tuple is a tuple.
	Tuple []any

	// List is a list. It is a pointer since lists may be shared.
	List struct{ Items []any }

	// Dict is a dict in the order of the pickle. Keys may come twice; the last
	// one counts.
	Dict struct{ Items []Item }

	// Item is one item of a Dict.
	Item struct{ Key, Value any }

	// Ref is a reference to another object of the same database. Class is zero
	// if the reference does not tell it.
	Ref struct {
		Oid   zodb.Oid
		Class record.Class
	}

	// Foreign is any other persistent id: weak references and those to other
	// databases.
	Foreign struct{ ID any }

	// Object is what Python makes by calling New with Args and maybe
	// setting a state.
	Object struct {
		New   any // record.Class almost always
		Args  Tuple
		State any // nil if none
		Items []any
		Dict  []Item
	}
)
