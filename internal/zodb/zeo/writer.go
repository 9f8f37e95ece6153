package zeo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/link"
	"github.com/wcfs/wcfs/internal/zodb/pickle"
	"github.com/wcfs/wcfs/internal/zodb/remote"
)

// Bounds of what is sent and not known to have been taken by the server. All requests
// are handled in their order, so the reply to one tells of all before it.
const (
	window   = 8 << 20 // bytes
	signEach = 1 << 20 // bytes after which the server is asked for a sign
)

// patience is how many ticks a server may be quiet to which is written. It handles one
// request at a time, so a big commit of somebody else keeps it from everything. While it
// votes and finishes there is no bound: it copies the whole transaction. The kernel finds
// out that its host is gone (TCP_USER_TIMEOUT).
const patience = 120

// hostLimit is how long the kernel waits for a sign of the other host.
const hostLimit = 30 * time.Second

// finishGrace is how long Finish goes on when its context has ended.
const finishGrace = 20 * time.Second

// abortTime is how long Abort waits for the server.
const abortTime = 2 * time.Second

// committer is a session that commits. It implements remote.Writer.
type committer struct {
	*session
	id int64 // of the last transaction

	open    bool // it has begun and not ended
	since   int  // bytes sent after the last sign that was asked for
	signs   []sign
	unknown int // bytes sent before a sign that has not come
}

// sign is a call whose reply tells that what was sent before was taken.
type sign struct {
	call *link.Call[reply]
	size int // bytes sent since the one before
}

var _ remote.Writer = (*committer)(nil)

// DialWriter returns what connects to the first server of cfg that takes commits. Errors
// are those of Dial.
func DialWriter(cfg Config) remote.DialWriter {
	return func(ctx context.Context) (out remote.Writer, err error) {
		err = dialAny(ctx, &cfg, func(addr link.Addr) error {
			w, err := dialWriter(ctx, &cfg, addr)
			if err == nil {
				out = w
			}
			return err
		})
		return out, err
	}
}

func dialWriter(ctx context.Context, cfg *Config, addr link.Addr) (*committer, error) {
	conn, raw, c, err := greet(ctx, cfg, addr)
	if err != nil {
		return nil, err
	}
	limitHost(raw)
	s := newSession(conn, raw, c, cfg, func(zodb.Tid, []zodb.Oid) {})
	s.HearWrites()
	s.Patience(patience)
	s.start()
	if _, err := s.register(ctx, cfg, false); err != nil {
		_ = s.Close()
		return nil, err
	}
	return &committer{session: s}, nil
}

// limitHost has the kernel find out that the other host is gone also while there is
// something to send, see TCP_USER_TIMEOUT in tcp(7).
func limitHost(raw net.Conn) {
	conn, ok := raw.(*net.TCPConn)
	if !ok {
		return
	}
	if sys, err := conn.SyscallConn(); err == nil {
		_ = sys.Control(func(fd uintptr) {
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(hostLimit/time.Millisecond))
		})
	}
}

// Python2 implements remote.Writer. A FileStorage on Python 2 only opens databases of
// Python 2, and one on Python 3 only others.
func (w *committer) Python2() bool { return w.python2.Load() }

// maxNewOids is how many a server gives at a time.
const maxNewOids = 100

// NewOids implements remote.Writer.
func (w *committer) NewOids(ctx context.Context) ([]zodb.Oid, error) {
	r, err := w.call(ctx, "new_oids", int64(maxNewOids))
	if err != nil {
		return nil, w.wrap(err, "ask for new oids")
	}
	values, ok := items(r.value)
	if !ok || len(values) == 0 {
		return nil, w.violation("new_oids", r.value)
	}
	oids := make([]zodb.Oid, len(values))
	for i, v := range values {
		if oids[i], ok = oidOf(v); !ok {
			return nil, w.violation("new_oids", r.value)
		}
	}
	return oids, nil
}

// Begin implements remote.Writer.
func (w *committer) Begin(user, description, extension []byte) error {
	if err := w.Err(); err != nil {
		return err
	}
	w.id++
	w.open = true
	w.oneWay("tpc_begin", w.id, pickle.Bytes(user), pickle.Bytes(description), pickle.Bytes(extension))
	return nil
}

// Store implements remote.Writer.
func (w *committer) Store(ctx context.Context, oid zodb.Oid, prev zodb.Tid, data []byte) error {
	return w.stream(ctx, len(data), "storea", bytes8(oid), bytes8(prev), pickle.Bytes(data), w.id)
}

// Delete implements remote.Writer.
func (w *committer) Delete(ctx context.Context, oid zodb.Oid, prev zodb.Tid) error {
	return w.stream(ctx, 0, "deleteObject", bytes8(oid), bytes8(prev), w.id)
}

// Check implements remote.Writer.
func (w *committer) Check(ctx context.Context, oid zodb.Oid, serial zodb.Tid) error {
	return w.stream(ctx, 0, "checkCurrentSerialInTransaction", bytes8(oid), bytes8(serial), w.id)
}

