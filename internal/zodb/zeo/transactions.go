package zeo

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/link"
	"github.com/wcfs/wcfs/internal/zodb/pickle"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// lookAhead is how many transactions are got at a time. The records of each come one by
// one: nobody knows how many there are, and a server logs a call behind the last one as
// an error.
const lookAhead = 8

// Transactions implements remote.Session.
//
// The records of a transaction come with all their data, since the protocol has no other
// way to tell what was deleted. Values of an extension that have no form in the
// protocol, as objects that the server's Python has made of them, are left out.
func (s *session) Transactions(ctx context.Context, from, to zodb.Tid, f func(*storage.Txn) error) error {
	last, err := s.Last(ctx)
	if err != nil {
		return err
	}
	ahead := lookAhead
	for from <= min(to, last) {
		next := from
		err := s.iterate(ctx, &iteration{s: s, from: from, to: to, last: last, ahead: ahead}, func(t *storage.Txn) error {
			next = t.Tid + 1
			if err := f(t); err != nil {
				return &callbackError{err}
			}
			return nil
		})
		var exc *ServerError
		var callback *callbackError
		switch {
		case errors.As(err, &callback):
			return callback.err
		case errors.As(err, &exc) && ahead > 1:
			// A pack may have removed the last transaction, so that records failed
			// which were got while it was looked for. So once more, without.
			from, ahead = next, 1
		case err != nil:
			return s.wrap(err, "list transactions from @%s to @%s", next, min(to, last))
		default:
			return nil
		}
	}
	return nil
}

// callbackError keeps errors of callbacks apart from those of the session.
type callbackError struct{ err error }

func (e *callbackError) Error() string { return e.err.Error() }

// iteration is one walk through transactions.
type iteration struct {
	s     *session
	from  zodb.Tid // what comes is not before that
	to    zodb.Tid
	last  zodb.Tid // of the database; the iterator of the server goes up to there
	ahead int      // transactions that are got at a time

	ctx   context.Context
	id    int64             // of the iterator of the server
	open  bool              // it is to be dropped
	next  *link.Call[reply] // for the transaction after the last one, nil: not asked for
	queue []*pending
	group *errgroup.Group
}

// pending is one transaction whose records are being got.
type pending struct {
	txn  *storage.Txn
	done chan struct{} // closed when txn is complete, or will never be
	err  error         // set before done is closed
}

func (s *session) iterate(ctx context.Context, it *iteration, f func(*storage.Txn) error) error {
	ctx, cancel := context.WithCancel(ctx)
	it.group, it.ctx = errgroup.WithContext(ctx)
	err := it.run(f)
	cancel()
	groupErr := it.group.Wait()
	if it.open { // only now: a FileStorage closes the file that records are read from
		s.forget(it.id)
	}
	var callback *callbackError
	if groupErr != nil && !errors.Is(groupErr, context.Canceled) && !errors.As(err, &callback) {
		return groupErr // the other may only be that everything was cancelled for it
	}
	return err
}

func (it *iteration) run(f func(*storage.Txn) error) error {
	id, err := it.s.callID(it.ctx, "iterator_start", bytes8(it.from), bytes8(it.last))
	if err != nil {
		return err
	}
	it.id, it.open = id, true
	for {
		p, err := it.advance()
		if err != nil {
			return err
		}
		if p != nil {
			it.queue = append(it.queue, p)
		}
		for len(it.queue) > 0 && (p == nil || len(it.queue) >= it.ahead) {
			if err := it.deliver(f); err != nil {
				return err
			}
		}
		if p == nil {
			return nil
		}
	}
}

// deliver waits for the oldest transaction and hands it over.
func (it *iteration) deliver(f func(*storage.Txn) error) error {
	p := it.queue[0]
	it.queue = it.queue[1:]
	select {
	case <-p.done:
	case <-it.ctx.Done():
		return it.ctx.Err()
	}
	if p.err != nil {
		return p.err
	}
	return f(p.txn)
}

// advance gets the next transaction, and has its records got. It returns nil after the
// last one.
func (it *iteration) advance() (*pending, error) {
	if it.from > min(it.to, it.last) {
		return nil, nil
	}
	if it.next == nil {
		if err := it.askNext(); err != nil {
			return nil, err
		}
	}
	r, err := it.s.Wait(it.ctx, it.next, nil)
	it.next = nil
	if err != nil {
		return nil, err
	}
	if r.value == nil {
		it.open = false
		return nil, nil
	}
	txn, err := it.s.transaction(r.value)
	if err != nil {
		return nil, err
	}
	if txn.Tid < it.from || txn.Tid > it.last {
		return nil, it.s.violation("iterator_next", r.value)
	}
	it.from = txn.Tid + 1
	if txn.Tid > it.to {
		return it.advance() // which is the end
	}
	return it.openRecords(txn)
}

func (it *iteration) askNext() (err error) {
	it.next, err = it.s.send(it.ctx, "iterator_next", it.id)
	return err
}

