package demostorage_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/internal/zodb/storage/mem"
)

// stub is a part in memory of which some more is scripted.
type stub struct {
	*mem.Storage
	mu               sync.Mutex
	reach            storage.Reach
	complete, newest zodb.Tid
	kept             []zodb.Tid
	answer           func(zodb.Xid) error // of loads, nil: that of the database
}

func (s *stub) script(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *stub) open(context.Context, storage.URL, storage.Options) (storage.Storage, zodb.Tid, error) {
	return s, s.Head(), nil
}

func (s *stub) Load(ctx context.Context, xid zodb.Xid) (*storage.Buf, zodb.Tid, error) {
	s.mu.Lock()
	answer := s.answer
	s.mu.Unlock()
	if answer != nil {
		if err := answer(xid); err != nil {
			return nil, 0, err
		}
	}
	return s.Storage.Load(ctx, xid)
}

func (s *stub) Reach() storage.Reach {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reach
}

func (s *stub) Packs() (complete, newest zodb.Tid) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.complete, s.newest
}

func (s *stub) Keep(from zodb.Tid) { s.script(func() { s.kept = append(s.kept, from) }) }

// rig is a storage over two stubs. Both have objects 1 and 2, the base as of @2.
type rig struct {
	storage.Storage
	base, delta *stub
	warnings    chan string
}

func put(oid zodb.Oid, data string) map[zodb.Oid][]byte {
	return map[zodb.Oid][]byte{oid: []byte(data)}
}

func newRig(t *testing.T) *rig {
	w := newWorld(t)
	r := &rig{base: &stub{Storage: mem.New(), reach: storage.Reach{Up: true}}, delta: &stub{Storage: mem.New(), reach: storage.Reach{Up: true}},
		warnings: make(chan string, 10)}
	r.base.Commit(1, put(1, "one"))
	r.base.Commit(2, put(2, "two"))
	for range 2 { // an opened database does not tell of them
		_, err := r.base.NextEvent(t.Context())
		require.NoError(t, err)
	}
	for name, s := range map[string]*stub{"base": r.base, "delta": r.delta} {
		w.drivers[name] = s.open
	}
	s, at0, err := w.drivers.Open(t.Context(), "demo:(base://x)/(delta://x)", storage.Options{
		Warnf: func(format string, args ...any) { r.warnings <- fmt.Sprintf(format, args...) },
	})
	require.NoError(t, err)
	require.Equal(t, zodb.Tid(2), at0)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	r.Storage = s
	return r
}

func (r *rig) load(t *testing.T, oid zodb.Oid, at zodb.Tid) string {
	t.Helper()
	buf, serial, err := r.Load(t.Context(), zodb.Xid{Oid: oid, At: at})
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%s of %d", buf.Data, uint64(serial))
}

func TestBaseIsFrozenAndThatItGoesOnIsWarnedOfOnce(t *testing.T) {
	r := newRig(t)
	r.base.Commit(5, put(1, "later"))
	require.Regexp(t, `demo:.*the base goes on with transaction @0000000000000005.*must not change.*@0000000000000002`, <-r.warnings)
	r.base.Commit(6, put(1, "later still"))
	require.Equal(t, zodb.Tid(2), r.Head())
	head, err := r.Sync(t.Context())
	require.NoError(t, err)
	require.Equal(t, zodb.Tid(2), head)
	_, _, err = r.Load(t.Context(), zodb.Xid{At: 3, Oid: 1})
	var future *storage.FutureViewError
	require.ErrorAs(t, err, &future)
	require.Equal(t, zodb.Tid(2), future.Head)

	r.delta.Commit(7, put(2, "new"))
	require.Equal(t, zodb.Tid(7), r.Head())
	ev, err := r.NextEvent(t.Context())
	require.NoError(t, err)
	require.Equal(t, storage.Event{Tid: 7, Oids: []zodb.Oid{2}}, ev)
	require.Equal(t, "one of 1", r.load(t, 1, 7))
	require.Equal(t, "new of 7", r.load(t, 2, 7))
	require.Equal(t, "two of 2", r.load(t, 2, 6))
	var tids []zodb.Tid
	require.NoError(t, r.Storage.(storage.Iterator).Iterate(t.Context(), 0, zodb.TidMax, func(txn *storage.Txn) error {
		tids = append(tids, txn.Tid)
		return nil
	}))
	require.Equal(t, []zodb.Tid{1, 2, 7}, tids)
	r.base.Fail(errors.New("the end of what it tells"))
	_, err = r.NextEvent(t.Context())
	require.ErrorContains(t, err, "the end of what it tells")
	require.Empty(t, r.warnings)
}

