package remote

import (
	"context"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// Session is one connection to a server. All methods may be called from any goroutine.
// They return soon when their context or the session ends.
//
// A session may also be a storage.ManyLoader, as all or none of a driver are. It answers like
// its Load.
type Session interface {
	// Load loads as of xid.At. Errors are those of storage.Loader; any error after
	// Done is closed means that the connection was lost, and the load is repeated
	// on the next session.
	Load(ctx context.Context, xid zodb.Xid) (*storage.Buf, zodb.Tid, error)

	// Last asks the server for its newest transaction.
	Last(ctx context.Context) (zodb.Tid, error)

	// Transactions calls f for every transaction with from <= tid <= to, ascending,
	// with all objects that it changed, deleted and restored ones included. An error
	// of f ends it. The Txn is valid during the call.
	Transactions(ctx context.Context, from, to zodb.Tid, f func(*storage.Txn) error) error

	// Done is closed when the session has ended; Err says why then. A *storage.DownError
	// ends the storage: there is no other session that could go on.
	Done() <-chan struct{}
	Err() error

	// Close ends the session and waits for its goroutines. It is idempotent.
	Close() error
}

// Cluster is implemented by sessions with a server that consists of several ones.
type Cluster interface {
	// Nodes tells how they are. It does not block.
	Nodes() []storage.Node
}

// Commits takes the transactions that a session is told of, in order. It does not
// block. The caller does not use oids any more. No oids means that they are not
// known.
type Commits func(tid zodb.Tid, oids []zodb.Oid)

// Dial connects once; ctx is for that only. commits is called for every transaction
// after last, maybe before Dial returns, maybe also for some up to last.
type Dial func(ctx context.Context, commits Commits) (s Session, last zodb.Tid, err error)