// openRecords asks for the records of the transaction that came last, and behind that
// for the next transaction: only until then the server knows which records are meant.
// There must be one: a FileStorage that looks for it in vain closes the file at once.
func (it *iteration) openRecords(txn *storage.Txn) (*pending, error) {
	start, err := it.s.send(it.ctx, "iterator_record_start", it.id, bytes8(txn.Tid))
	if err != nil {
		return nil, err
	}
	if it.ahead > 1 && txn.Tid < min(it.to, it.last) {
		if err := it.askNext(); err != nil {
			return nil, err
		}
	}
	id, err := it.s.waitID(it.ctx, start, "iterator_record_start")
	if err != nil {
		return nil, err
	}
	p := &pending{txn: txn, done: make(chan struct{})}
	it.group.Go(func() error {
		defer close(p.done)
		p.err = it.s.records(it.ctx, id, txn)
		return p.err
	})
	return p, nil
}

// records gets what a transaction has changed.
func (s *session) records(ctx context.Context, id int64, txn *storage.Txn) error {
	for {
		r, err := s.call(ctx, "iterator_record_next", id)
		if err != nil {
			s.forget(id)
			return err
		}
		if r.value == nil {
			break
		}
		parts, ok := items(r.value)
		if !ok || len(parts) != 4 {
			return s.violation("iterator_record_next", r.value)
		}
		oid, ok := oidOf(parts[0])
		if !ok {
			return s.violation("iterator_record_next", r.value)
		}
		r.release()
		txn.Oids = append(txn.Oids, oid)
	}
	slices.Sort(txn.Oids)
	txn.Oids = slices.Compact(txn.Oids)
	return nil
}

// transaction understands (tid, status, user, description, extension).
func (s *session) transaction(value any) (*storage.Txn, error) {
	parts, ok := items(value)
	if !ok || len(parts) != 5 {
		return nil, s.violation("iterator_next", value)
	}
	tid, ok := tidOf(parts[0])
	user, ok1 := bytesOf(parts[2])
	description, ok2 := bytesOf(parts[3])
	extension, ok3 := extensionOf(parts[4])
	if !ok || !ok1 || !ok2 || !ok3 {
		return nil, s.violation("iterator_next", value)
	}
	return &storage.Txn{Tid: tid, User: user, Description: description, Extension: extension}, nil
}

// bytesOf returns a copy of what is bytes, or text in storages that have it so.
func bytesOf(v any) ([]byte, bool) {
	switch x := v.(type) {
	case pickle.Bytes:
		return []byte(x), true
	case string:
		return []byte(x), true
	}
	return nil, false
}

// extensionOf returns a dict as it is in a database: pickled, or nothing if it is empty.
func extensionOf(v any) ([]byte, bool) {
	if b, ok := v.(pickle.Bytes); ok {
		return []byte(b), true
	}
	dict, ok := v.(*pickle.Dict)
	if !ok {
		return nil, v == nil
	}
	plain, budget := &pickle.Dict{}, maxExtension
	for _, item := range dict.Items {
		if isPlain(item.Key, &budget) && isPlain(item.Value, &budget) {
			plain.Items = append(plain.Items, item)
		}
	}
	if len(plain.Items) == 0 {
		return nil, true
	}
	return append(appendPickle([]byte{0x80, 3}, plain), '.'), true
}

// maxExtension bounds how many values there may be in an extension. They may be shared
// so that walking all of them takes for ever.
const maxExtension = 10000

// isPlain reports whether a value can be pickled here. It takes what it looks at off the
// budget.
func isPlain(v any, budget *int) bool {
	if *budget--; *budget < 0 {
		return false
	}
	switch x := v.(type) {
	case nil, bool, int64, float64, string, pickle.Bytes:
		return true
	case *pickle.Dict:
		return !slices.ContainsFunc(x.Items, func(item pickle.Item) bool {
			return !isPlain(item.Key, budget) || !isPlain(item.Value, budget)
		})
	}
	values, ok := items(v)
	return ok && !slices.ContainsFunc(values, func(v any) bool { return !isPlain(v, budget) })
}

// ---- iterators of the server ----

// forget lets the server drop an iterator that was not run to its end.
func (s *session) forget(id int64) {
	s.oneWay("iterator_gc", &pickle.List{Items: []any{id}})
}

// callID makes a call that is answered with the number of an iterator.
func (s *session) callID(ctx context.Context, method string, args ...any) (int64, error) {
	c, err := s.send(ctx, method, args...)
	if err != nil {
		return 0, err
	}
	return s.waitID(ctx, c, method)
}

// waitID waits for the number of an iterator, which is dropped if nobody waits any more.
func (s *session) waitID(ctx context.Context, c *link.Call[reply], method string) (int64, error) {
	r, err := s.Wait(ctx, c, func(r reply, _ error) {
		if id, ok := r.value.(int64); ok {
			s.forget(id)
		}
	})
	if err != nil {
		return 0, err
	}
	id, ok := r.value.(int64)
	if !ok {
		return 0, s.violation(method, fmt.Sprintf("%T", r.value))
	}
	return id, nil
}
