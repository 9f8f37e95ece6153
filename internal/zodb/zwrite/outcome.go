package zwrite

import (
	"context"
	"fmt"
	"hash/maphash"
	"time"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/remote"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// proofLen is how many records from the beginning, and how many from the end, prove that
// a transaction is ours.
const proofLen = 8

// proof recognizes a transaction: by some records of it.
type proof struct {
	seed        maphash.Seed
	first, last []token
}

// token is one record.
type token struct {
	oid  zodb.Oid
	hash uint64
}

func newProof() proof { return proof{seed: maphash.MakeSeed()} }

// add notes a record. Of an object that is sent again the last one counts.
func (p *proof) add(oid zodb.Oid, data []byte) {
	t := token{oid, maphash.Bytes(p.seed, data)}
	for i := range p.first {
		if p.first[i].oid == oid {
			p.first[i] = t
			return
		}
	}
	if len(p.first) < proofLen {
		p.first = append(p.first, t)
		return
	}
	for i := range p.last {
		if p.last[i].oid == oid {
			p.last[i] = t
			return
		}
	}
	if len(p.last) == proofLen {
		p.last = append(p.last[:0], p.last[1:]...)
	}
	p.last = append(p.last, t)
}

// holds reports whether the transaction of that tid has these records.
func (p *proof) holds(ctx context.Context, w remote.Writer, tid zodb.Tid) (bool, error) {
	for _, t := range append(p.first[:len(p.first):len(p.first)], p.last...) {
		buf, serial, err := w.Load(ctx, zodb.Xid{At: tid, Oid: t.oid})
		if storage.IsNoData(err) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		same := serial == tid && maphash.Bytes(p.seed, buf.Data) == t.hash
		buf.Release()
		if !same {
			return false, nil
		}
	}
	return true, nil
}

// outcomeTime is how long it is tried to find out whether a transaction was committed.
const outcomeTime = time.Minute

// outcome finds out whether a transaction is visible whose end the server did not
// confirm. Why says what happened.
func (f *clientTxn) outcome(why error) (zodb.Tid, error) {
	// The end of the caller's context does not count: he must hear what is there.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(f.ctx), outcomeTime)
	defer cancel()
	_ = f.w.Close() // which the server may have taken for alive
	w, err := f.c.connect(ctx, outcomeTime)
	if err != nil {
		return 0, &UncertainError{Err: fmt.Errorf("%w; and then: %w", why, err)}
	}
	f.c.w = w // for the next transaction
	tid, err := f.find(ctx, w)
	switch {
	case err != nil:
		return 0, &UncertainError{Err: fmt.Errorf("%w; and then: %w", why, err)}
	case tid == 0:
		return 0, &LostError{Err: why}
	}
	return tid, nil
}

// find returns the tid of the transaction, 0 if it is not there and will not be. A server
// lets vote one after the other: when it has voted for what comes behind ours it has
// finished that, or dropped it with its session.
func (f *clientTxn) find(ctx context.Context, w remote.Writer) (zodb.Tid, error) {
	defer w.Abort()
	if err := w.Begin(nil, nil, nil); err != nil {
		return 0, err
	}
	if err := w.Vote(ctx); err != nil {
		return 0, err
	}
	last, err := w.Last(ctx)
	if err != nil {
		return 0, err
	}
	if last < f.at {
		return 0, &storage.WentBackError{Head: f.at, Last: last}
	}
	tids, err := w.Similar(ctx, f.at, f.meta.User, f.meta.Description)
	if err != nil {
		return 0, err
	}
	for _, tid := range tids {
		if ours, err := f.proof.holds(ctx, w, tid); ours || err != nil {
			return tid, err
		}
	}
	return 0, nil
}
