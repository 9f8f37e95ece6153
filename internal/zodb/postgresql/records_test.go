package postgresql

import (
	"bytes"
	"compress/zlib"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/postgresql/pgtest"
	"github.com/wcfs/wcfs/internal/zodb/remote"
	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/internal/zodb/storage/pythontest"
)

// opened opens a database for as long as the test.
func opened(t *testing.T, d *pgtest.Database) storage.Storage {
	t.Helper()
	stor, _, err := Open(t.Context(), urlOf(t, d.URL()), storage.Options{Warnf: t.Logf})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, stor.Close()) })
	return stor
}

// requireData checks what an object is as of a view.
func requireData(t *testing.T, stor storage.Loader, at zodb.Tid, oid zodb.Oid, data string, serial zodb.Tid) {
	t.Helper()
	buf, got, err := stor.Load(t.Context(), zodb.Xid{At: at, Oid: oid})
	require.NoError(t, err)
	require.True(t, data == string(buf.Data), "%d bytes", len(buf.Data))
	require.Equal(t, serial, got)
	buf.Release()
}

// requireDeleted checks that an object is there no more since a transaction.
func requireDeleted(t *testing.T, stor storage.Loader, at zodb.Tid, oid zodb.Oid, by zodb.Tid) {
	t.Helper()
	_, _, err := stor.Load(t.Context(), zodb.Xid{At: at, Oid: oid})
	var noData *zodb.NoDataError
	require.ErrorAs(t, err, &noData)
	require.Equal(t, by, noData.DeletedAt)
}

// requireNext checks the next event.
func requireNext(t *testing.T, stor storage.Storage, tid zodb.Tid, oids ...zodb.Oid) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ev, err := stor.NextEvent(ctx)
	require.NoError(t, err)
	require.Equal(t, tid, ev.Tid)
	require.Equal(t, fmt.Sprint(oids), fmt.Sprint(ev.Oids))
}

// compressed returns a record as zc.zlibstorage has it.
func compressed(data string) string {
	b := bytes.NewBufferString(".z")
	w := zlib.NewWriter(b)
	_, _ = w.Write([]byte(data))
	_ = w.Close()
	return b.String()
}

func TestRecordsComeAsTheApplicationHasThem(t *testing.T) {
	t.Parallel()
	d := ground.Shared(t).CreateDatabase(t, true)
	w, stor := d.Writer(t), opened(t, d)
	long := strings.Repeat("\x80\x03cx\ny\nq\x00.", 300_000)
	bytesOfAllKinds := make([]byte, 256)
	for i := range bytesOfAllKinds {
		bytesOfAllKinds[i] = byte(i)
	}
	tid := w.Commit(put(0, compressed("plain")), put(1, compressed(long)), put(2, long), put(3, string(bytesOfAllKinds)),
		put(5, ".znonsense"), put(6, "\\x41"), put(maxID, "last"), put(1<<32, "x"), put(1<<53+1, "y"))
	requireNext(t, stor, tid, 0, 1, 2, 3, 5, 6, 1<<32, 1<<53+1, maxID)
	for oid, want := range map[zodb.Oid]string{
		0: "plain", 1: long, 2: long, 3: string(bytesOfAllKinds), 6: "\\x41", maxID: "last", 1 << 32: "x", 1<<53 + 1: "y",
	} {
		requireData(t, stor, tid, oid, want, tid)
	}
	_, _, err := stor.Load(t.Context(), zodb.Xid{At: tid, Oid: 5})
	var corrupt *storage.CorruptError
	require.ErrorAs(t, err, &corrupt)
	require.Equal(t, zodb.Oid(5), corrupt.Oid)
	for _, oid := range []zodb.Oid{7, maxID + 1, zodb.InvalidOid - 1} {
		_, _, err := stor.Load(t.Context(), zodb.Xid{At: tid, Oid: oid})
		require.True(t, storage.IsNoData(err), "%v", err)
	}
	_, _, err = stor.Load(t.Context(), zodb.Xid{At: 0, Oid: 0})
	require.True(t, storage.IsNoData(err), "%v", err)
	for _, at := range []zodb.Tid{tid + 1, zodb.TidMax, zodb.InvalidTid} {
		_, _, err := stor.Load(t.Context(), zodb.Xid{At: at, Oid: 0})
		var future *storage.FutureViewError
		require.ErrorAs(t, err, &future)
	}
}

// A record that is beyond what one may have is damage of that object, and of nothing else.
func TestRecordsThatAreTooLong(t *testing.T) {
	t.Parallel()
	s := newSite(t, ground.Shared(t), func(cfg *Config, _ *remote.Config) {
		for _, c := range cfg.candidates {
			c.config.MaxProtocolMessageBodyLen = 1 << 20
		}
	})
	s.write(77, strings.Repeat("x", 2<<20))
	s.write(78, "y")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for s.stor.Head() < s.model.Head() {
		_, err := s.stor.NextEvent(ctx)
		require.NoError(t, err)
	}
	for range 20 { // each costs a connection
		_, _, err := s.stor.Load(ctx, zodb.Xid{At: s.stor.Head(), Oid: 77})
		var corrupt *storage.CorruptError
		require.ErrorAs(t, err, &corrupt)
		require.Equal(t, zodb.Oid(77), corrupt.Oid)
		require.NoError(t, s.load(78))
	}
	require.True(t, s.stor.Reach().Up)
	require.Zero(t, s.stor.Reach().Reconnects)
}

