package postgresql

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/storage"
)

const (
	changesAtOnce = 1000

	// patience is how long the follower's statement waits in the server.
	patience = time.Second

	// usualSilence is after which time without an answer a server is taken for gone.
	usualSilence = 25 * time.Second

	// maxCancelled is how many times in a row the follower's statement may be cancelled.
	maxCancelled = 10

	// lateness is for how long at least the follower looks for transactions that come late.
	lateness = 10 * time.Second
)

var errSilent = errors.New("the server does not answer any more")

// follower tells of commits. It is one goroutine, and everything here belongs to it.
type follower struct {
	*session
	conn *pgconn.PgConn
	told zodb.Tid // newest transaction that was told, or the last one of before

	// before and now count the transactions that were told lately; now began at since.
	before, now span
	since       time.Time
}

// span counts transactions after one.
type span struct {
	after zodb.Tid
	n     uint64
}

func newFollower(s *session, conn *pgconn.PgConn) *follower {
	begin := span{after: s.about.last}
	return &follower{session: s, conn: conn, told: s.about.last, before: begin, now: begin, since: time.Now()}
}

// run tells of transactions until the connection breaks, and returns why.
func (f *follower) run() error {
	for cancelled := 0; ; {
		err := f.ask()
		switch {
		case f.ctx.Err() != nil:
			return f.Err()
		case err == nil:
			cancelled = 0
		case f.conn.IsClosed() || !isPassing(err) || cancelled == maxCancelled:
			return fmt.Errorf("ask for new transactions: %w", err)
		default:
			cancelled++
		}
		if time.Since(f.since) > lateness {
			f.before, f.now, f.since = f.now, span{after: f.told}, time.Now()
		}
	}
}

// ask waits for new transactions, for a while, and tells of them.
func (f *follower) ask() (err error) {
	silence := cmp.Or(f.cfg.silence, usualSilence)
	ctx, cancel := context.WithCancelCause(f.ctx)
	defer cancel(nil)
	watchdog := time.AfterFunc(silence, func() { cancel(errSilent) })
	defer watchdog.Stop()

	results := f.conn.ExecBatch(ctx, f.questions())
	take := []func(values [][]byte) error{f.tellRow, f.count(f.told)}
	for at := -1; results.NextResult(); at++ { // the first one has no rows
		for r := results.ResultReader(); r.NextRow(); watchdog.Reset(silence) {
			if err == nil {
				if err = take[max(at, 0)](r.Values()); err != nil {
					cancel(err) // the connection is of no use any more
				}
			}
		}
	}
	if closeErr := results.Close(); err == nil && closeErr != nil {
		err = cmp.Or(context.Cause(ctx), closeErr)
	}
	return err
}

// questions are asked in one round trip.
func (f *follower) questions() *pgconn.Batch {
	batch := &pgconn.Batch{}
	batch.ExecParams(waitStatement(f.told, f.cfg.Poll), nil, nil, nil, nil)
	told := bigint(uint64(f.told))
	batch.ExecPrepared(stmtChanges, [][]byte{told}, binaryFormat, binaryFormat)
	batch.ExecPrepared(stmtCount, [][]byte{bigint(uint64(f.before.after)), told}, binaryFormat, binaryFormat)
	return batch
}

// waitStatement ends in the server when there is a transaction after told, or after a
// while. The language of its text is plpgsql, where each statement has a new snapshot.
func waitStatement(told zodb.Tid, poll time.Duration) string {
	times := max(1, int(patience/poll))
	return fmt.Sprintf(`DO 'BEGIN FOR i IN 1..%d LOOP
		EXIT WHEN EXISTS (SELECT FROM "transaction" WHERE tid > %d);
		PERFORM pg_sleep(%g);
	END LOOP; END'`, times, uint64(told), poll.Seconds())
}

// tellRow tells of a transaction.
func (f *follower) tellRow(values [][]byte) error {
	tid, err := number(values[0])
	if err != nil {
		return &answerError{err}
	}
	oids, err := oidsOf(values[1])
	if err != nil {
		return &answerError{err}
	}
	f.told = zodb.Tid(tid)
	f.now.n++
	f.tell(f.told, oids)
	return nil
}

// count finds out whether there are more transactions up to a tid than were told: one of
// them became visible after a later one, and nobody can say what has been read meanwhile.
func (f *follower) count(upto zodb.Tid) func(values [][]byte) error {
	after := f.before.after
	want := f.before.n + f.now.n
	return func(values [][]byte) error {
		n, err := number(values[0])
		if err != nil {
			return &answerError{err}
		}
		if n > want {
			return &answerError{&storage.DownError{Err: &storage.HistoryLostError{Head: after, Why: fmt.Sprintf(
				"a transaction before @%s came after it, so somebody writes without the lock of RelStorage", upto)}}}
		}
		return nil
	}
}