func TestViewsOfTheBaseDoNotAskTheDelta(t *testing.T) {
	r := newRig(t)
	r.delta.Commit(7, put(2, "new"))
	require.Equal(t, "one of 1", r.load(t, 1, 1))
	require.Equal(t, "two of 2", r.load(t, 2, 2))
	require.Zero(t, r.delta.Loads())
}

func TestEndOfEitherPartEndsTheStorage(t *testing.T) {
	for _, name := range []string{"base", "delta"} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			part := map[string]*stub{"base": r.base, "delta": r.delta}[name]
			failed := make(chan error)
			go func() {
				_, err := r.NextEvent(t.Context())
				failed <- err
			}()
			part.Fail(errors.New("it went back"))
			var down *storage.DownError
			require.ErrorAs(t, <-failed, &down)
			require.Equal(t, "storage is down: "+name+": it went back", down.Error())
			_, err := r.NextEvent(t.Context())
			require.Equal(t, error(down), err)
			_, err = r.Sync(t.Context())
			require.Equal(t, error(down), err)
			reach := r.Storage.(storage.Reachable).Reach()
			require.False(t, reach.Up)
			require.Equal(t, error(down), reach.Err)
			require.Equal(t, "one of 1", r.load(t, 1, 2)) // known views can be loaded
		})
	}
}

func TestOldTransactionInTheDeltaEndsTheStorage(t *testing.T) {
	r := newRig(t)
	r.delta.Commit(2, put(1, "of another base"))
	_, err := r.NextEvent(t.Context())
	var down *storage.DownError
	require.ErrorAs(t, err, &down)
	require.ErrorContains(t, err, "delta: transaction @0000000000000002 is not after the last one of the base")
	require.Equal(t, "one of 1", r.load(t, 1, 2))
}

func TestErrorsOfPartsKeepTheirMeaningAndNameThePart(t *testing.T) {
	r := newRig(t)
	r.delta.Commit(7, put(2, "new"))
	for _, err := range []error{
		&storage.CorruptError{Oid: 1, Tid: 2, Err: errors.New("bad")},
		&storage.AwayError{Since: time.Now(), Err: errors.New("no route")},
		&storage.PackedError{Xid: zodb.Xid{At: 2, Oid: 1}, PackTime: 2},
		&storage.DownError{Err: errors.New("gone")},
	} {
		for name, part := range map[string]*stub{"base": r.base, "delta": r.delta} {
			part.script(func() { part.answer = func(zodb.Xid) error { return err } })
			_, _, got := r.Load(t.Context(), zodb.Xid{At: 7, Oid: 1})
			require.ErrorContains(t, got, name+": ")
			require.Equal(t, fmt.Sprintf("%T", err), typeIn(got))
			part.script(func() { part.answer = nil })
		}
	}
	require.Equal(t, "one of 1", r.load(t, 1, 7))
}

func typeIn(err error) string {
	var corrupt *storage.CorruptError
	var away *storage.AwayError
	var packed *storage.PackedError
	var down *storage.DownError
	for _, target := range []any{&corrupt, &away, &packed, &down} {
		if errors.As(err, target) {
			return strings.TrimPrefix(fmt.Sprintf("%T", target), "*")
		}
	}
	return err.Error()
}

func TestServersOfBothPartsMustBeThere(t *testing.T) {
	r := newRig(t)
	reachable := r.Storage.(storage.Reachable)
	require.Equal(t, storage.Reach{Up: true}, reachable.Reach())
	early, late := time.Unix(100, 0), time.Unix(200, 0)
	r.delta.script(func() { r.delta.reach = storage.Reach{Since: early, Err: errors.New("lost d")} })
	require.Equal(t, early, reachable.Reach().Since)
	require.EqualError(t, reachable.Reach().Err, "delta: lost d")
	r.base.script(func() { r.base.reach = storage.Reach{Since: late, Err: errors.New("lost b")} })
	require.False(t, reachable.Reach().Up)
	require.Equal(t, early, reachable.Reach().Since)
	require.EqualError(t, reachable.Reach().Err, "base: lost b; delta: lost d")
	r.delta.script(func() { r.delta.reach = storage.Reach{Up: true} })
	require.Equal(t, late, reachable.Reach().Since)

	w := newWorld(t) // files have no server
	base, _ := w.file()
	delta, _ := w.file()
	s, _ := w.open(t, "demo:("+base+")/("+delta+")")
	defer s.Close()
	require.NotImplements(t, (*storage.Reachable)(nil), s)
}