// RelStorage deletes by a revision without data, and undoes by one that is as before.
func TestDeletionsAndUndosAreTold(t *testing.T) {
	t.Parallel()
	d := ground.Shared(t).CreateDatabase(t, true)
	w, stor := d.Writer(t), opened(t, d)
	first := w.Commit(put(1, "a"), put(2, "a"))
	requireNext(t, stor, first, 1, 2)
	second := w.Commit(put(1, "b"), put(3, "b"))
	requireNext(t, stor, second, 1, 3)
	undone := w.Do(pythontest.Order{Do: "commit", Undo: second.String(), Undone: []string{"1", "3"}})
	requireNext(t, stor, undone, 1, 3)
	requireData(t, stor, undone, 1, "a", undone)
	requireData(t, stor, second, 1, "b", second)
	requireDeleted(t, stor, undone, 3, undone)
	deleted := w.Commit(pythontest.Remove(2))
	requireNext(t, stor, deleted, 2)
	requireDeleted(t, stor, deleted, 2, deleted)
	requireData(t, stor, undone, 2, "a", first)
	nothing := w.Commit()
	requireNext(t, stor, nothing)
	again := w.Commit(put(2, "c"))
	requireNext(t, stor, again, 2)
	requireData(t, stor, again, 2, "c", again)
	requireDeleted(t, stor, nothing, 2, deleted)
}

// A pack takes old revisions away: views before it have objects less, and all else stays as
// it is, also for those who follow.
func TestPacksAreSurvived(t *testing.T) {
	t.Parallel()
	const root = "\x80\x03cpersistent.mapping\nPersistentMapping\nq\x00.\x80\x03}q\x01%d."
	record := func(n int) string { return strings.ReplaceAll(root, "%d", fmt.Sprintf("K\x01K%c\x73", n)) }
	d := ground.Shared(t).CreateDatabase(t, true)
	w, stor := d.Writer(t), opened(t, d)
	first := w.Commit(put(0, record(1)), put(9, record(1))) // nobody refers to the latter
	second := w.Commit(put(0, record(2)))
	w.Commit()
	third := w.Commit(put(0, record(3)))
	for _, tid := range []zodb.Tid{first, second} {
		requireNext(t, stor, tid, map[zodb.Tid][]zodb.Oid{first: {0, 9}, second: {0}}[tid]...)
	}
	_, err := stor.NextEvent(t.Context())
	require.NoError(t, err)
	requireNext(t, stor, third, 0)
	requireData(t, stor, first, 0, record(1), first)
	w.Do(pythontest.Order{Do: "pack"})
	requireData(t, stor, third, 0, record(3), third)
	_, _, err = stor.Load(t.Context(), zodb.Xid{At: second, Oid: 0})
	require.True(t, storage.IsNoData(err), "%v", err)
	_, _, err = stor.Load(t.Context(), zodb.Xid{At: third, Oid: 9})
	require.True(t, storage.IsNoData(err), "%v", err)
	after := w.Commit(put(0, record(4)))
	requireNext(t, stor, after, 0)
	requireData(t, stor, after, 0, record(4), after)
	require.True(t, stor.(storage.Reachable).Reach().Up)
	again := opened(t, d)
	require.Equal(t, after, again.Head())
	var tids []zodb.Tid
	require.NoError(t, stor.(storage.Iterator).Iterate(t.Context(), 0, zodb.TidMax, func(txn *storage.Txn) error {
		tids = append(tids, txn.Tid)
		return nil
	}))
	require.Contains(t, tids, third)
	require.Contains(t, tids, after)
}

// Loads get along with fewer connections than they might have, and say what is wrong if there
// are none.
func TestServersMayBeCrowded(t *testing.T) {
	t.Parallel()
	c := ground.Shared(t)
	s := newSite(t, c, nil)
	crowd := "crowd_" + s.db.Name
	c.Query(t, "postgres", "CREATE ROLE "+crowd+" LOGIN IN ROLE reader")
	s.open(s.db, func(cfg *Config, r *remote.Config) {
		withURL(t, as(crowd, s.db.URL()))(cfg, r)
		r.Timeout = 500 * time.Millisecond
	})
	limit := func(n int) {
		c.Query(t, "postgres", fmt.Sprintf("ALTER ROLE %s CONNECTION LIMIT %d; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '%[1]s'", crowd, n))
		s.reaches(true)
	}
	load := func() error {
		var g errgroup.Group
		for i := range 30 {
			g.Go(func() error { return s.load(zodb.Oid(i)) })
		}
		return g.Wait()
	}
	require.NoError(t, load())
	limit(2) // one is the follower's
	require.Eventually(t, func() bool { return load() == nil }, time.Minute, time.Millisecond)
	require.NoError(t, load())
	s.commit(3)
	s.check()
	limit(1)
	require.Eventually(t, func() bool {
		_, _, err := s.stor.Load(t.Context(), zodb.Xid{At: s.stor.Head(), Oid: 1})
		var away *storage.AwayError
		return errors.As(err, &away) && strings.Contains(err.Error(), "too many connections for role")
	}, time.Minute, time.Millisecond)
	limit(20)
	require.Eventually(t, func() bool { return load() == nil }, time.Minute, time.Millisecond)
	s.commit(3)
	s.check()
}
