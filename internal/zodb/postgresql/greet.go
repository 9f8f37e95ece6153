package postgresql

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/fault"
	"github.com/wcfs/wcfs/internal/zodb/link"
)

// greeting sets up a connection and asks what there is at its other end: all in one round
// trip. Statements must each have a snapshot of their own, whatever the defaults of the
// database are. A caller has its statement cancelled in time, so that the limit of statements
// is only for those that nobody waits for any more; not all versions have all settings. The empty DO
// fails for a user who may not use the language of the follower's statement.
const greeting = `
SET default_transaction_isolation = 'read committed';
SET default_transaction_read_only = on;
SET statement_timeout = '5min';
SELECT set_config(name, '0', false) FROM pg_settings WHERE name IN ('lock_timeout', 'idle_session_timeout', 'transaction_timeout');
DO 'BEGIN END';
SELECT pg_postmaster_start_time()::text, pg_is_in_recovery(), current_user, current_setting('search_path'),
  (SELECT coalesce(string_agg(attname || ' ' || format_type(atttypid, NULL), ','), '') FROM pg_attribute
    WHERE attrelid = to_regclass('object_state') AND attnum > 0 AND NOT attisdropped),
  (SELECT coalesce(string_agg(attname || ' ' || format_type(atttypid, NULL), ','), '') FROM pg_attribute
    WHERE attrelid = to_regclass('"transaction"') AND attnum > 0 AND NOT attisdropped),
  coalesce(has_table_privilege(to_regclass('object_state'), 'SELECT'), false),
  coalesce(has_table_privilege(to_regclass('"transaction"'), 'SELECT'), false)`

// facts are what a server says about itself and the database.
type facts struct {
	began        string // when the instance did; no other one has the same
	standby      bool
	user         string
	searchPath   string
	objects      string // columns of object_state, empty: there is none
	transactions string // columns of transaction, empty: there is none
	readObjects  bool   // the user may read object_state
	readTxns     bool   // the user may read transaction
	last         zodb.Tid
}

// Columns that are read, with their types, in databases that preserve history.
var (
	objectColumns      = []string{"zoid bigint", "tid bigint", "state bytea"}
	transactionColumns = []string{"tid bigint", "username bytea", "description bytea", "extension bytea"}
)

// connect connects to one server and finds out what is there. The connection is ready for
// statements if there is a database as it should be. It is returned also with an error if
// it was made.
func connect(ctx context.Context, c candidate, sockets *sockets) (*pgconn.PgConn, *facts, error) {
	config := c.config.Copy()
	config.DialFunc = sockets.dial
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return nil, nil, err
	}
	about, err := greet(ctx, conn)
	if err == nil && about.check(c) == nil {
		err = prepare(ctx, conn)
		if err == nil {
			about.last, err = lastOf(ctx, conn)
		}
	}
	return conn, about, err
}

func greet(ctx context.Context, conn *pgconn.PgConn) (*facts, error) {
	results, err := conn.Exec(ctx, greeting).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("ask the server about itself: %w", err)
	}
	var rows [][][]byte
	if len(results) > 0 {
		rows = results[len(results)-1].Rows
	}
	if len(rows) != 1 || len(rows[0]) != 8 {
		return nil, errors.New("the server does not say what it is")
	}
	text := func(i int) string { return string(rows[0][i]) }
	return &facts{
		began: text(0), standby: text(1) == "t", user: text(2), searchPath: text(3),
		objects: text(4), transactions: text(5), readObjects: text(6) == "t", readTxns: text(7) == "t",
	}, nil
}

const historyFreeHint = "only databases that preserve history are served, since others have no past states; " +
	"convert it with zodbconvert to a RelStorage that has keep-history true"

