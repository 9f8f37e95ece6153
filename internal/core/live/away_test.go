package live_test

import (
	"context"
	"errors"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/core/live"
	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/internal/zodb/storage/mem"
)

// outage has loads of db that which selects fail until it is over, each after having
// waited for a while.
func outage(db *mem.Storage, which func(zodb.Xid) bool) (over func()) {
	since, up := time.Now(), make(chan struct{})
	db.OnLoad(func(ctx context.Context, xid zodb.Xid) error {
		if !which(xid) {
			return nil
		}
		select {
		case <-up:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Minute):
			return &storage.AwayError{Since: since, Err: errors.New("connection refused")}
		}
	})
	return func() { close(up) }
}

// TestCommitWaitsForAServerThatIsAway as long as it takes, and is taken in then.
func TestCommitWaitsForAServerThatIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, h, db, next := resizeWorldOf(t, live.Config{}, int64(os.Getpagesize()), []int64{0, 1}, []int64{0, 1})
		require.NoError(t, k.ReadPages(t.Context(), nil, 0, 0, 2))
		over := outage(db, func(xid zodb.Xid) bool { return xid.At == 2 })
		done := make(chan struct{})
		go func() { defer close(done); next() }()
		time.Sleep(time.Hour)
		requireOpen(t, done, "the commit was taken in without the database")
		require.EqualValues(t, 1, h.At())
		require.NotNil(t, k.PageAt(1))
		over()
		<-done
		require.EqualValues(t, 2, h.At())
	})
}

// TestNobodyWaitsForACommitThatWaitsForTheServer to find out what clients have to pin
// before a file becomes shorter. They pin it when the server is back.
func TestNobodyWaitsForACommitThatWaitsForTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, h, db, next := resizeWorldOf(t, live.Config{}, int64(os.Getpagesize()), []int64{0, 1}, []int64{0, 1}, []int64{0})
		next()
		client := &sends{}
		var w *live.Watch
		require.NoError(t, h.Known(1).Watch(t.Context(), client, 2, nil, func(x *live.Watch) { w = x }))
		over := outage(db, func(xid zodb.Xid) bool { return xid == zodb.Xid{At: 2, Oid: 101} })
		done := make(chan struct{})
		go func() { defer close(done); next() }()
		synctest.Wait()
		read := make(chan error, 1)
		go func() { read <- k.ReadPages(t.Context(), nil, 0, 0, 1) }() // of what changes
		time.Sleep(2 * time.Minute)
		require.Len(t, read, 1)
		require.NoError(t, <-read)
		require.NoError(t, h.Known(1).Watch(t.Context(), &sends{}, 2, nil, func(x *live.Watch) { x.Drop() }))
		requireOpen(t, done, "what the file loses was not pinned")
		require.Empty(t, client.told())
		time.Sleep(time.Hour)
		over()
		require.Equal(t, []bool{false}, client.told())
		require.Equal(t, live.Taken, take(w, 1))
		w.Acked(1)
		<-done
		require.EqualValues(t, 3, h.At())
		w.Drop()
	})
}
