package storage

import (
	"context"
	"io"
	"math"
	"time"

	"lab.nexedi.com/kirr/neo/go/zodb"
)

// Loader loads revisions of objects.
type Loader interface {
	// Load returns the record of the object as of view xid.At, and the
	// serial of that revision: the tid of the transaction that wrote it.
	// The record is never empty and must not be modified.
	//
	// Errors: *zodb.NoObjectError and *zodb.NoDataError when the object does
	// not exist at that view (see IsNoData), *FutureViewError,
	// *CorruptError, *PackedError, *AwayError, ErrClosed, *DownError, or the error
	// of ctx.
	Load(ctx context.Context, xid zodb.Xid) (buf *Buf, serial zodb.Tid, err error)
}

// Storage is one opened database.
type Storage interface {
	Loader

	// URL returns the identity of the database, without secrets.
	URL() string

	// Head returns the newest view that can be loaded, 0 for an empty
	// database. It never goes back.
	Head() zodb.Tid

	// Sync returns a head that includes every transaction that was visibly
	// committed by anybody before Sync was called. The events up to it are in
	// the queue when Sync returns.
	Sync(ctx context.Context) (head zodb.Tid, err error)

	// NextEvent returns the next committed transaction. Tids strictly
	// increase, no transaction after at0 is left out, and Load works at an
	// event's tid once the event is returned. There must be one consumer.
	//
	// The end of the stream is told by an error, which is final: io.EOF after
	// Close, else a *DownError that says why nothing more can be known.
	NextEvent(ctx context.Context) (Event, error)

	// Close ends everything. It is idempotent and waits until all goroutines
	// of the storage have ended. Operations under way fail with ErrClosed.
	Close() error
}

// Event tells one committed transaction.
type Event struct {
	Tid  zodb.Tid
	Oids []zodb.Oid // changed, created and deleted objects: ascending, unique
	More bool       // the next event is there already: this state of the database passed long ago
}

// Iterator is implemented by storages that can list past transactions.
type Iterator interface {
	// Iterate calls f for every transaction with tidMin <= tid <= tidMax in
	// ascending order, up to the head at call time. An error of f ends the
	// iteration and is returned as it is.
	Iterate(ctx context.Context, tidMin, tidMax zodb.Tid, f func(*Txn) error) error
}

// Txn is one past transaction. It is valid during the call it is handed to.
type Txn struct {
	Tid         zodb.Tid
	User        []byte
	Description []byte
	Extension   []byte // empty, or a pickled dict
	Oids        []zodb.Oid
}

// Options says how to open a storage.
type Options struct {
	// Warnf is told what is worth a line in the log although the storage
	// works. It may be nil, and is called from any goroutine.
	Warnf func(format string, args ...any)

	// Home is what a leading ~/ in the path of a file url stands for. The
	// tilde is left alone when Home is empty.
	Home string

	// Progress is told, while a database is opened that has to be looked through
	// for it, how many bytes of how many are done. It may be nil, and is called
	// from the goroutine that opens.
	Progress func(done, total int64)

	// Timeout is how long calls wait for a server that is away, 0: as long as the
	// driver finds right.
	Timeout time.Duration

	// Poll is how often a database is asked for commits by a driver whose server tells
	// of none, 0: as often as the driver finds right.
	Poll time.Duration

	// Wait is how long Open waits for a server that is not there, 0: as long as the
	// url says. Forever is for ever.
	Wait time.Duration
}

// Forever is longer than anybody waits.
const Forever time.Duration = math.MaxInt64

// Warn calls o.Warnf if it is there.
func (o *Options) Warn(format string, args ...any) {
	if o.Warnf != nil {
		o.Warnf(format, args...)
	}
}

// Opener opens the database that url names, read-only, and returns it with its
// head at0: the event stream has exactly the transactions after at0.
//
// ctx bounds the opening only. Opening never creates, changes or locks a file
// and works while somebody else writes.
type Opener func(ctx context.Context, url URL, opt Options) (_ Storage, at0 zodb.Tid, err error)

// Packed is implemented by loaders of databases that may be packed while they are
// open. A pack up to a transaction removes all revisions that are older than the
// newest one as of there, and objects that are not reachable any more.
type Packed interface {
	// Packs tells the views that packs leave alone. From complete on every view
	// is as it was; before that, records may be gone. newest is where the newest
	// pack that was noticed went up to: views from there on also survive the next
	// ones for a while. complete <= newest <= Head; 0 means no pack, and neither goes
	// back. When a Load
	// fails with a *PackedError, Packs tells of that pack already.
	Packs() (complete, newest zodb.Tid)

	// Keep says that views from the given one on are in use. The storage keeps
	// them complete over packs if it can at a bounded cost. Before the first call
	// it does so for none.
	Keep(from zodb.Tid)
}

// Reachable is implemented by storages whose database is behind a server, which may be
// away for a while.
type Reachable interface {
	// Reach tells whether the server is there at present.
	Reach() Reach
}

// DataFiles returns the absolute paths of the files of this host that a database is in, as
// far as there are any.
func DataFiles(s Storage) []string {
	switch s := s.(type) {
	case interface{ DataFile() string }:
		return []string{s.DataFile()}
	case interface{ DataFiles() []string }:
		return s.DataFiles()
	}
	return nil
}

// Serialer is implemented by loaders that can tell the serial of an object
// without loading its data. Errors are those of Load.
type Serialer interface {
	Serial(ctx context.Context, xid zodb.Xid) (serial zodb.Tid, err error)
}

// Serial returns the serial of an object: without its data if the loader is a Serialer,
// else by a load.
func Serial(ctx context.Context, l Loader, xid zodb.Xid) (zodb.Tid, error) {
	if s, ok := l.(Serialer); ok {
		return s.Serial(ctx, xid)
	}
	buf, serial, err := l.Load(ctx, xid)
	if err == nil {
		buf.Release()
	}
	return serial, err
}

// Streamer is implemented by loaders that can hand over a record in pieces, for whoever
// does not need all of it in memory.
type Streamer interface {
	// Stream calls f with a reader of the record of the object as of view xid.At. The
	// reader is valid during the call. f may be called again from the beginning,
	// if the record had to be looked for anew. An error of f is returned, wrapped;
	// other errors are those of Load.
	Stream(ctx context.Context, xid zodb.Xid, f func(r io.Reader) error) (serial zodb.Tid, err error)
}
