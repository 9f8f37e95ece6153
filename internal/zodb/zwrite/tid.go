package zwrite

import (
	"time"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// TidOf returns the tid of a moment, see storage.TidOf.
func TidOf(t time.Time) zodb.Tid { return storage.TidOf(t) }

// laterTid returns the tid for a transaction that is committed at time now,
// after transaction last.
func laterTid(now time.Time, last zodb.Tid) zodb.Tid {
	return max(TidOf(now), last+1)
}