// check says what is wrong with the database, in words for the person who typed the url.
func (f *facts) check(c candidate) error {
	database := fmt.Sprintf("database %q at %s", c.config.Database, c.addr)
	switch {
	case f.objects == "":
		return link.Wrong(fault.NotADatabase, nil, fmt.Sprintf("%s has no tables of RelStorage that user %q can see (search_path is %s)", database, f.user, f.searchPath),
			"correct the name of the database, or have the application create its tables")
	case f.transactions == "":
		return link.Wrong(fault.NotADatabase, nil, database+" is a history-free one of RelStorage", historyFreeHint)
	}
	missing := append(missing(f.objects, objectColumns, "object_state"), missing(f.transactions, transactionColumns, "transaction")...)
	switch {
	case len(missing) > 0:
		return link.Wrong(fault.NotADatabase, nil, fmt.Sprintf("%s has tables of another version of RelStorage: there is no column %s", database, strings.Join(missing, ", ")),
			"those of RelStorage 3 and 4 are understood")
	case !f.readObjects, !f.readTxns:
		return link.Wrong(fault.Unreachable, nil, fmt.Sprintf("user %q may not read the tables of %s", f.user, database),
			fmt.Sprintf("have their owner say: GRANT SELECT ON object_state, \"transaction\" TO %q", f.user))
	}
	return nil
}

// missing returns which of the wanted columns a table does not have.
func missing(columns string, want []string, table string) (missing []string) {
	have := strings.Split(columns, ",")
	for _, column := range want {
		found := false
		for _, c := range have {
			found = found || c == column
		}
		if !found {
			missing = append(missing, fmt.Sprintf("%s.%s", table, column))
		}
	}
	return missing
}

// Names of prepared statements.
const (
	stmtLast    = "wcfs_last"
	stmtLoad    = "wcfs_load"
	stmtMany    = "wcfs_many"
	stmtKnown   = "wcfs_known"
	stmtChanges = "wcfs_changes"
	stmtCount   = "wcfs_count"
	stmtHistory = "wcfs_history"
)

// statements are prepared on every connection. The row of tid 0 is one that RelStorage
// makes for itself. Lists of objects are numbers of 8 bytes each, big-endian.
var statements = [][2]string{
	{stmtLast, `SELECT coalesce(max(tid), 0) FROM "transaction"`},
	{stmtLoad, `SELECT tid, state FROM object_state WHERE zoid = $1::bigint AND tid <= $2::bigint ORDER BY tid DESC LIMIT 1`},
	{stmtMany, `SELECT q.n, o.tid, o.state, o.tid IS NULL AND EXISTS (SELECT FROM object_state k WHERE k.zoid = q.zoid)
		FROM unnest($1::bigint[], $2::bigint[]) WITH ORDINALITY AS q(zoid, at, n)
		LEFT JOIN LATERAL (SELECT tid, state FROM object_state s WHERE s.zoid = q.zoid AND s.tid <= q.at ORDER BY s.tid DESC LIMIT 1) o ON true`},
	{stmtKnown, `SELECT 1 FROM object_state WHERE zoid = $1::bigint LIMIT 1`},
	{stmtChanges, `SELECT tid, (SELECT string_agg(int8send(zoid), '') FROM object_state o WHERE o.tid = t.tid)
		FROM "transaction" t WHERE tid > $1::bigint ORDER BY tid LIMIT ` + strconv.Itoa(changesAtOnce)},
	{stmtCount, `SELECT count(*) FROM "transaction" WHERE tid > $1::bigint AND tid <= $2::bigint`},
	{stmtHistory, `SELECT tid, (SELECT string_agg(int8send(zoid), '') FROM object_state o WHERE o.tid = t.tid), username, description, extension
		FROM "transaction" t WHERE tid BETWEEN $1::bigint AND $2::bigint ORDER BY tid LIMIT ` + strconv.Itoa(historyAtOnce)},
}

func prepare(ctx context.Context, conn *pgconn.PgConn) error {
	pipeline := conn.StartPipeline(ctx)
	for _, s := range statements {
		pipeline.SendPrepare(s[0], s[1], nil)
	}
	err := pipeline.Sync()
	for range statements {
		if err == nil {
			_, err = pipeline.GetResults()
		}
	}
	if closeErr := pipeline.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("prepare statements: %w", err)
	}
	return nil
}

func lastOf(ctx context.Context, conn *pgconn.PgConn) (last zodb.Tid, err error) {
	err = rows(conn.ExecPrepared(ctx, stmtLast, nil, nil, binaryFormat), func(values [][]byte) error {
		n, err := number(values[0])
		if err != nil {
			return &answerError{err}
		}
		last = zodb.Tid(n)
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("ask for the last transaction: %w", err)
	}
	return last, nil
}
