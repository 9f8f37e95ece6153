package neo

import (
	"context"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/neoproto"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

const (
	// perPartition is how many transactions are asked for of each partition at a time.
	perPartition = 100

	// lookAhead is how many transactions are looked up at a time, and partitions.
	lookAhead = 32
)

// Transactions implements remote.Session.
//
// Each partition has its part of the transactions. A storage answers which there are when
// none of them is on its way to become visible, so what they are is known then.
func (s *session) Transactions(ctx context.Context, from, to zodb.Tid, f func(*storage.Txn) error) error {
	last, err := s.Last(ctx)
	if err != nil {
		return err
	}
	to = min(to, last)
	for from <= to {
		tids, upto, err := s.tids(ctx, from, to)
		if err == nil {
			err = s.describe(ctx, tids, f)
		}
		if err != nil {
			return err
		}
		if upto == to {
			break
		}
		from = upto + 1
	}
	return nil
}

// tids returns the transactions from a tid up to another one, which may be less than was
// asked for.
//
// A storage that has lost a partition lists none of its transactions, or some, and does not
// say so. The master has told of that loss before the storage had it, and so before the
// master answers a question that is asked now: then the lists of before are of no use.
func (s *session) tids(ctx context.Context, from, to zodb.Tid) (tids []zodb.Tid, upto zodb.Tid, err error) {
	for {
		table := s.tableID()
		tids, upto, err = s.listTids(ctx, from, to)
		if err == nil {
			_, err = s.Last(ctx)
		}
		if err != nil || s.tableID() == table {
			return tids, upto, err
		}
	}
}

// listTids asks each partition for its part.
func (s *session) listTids(ctx context.Context, from, to zodb.Tid) (all []zodb.Tid, upto zodb.Tid, err error) {
	n := s.partitions()
	lists := make([][]zodb.Tid, n)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(lookAhead)
	for p := range n {
		if from == to && p != s.partitionOf(from, n) {
			continue
		}
		group.Go(func() (err error) {
			lists[p], err = s.partitionTids(ctx, from, to, p)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, 0, wrap(err, "list transactions from @%s to @%s", from, to)
	}
	upto = to
	for _, tids := range lists {
		if len(tids) >= perPartition { // there may be more behind the last one
			upto = min(upto, tids[len(tids)-1])
		}
		all = append(all, tids...)
	}
	slices.Sort(all)
	end, found := slices.BinarySearch(all, upto)
	if found {
		end++
	}
	return all[:end], upto, nil
}

// partitionOf returns which of n partitions has the metadata of a transaction.
func (s *session) partitionOf(tid zodb.Tid, n int) int { return int(uint64(tid) % uint64(n)) }

func (s *session) partitionTids(ctx context.Context, from, to zodb.Tid, partition int) (tids []zodb.Tid, err error) {
	m := &neoproto.AskTids{From: from, To: to, Length: perPartition, Partition: partition}
	err = fromPartition(ctx, s, partition, m, func(answer *neoproto.Tids, refused error) error {
		if refused != nil {
			return &elsewhereError{err: refused}
		}
		tids = answer.Tids
		for i, tid := range tids {
			if tid < from || tid > to || i > 0 && tid <= tids[i-1] {
				return &elsewhereError{err: fmt.Errorf("it lists transaction @%s where it should not", tid)}
			}
		}
		if len(tids) > perPartition {
			return &elsewhereError{err: fmt.Errorf("it lists %d transactions when asked for %d", len(tids), perPartition)}
		}
		return nil
	})
	return tids, err
}

// describe looks transactions up, some at a time, and hands them over in their order.
func (s *session) describe(ctx context.Context, tids []zodb.Tid, f func(*storage.Txn) error) error {
	for chunk := range slices.Chunk(tids, lookAhead) {
		txns := make([]*storage.Txn, len(chunk))
		group, ctx := errgroup.WithContext(ctx)
		for i, tid := range chunk {
			group.Go(func() (err error) {
				txns[i], err = s.transaction(ctx, tid)
				return err
			})
		}
		if err := group.Wait(); err != nil {
			return err
		}
		for _, txn := range txns {
			if err := f(txn); err != nil {
				return err
			}
		}
	}
	return nil
}

// transaction looks one up.
func (s *session) transaction(ctx context.Context, tid zodb.Tid) (txn *storage.Txn, err error) {
	partition := s.partitionOf(tid, s.partitions())
	err = fromPartition(ctx, s, partition, &neoproto.AskTransaction{Tid: tid}, func(m *neoproto.Transaction, refused error) error {
		if refused != nil {
			return &elsewhereError{err: refused}
		}
		if m.Tid != tid {
			return &elsewhereError{err: fmt.Errorf("it tells of transaction @%s when asked for @%s", m.Tid, tid)}
		}
		txn = &storage.Txn{Tid: tid, User: m.User, Description: m.Description, Extension: m.Extension, Oids: m.Oids}
		slices.Sort(txn.Oids)
		txn.Oids = slices.Compact(txn.Oids)
		return nil
	})
	return txn, wrapSome(err, "look up transaction @%s", tid)
}

func wrapSome(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return wrap(err, format, args...)
}
