package postgresql

import (
	"bytes"
	"context"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// historyAtOnce is how many transactions are asked for at a time. They are all in memory
// before they are handed over, since who takes them may load meanwhile.
const historyAtOnce = 64

// Transactions implements remote.Session.
func (s *session) Transactions(ctx context.Context, from, to zodb.Tid, f func(*storage.Txn) error) error {
	from, to = max(from, 1), min(to, maxID)
	for from <= to {
		var page []*storage.Txn
		err := s.with(ctx, func(c *pgconn.PgConn) (err error) {
			page, err = history(ctx, c, from, to)
			return err
		})
		if err != nil {
			return wrap(err, "list transactions from @%s to @%s", from, to)
		}
		for _, txn := range page {
			if err := f(txn); err != nil {
				return err
			}
		}
		if len(page) < historyAtOnce {
			return nil
		}
		from = page[len(page)-1].Tid + 1
	}
	return nil
}

// history returns the first transactions of a range.
func history(ctx context.Context, c *pgconn.PgConn, from, to zodb.Tid) (page []*storage.Txn, err error) {
	params := [][]byte{bigint(uint64(from)), bigint(uint64(to))}
	err = rows(c.ExecPrepared(ctx, stmtHistory, params, binaryFormat, binaryFormat), func(values [][]byte) error {
		tid, err := number(values[0])
		if err != nil {
			return &answerError{err}
		}
		oids, err := oidsOf(values[1])
		if err != nil {
			return &answerError{err}
		}
		slices.Sort(oids)
		page = append(page, &storage.Txn{
			Tid: zodb.Tid(tid), Oids: oids,
			User: bytes.Clone(values[2]), Description: bytes.Clone(values[3]), Extension: bytes.Clone(values[4]),
		})
		return nil
	})
	return page, err
}
