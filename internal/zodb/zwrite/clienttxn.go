package zwrite

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/remote"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// clientTxn is a transaction on a database behind a server. It implements engine.
//
// All loads are of one view, the head at the beginning. A revision that was loaded must
// still be the newest when the server votes: a store names the serial that it replaces,
// and everything else is checked.
type clientTxn struct {
	c    *Client
	w    remote.Writer
	ctx  context.Context // for the whole transaction: callers of Txn have none
	meta Meta
	at   zodb.Tid

	// python2 is the protocol of pickles for an application on Python 2, 0 if it
	// has Python 3.
	python2 int

	proof proof // of what was sent

	mu   sync.Mutex
	read map[zodb.Oid]zodb.Tid // guarded by mu; serials of what was loaded
	oids []zodb.Oid            // guarded by mu; new ones, not handed out yet
}

func (c *Client) begin(ctx context.Context, meta Meta) (*clientTxn, error) {
	if c.w == nil {
		return nil, ErrClosed
	}
	f := &clientTxn{c: c, w: c.w, ctx: ctx, meta: meta, proof: newProof(), read: make(map[zodb.Oid]zodb.Tid)}
	var err error
	if f.at, err = f.w.Last(ctx); err != nil {
		return nil, f.explain(err)
	}
	if err := f.findPython2(); err != nil {
		return nil, err
	}
	if err := f.w.Begin(meta.User, meta.Description, meta.Extension); err != nil {
		return nil, f.explain(err)
	}
	return f, nil
}

// findPython2 finds out what the application understands. On which Python it runs is told
// by the server, which has the same one; and which ZODB, by the root object.
func (f *clientTxn) findPython2() error {
	if !f.w.Python2() {
		return nil
	}
	buf, _, err := f.w.Load(f.ctx, zodb.Xid{At: f.at, Oid: RootOid})
	switch {
	case storage.IsNoData(err):
		f.python2 = python2Default
	case err != nil:
		return f.explain(err)
	default:
		f.python2 = protocolOf(buf.Data)
		buf.Release()
	}
	return nil
}

// newOid implements engine.
func (f *clientTxn) newOid() (zodb.Oid, error) {
	for {
		if oid, ok := f.takeOid(); ok {
			return oid, nil
		}
		oids, err := f.w.NewOids(f.ctx)
		if err != nil {
			return zodb.InvalidOid, f.explain(err)
		}
		f.mu.Lock()
		f.oids = append(f.oids, oids...)
		f.mu.Unlock()
	}
}

func (f *clientTxn) takeOid() (oid zodb.Oid, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.oids) > 0 && !ok {
		oid, f.oids = f.oids[0], f.oids[1:]
		ok = oid != RootOid
	}
	return oid, ok
}

// load implements engine.
func (f *clientTxn) load(oid zodb.Oid) ([]byte, zodb.Tid, error) {
	buf, serial, err := f.w.Load(f.ctx, zodb.Xid{At: f.at, Oid: oid})
	if err != nil {
		return nil, 0, f.explain(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.read[oid] = serial
	return buf.Data, serial, nil
}

// reload implements engine. A server gives nothing back before the transaction is over.
func (f *clientTxn) reload(c *change) ([]byte, error) {
	return nil, errors.New("the record was sent to the server already")
}

// knows implements engine. An object must have been loaded to be deleted, since the
// server wants to know which revision.
func (f *clientTxn) knows(oid zodb.Oid) bool { return f.serial(oid) != 0 }

// serial returns the serial of what was loaded, 0 if it was not.
func (f *clientTxn) serial(oid zodb.Oid) zodb.Tid {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.read[oid]
}

// understood implements engine.
func (f *clientTxn) understood(oid zodb.Oid, data []byte) []byte {
	return understood(f.python2, data, oid == RootOid && f.knows(oid))
}

// noted implements engine. A record that may still change is kept.
func (f *clientTxn) noted(*Txn, zodb.Oid) error { return nil }

// settle implements engine: it sends what is final.
func (f *clientTxn) settle(t *Txn, from, to Mark) error {
	return f.send(t.take(func(c *change) bool { return from <= c.at && c.at < to }))
}

// take takes changes that are in memory out of it.
func (t *Txn) take(which func(*change) bool) (taken []change) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.order = slices.DeleteFunc(t.order, func(c *change) bool {
		if !which(c) {
			return false
		}
		taken = append(taken, *c)
		c.data, c.written = nil, 1
		t.size -= c.size
		return true
	})
	return taken
}

// send sends changes to the server, which keeps them until it votes.
func (f *clientTxn) send(changes []change) error {
	for i := range changes {
		c := &changes[i]
		prev := f.serial(c.oid)
		var err error
		if c.size == 0 {
			err = f.w.Delete(f.ctx, c.oid, prev)
		} else {
			f.proof.add(c.oid, c.data)
			err = f.w.Store(f.ctx, c.oid, prev, c.data)
		}
		if err != nil {
			return f.explain(err)
		}
		c.data = nil
	}
	return nil
}

// commit implements engine.
func (f *clientTxn) commit(t *Txn) (zodb.Tid, error) {
	err := f.send(t.take(func(*change) bool { return true }))
	if err == nil {
		err = f.sendChecks(t)
	}
	if err == nil {
		err = f.explain(f.vote())
	}
	if err != nil {
		return 0, f.abort(err)
	}
	tid, sent, err := f.w.Finish(f.ctx)
	switch {
	case err == nil:
		return tid, nil
	case !sent:
		return 0, f.abort(f.explain(err))
	}
	return f.outcome(err)
}

// sendChecks has the server check what was only read.
func (f *clientTxn) sendChecks(t *Txn) error {
	rely := maps.Clone(f.read)
	for oid, serial := range t.expect {
		if read, ok := rely[oid]; ok && read != serial {
			return &ConflictError{Oid: oid, Expected: serial, Current: read}
		}
		rely[oid] = serial
	}
	for _, oid := range slices.Sorted(maps.Keys(rely)) {
		if t.changes[oid] != nil || rely[oid] == 0 { // a store is checked by itself
			continue
		}
		if err := f.w.Check(f.ctx, oid, rely[oid]); err != nil {
			return f.explain(err)
		}
	}
	return nil
}

// vote waits for the vote of the server, however long that takes.
func (f *clientTxn) vote() error {
	voted := make(chan error, 1)
	go func() { voted <- f.w.Vote(f.ctx) }() // which ends with ctx
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case err := <-voted:
			return err
		case <-ticker.C:
			f.c.opt.Waiting()
		}
	}
}

// abort implements engine.
func (f *clientTxn) abort(why error) error {
	f.w.Abort()
	return why
}

// release implements engine.
func (f *clientTxn) release() { <-f.c.turn }

// explain makes an error of the server one that says what it means here.
func (f *clientTxn) explain(err error) error {
	if err == nil || f.ctx.Err() != nil && errors.Is(err, f.ctx.Err()) {
		return err
	}
	var conflict *remote.ConflictError
	if errors.As(err, &conflict) {
		return &ConflictError{Oid: conflict.Oid, Expected: f.serial(conflict.Oid), Err: err}
	}
	select {
	case <-f.w.Done():
		return &LostError{Err: f.w.Err()}
	default:
		return err
	}
}