func TestPacksOfBothPartsCount(t *testing.T) {
	r := newRig(t)
	r.delta.Commit(7, put(2, "new"))
	packed := r.Storage.(storage.Packed)
	packs := func() [2]zodb.Tid {
		complete, newest := packed.Packs()
		return [2]zodb.Tid{complete, newest}
	}
	require.Equal(t, [2]zodb.Tid{0, 0}, packs())
	r.base.script(func() { r.base.complete, r.base.newest = 1, 2 })
	require.Equal(t, [2]zodb.Tid{1, 2}, packs())
	r.delta.script(func() { r.delta.complete, r.delta.newest = 0, 5 })
	require.Equal(t, [2]zodb.Tid{1, 5}, packs())
	r.base.script(func() { r.base.newest = 9 }) // it has gone on; the frozen view is left
	require.Equal(t, [2]zodb.Tid{1, 5}, packs())
	packed.Keep(6)
	packed.Keep(1)
	require.Equal(t, []zodb.Tid{6, 1}, r.delta.kept)
	require.Equal(t, []zodb.Tid{2, 2, 1}, r.base.kept) // the frozen view, from the beginning
}

// TestBaseThatIsPackedAwayEndsTheStorage checks that what is missing because of a pack of
// a base that has gone on is not taken for something that has never been there.
func TestBaseThatIsPackedAwayEndsTheStorage(t *testing.T) {
	r := newRig(t)
	r.base.script(func() { r.base.complete, r.base.newest = 5, 5 })
	_, _, err := r.Load(t.Context(), zodb.Xid{At: 2, Oid: 99})
	var down *storage.DownError
	require.ErrorAs(t, err, &down)
	require.ErrorContains(t, err, "base: it was packed up to @0000000000000005")
	_, err = r.NextEvent(t.Context())
	require.Equal(t, error(down), err)
}

func TestDeletionInAPackedDeltaIsAsOldAsThePack(t *testing.T) {
	r := newRig(t)
	r.delta.Commit(9, put(3, "other"))
	// A pack up to @8 has removed all of object 2, so the delta does not know since when
	// that is gone. A view before would be answered by the revision of the base, if the
	// serial said that the object has been deleted all the time.
	r.delta.script(func() {
		r.delta.complete, r.delta.newest = 0, 8
		r.delta.answer = func(xid zodb.Xid) error {
			if xid.Oid == 2 && xid.At < 8 {
				return &storage.PackedError{Xid: xid, PackTime: 8}
			}
			return nil
		}
	})
	require.Equal(t, "two of 8", r.load(t, 2, 9))
	require.Equal(t, "one of 1", r.load(t, 1, 9))
	require.Contains(t, r.load(t, 2, 7), "packed away")
}

func TestRecordsComeInPieces(t *testing.T) {
	r := newRig(t)
	r.delta.Commit(7, put(2, "new"))
	streamer := r.Storage.(storage.Streamer)
	for oid, want := range map[zodb.Oid]string{1: "one of 1", 2: "new of 7"} {
		var got []byte
		serial, err := streamer.Stream(t.Context(), zodb.Xid{At: 7, Oid: oid}, func(r io.Reader) (err error) {
			got, err = io.ReadAll(r)
			return err
		})
		require.NoError(t, err)
		require.Equal(t, want, fmt.Sprintf("%s of %d", got, uint64(serial)))
	}
	// An error of the consumer is not taken for an answer of the delta.
	mine := &zodb.NoObjectError{Oid: 5}
	_, err := streamer.Stream(t.Context(), zodb.Xid{At: 7, Oid: 2}, func(io.Reader) error { return mine })
	require.ErrorIs(t, err, mine)
	_, err = streamer.Stream(t.Context(), zodb.Xid{At: 7, Oid: 4}, func(io.Reader) error { return nil })
	require.True(t, storage.IsNoData(err))
	serial, err := r.Storage.(storage.Serialer).Serial(t.Context(), zodb.Xid{At: 7, Oid: 1})
	require.NoError(t, err)
	require.Equal(t, zodb.Tid(1), serial)
}