// perRequest is about how much a request has beside its data, in bytes.
const perRequest = 100

// stream sends a request that is not answered, and waits while too much is under way.
func (w *committer) stream(ctx context.Context, size int, method string, args ...any) error {
	if err := w.Err(); err != nil {
		return w.wrap(err, "send the transaction")
	}
	w.oneWay(method, args...)
	if w.since += size + perRequest; w.since >= signEach {
		c, err := w.send(ctx, "ping")
		if err != nil {
			return w.wrap(err, "send the transaction")
		}
		w.signs = append(w.signs, sign{c, w.since})
		w.unknown += w.since
		w.since = 0
	}
	for w.unknown > window {
		if err := w.nextSign(ctx); err != nil {
			return w.wrap(err, "send the transaction")
		}
	}
	return nil
}

func (w *committer) nextSign(ctx context.Context) error {
	next := w.signs[0]
	r, err := w.Wait(ctx, next.call, nil)
	if err != nil {
		return err
	}
	r.release()
	w.signs = w.signs[1:]
	w.unknown -= next.size
	return nil
}

// Vote implements remote.Writer.
func (w *committer) Vote(ctx context.Context) error {
	for len(w.signs) > 0 { // all that is left can be handled in a moment
		if err := w.nextSign(ctx); err != nil {
			return w.wrap(err, "send the transaction")
		}
	}
	w.Patience(0)
	defer w.Patience(patience)
	r, err := w.call(ctx, "vote", w.id)
	if err != nil {
		return w.wrap(asConflict(err), "ask the server to commit")
	}
	resolved, ok := items(r.value)
	if r.value != nil && !ok {
		return w.violation("vote", r.value)
	}
	if len(resolved) > 0 {
		return w.wrap(conflictOf(resolved[0]), "ask the server to commit")
	}
	return nil
}

// asConflict makes a conflict of an exception that is one: an object has changed, or is
// not there any more.
func asConflict(err error) error {
	var exc *ServerError
	if errors.As(err, &exc) && (strings.HasSuffix(exc.Class, "ConflictError") || exc.Class == posKeyError) {
		return &remote.ConflictError{Oid: exc.oid, Msg: exc.Error()}
	}
	return err
}

// conflictOf understands what a server answers that leaves the solution of conflicts to
// its clients, or has solved them itself. BTrees can: but who has changed one object of
// ours may have changed more, and nobody has looked at what came of it.
func conflictOf(v any) error {
	conflict := &remote.ConflictError{Oid: zodb.InvalidOid, Msg: "somebody has changed it meanwhile"}
	if oid, ok := oidOf(v); ok {
		conflict.Oid = oid
	} else if _, ok := v.(*pickle.Dict); ok {
		conflict.Oid, _ = subject("", v)
	}
	return conflict
}

// Finish implements remote.Writer.
func (w *committer) Finish(ctx context.Context) (tid zodb.Tid, sent bool, err error) {
	w.Patience(0)
	defer w.Patience(patience)
	c, err := w.send(ctx, "tpc_finish", w.id)
	if err != nil {
		return 0, false, w.wrap(err, "commit")
	}
	w.open = false
	going, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	stop := context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(finishGrace, func() { cancel(errNoAnswer) })
		context.AfterFunc(going, func() { timer.Stop() })
	})
	defer stop()
	r, err := w.Wait(going, c, nil)
	if err == nil {
		var ok bool
		if tid, ok = tidOf(r.value); !ok {
			err = w.violation("tpc_finish", r.value)
		}
	}
	if errors.Is(err, context.Canceled) {
		err = context.Cause(going)
	}
	if err != nil {
		return 0, true, fmt.Errorf("commit: %w", err)
	}
	return tid, true, nil
}

// Abort implements remote.Writer.
func (w *committer) Abort() {
	if !w.open {
		return
	}
	w.open, w.signs, w.since, w.unknown = false, nil, 0, 0
	ctx, cancel := context.WithTimeout(context.Background(), abortTime)
	defer cancel()
	if _, err := w.call(ctx, "tpc_abort", w.id); err != nil {
		w.Fail(fmt.Errorf("abort a transaction: %w", err)) // which the server cannot miss
	}
}

// Similar implements remote.Writer.
func (w *committer) Similar(ctx context.Context, after zodb.Tid, user, description []byte) (tids []zodb.Tid, err error) {
	id, err := w.callID(ctx, "iterator_start", bytes8(after+1), nil)
	if err != nil {
		return nil, w.wrap(err, "list transactions after @%s", after)
	}
	for {
		r, err := w.call(ctx, "iterator_next", id)
		if err != nil {
			w.forget(id)
			return nil, w.wrap(err, "list transactions after @%s", after)
		}
		if r.value == nil {
			return tids, nil
		}
		txn, err := w.transaction(r.value)
		if err != nil {
			return nil, err
		}
		if txn.Tid > after && string(txn.User) == string(user) && string(txn.Description) == string(description) {
			tids = append(tids, txn.Tid)
		}
	}
}
