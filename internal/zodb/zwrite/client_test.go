package zwrite

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/fault"
	"github.com/wcfs/wcfs/internal/zodb/record"
	"github.com/wcfs/wcfs/internal/zodb/remote"
	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/internal/zodb/storage/storagetest"
)

// fakeServer is the database of a server that does what no real one can be made to do.
type fakeServer struct {
	mu      sync.Mutex
	model   *storagetest.Model
	python2 bool
	down    error // of dial
	finish  func(commit func() zodb.Tid) (zodb.Tid, error)
	voting  func(ctx context.Context) error
	nextOid zodb.Oid
	calls   []string
}

func newFakeServer() *fakeServer { return &fakeServer{model: storagetest.NewModel()} }

func (s *fakeServer) dial(context.Context) (remote.Writer, error) {
	if s.down != nil {
		return nil, s.down
	}
	return &fakeWriter{s: s, done: make(chan struct{})}, nil
}

func (s *fakeServer) client(t *testing.T) *Client {
	c, err := Connect(t.Context(), s.dial, ClientOptions{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

func (s *fakeServer) called(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, fmt.Sprintf(format, args...))
}

// take returns the calls since the last take.
func (s *fakeServer) take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	calls := s.calls
	s.calls = nil
	return calls
}

// commit commits as somebody else.
func (s *fakeServer) commit(description string, records ...storagetest.Record) zodb.Tid {
	tid := s.model.Head() + 10
	s.model.Commit(storagetest.Txn{Tid: tid, Description: []byte(description), Records: records})
	return tid
}

// fakeWriter is a session with it.
type fakeWriter struct {
	s    *fakeServer
	end  sync.Once
	done chan struct{}
	txn  storagetest.Txn
}

func (w *fakeWriter) Load(ctx context.Context, xid zodb.Xid) (*storage.Buf, zodb.Tid, error) {
	data, serial, _ := w.s.model.Load(xid)
	if data == nil {
		return nil, 0, &zodb.NoDataError{Oid: xid.Oid}
	}
	buf := storage.NewBuf(len(data))
	copy(buf.Data, data)
	return buf, serial, nil
}

func (w *fakeWriter) Last(context.Context) (zodb.Tid, error) { return w.s.model.Head(), nil }

func (w *fakeWriter) Transactions(context.Context, zodb.Tid, zodb.Tid, func(*storage.Txn) error) error {
	panic("not used")
}

func (w *fakeWriter) Done() <-chan struct{} { return w.done }
func (w *fakeWriter) Err() error            { return errors.New("cut") }
func (w *fakeWriter) Close() error          { w.end.Do(func() { close(w.done) }); return nil }
func (w *fakeWriter) Python2() bool         { return w.s.python2 }

func (w *fakeWriter) NewOids(context.Context) ([]zodb.Oid, error) {
	oids := []zodb.Oid{w.s.nextOid, w.s.nextOid + 1, w.s.nextOid + 2}
	w.s.nextOid += 3
	return oids, nil
}

func (w *fakeWriter) Begin(user, description, extension []byte) error {
	w.txn = storagetest.Txn{User: user, Description: description, Extension: extension}
	return nil
}

func (w *fakeWriter) Store(_ context.Context, oid zodb.Oid, prev zodb.Tid, data []byte) error {
	w.s.called("store %d over %d: %d bytes", oid, prev, len(data))
	w.txn.Records = append(w.txn.Records, storagetest.Record{Oid: oid, Data: data})
	return nil
}

func (w *fakeWriter) Delete(_ context.Context, oid zodb.Oid, prev zodb.Tid) error {
	w.s.called("delete %d over %d", oid, prev)
	w.txn.Records = append(w.txn.Records, storagetest.Record{Oid: oid})
	return nil
}

func (w *fakeWriter) Check(_ context.Context, oid zodb.Oid, serial zodb.Tid) error {
	w.s.called("check %d of %d", oid, serial)
	return nil
}

func (w *fakeWriter) Vote(ctx context.Context) error {
	w.s.called("vote")
	if w.s.voting != nil {
		return w.s.voting(ctx)
	}
	return nil
}

func (w *fakeWriter) Finish(context.Context) (zodb.Tid, bool, error) {
	commit := func() zodb.Tid {
		w.txn.Tid = w.s.model.Head() + 10
		w.s.model.Commit(w.txn)
		return w.txn.Tid
	}
	w.s.called("finish")
	if w.s.finish == nil {
		return commit(), true, nil
	}
	tid, err := w.s.finish(commit)
	return tid, true, err
}

func (w *fakeWriter) Abort() { w.s.called("abort") }

func (w *fakeWriter) Similar(_ context.Context, after zodb.Tid, user, description []byte) (tids []zodb.Tid, err error) {
	for _, txn := range w.s.model.Txns {
		if txn.Tid > after && string(txn.User) == string(user) && string(txn.Description) == string(description) {
			tids = append(tids, txn.Tid)
		}
	}
	return tids, nil
}

func rec(oid zodb.Oid, data string) storagetest.Record {
	return storagetest.Record{Oid: oid, Data: []byte(data)}
}

// All loads are of one view, and must be of the newest revisions at the end: stores tell
// what they replace, all else is checked. Oid 0 is never a new one.
func TestClientReliesOnWhatItHasLoaded(t *testing.T) {
	s := newFakeServer()
	at := s.commit("", rec(0, "root"), rec(50, "read"), rec(51, "written"), rec(52, "deleted"))
	txn := begin2(t, s.client(t), "mine")
	later := s.commit("", rec(50, "later"))
	for oid, want := range map[zodb.Oid]string{0: "root", 50: "read", 51: "written", 52: "deleted"} {
		data, serial, err := txn.Load(oid)
		require.NoError(t, err)
		require.Equal(t, want, string(data))
		require.Equal(t, at, serial)
	}
	_, _, err := txn.Load(99)
	require.True(t, storage.IsNoData(err), err)
	require.Equal(t, zodb.Oid(1), txn.New())
	require.Equal(t, zodb.Oid(2), txn.New())
	require.Equal(t, zodb.Oid(3), txn.New())
	txn.Store(51, []byte("new"))
	txn.Store(1, []byte("first"))
	txn.Store(1, []byte("second"))
	txn.Delete(52)
	tid, err := txn.Commit()
	require.NoError(t, err)
	require.Greater(t, tid, later)
	require.Equal(t, []string{
		fmt.Sprintf("store 51 over %d: 3 bytes", at), "store 1 over 0: 6 bytes", fmt.Sprintf("delete 52 over %d", at),
		fmt.Sprintf("check 0 of %d", at), fmt.Sprintf("check 50 of %d", at), "vote", "finish",
	}, s.take())
}

func begin2(t *testing.T, c *Client, description string) *Txn {
	t.Helper()
	txn, err := c.Begin(t.Context(), Meta{Description: []byte(description)})
	require.NoError(t, err)
	return txn
}

// Records that are settled are sent, and all others stay where they can be loaded and
// stored anew.
func TestClientSendsWhatIsSettled(t *testing.T) {
	s := newFakeServer()
	txn := begin2(t, s.client(t), "mine")
	txn.Store(1, []byte("before"))
	from := txn.Mark()
	txn.Store(2, []byte("final"))
	txn.Store(3, []byte("not final"))
	to := txn.Mark()
	txn.Store(3, []byte("changed"))
	txn.Settle(from, to)
	require.Equal(t, []string{"store 2 over 0: 5 bytes"}, s.take())
	for oid, want := range map[zodb.Oid]string{1: "before", 3: "changed"} {
		data, _, err := txn.Load(oid)
		require.NoError(t, err)
		require.Equal(t, want, string(data))
	}
	_, _, err := txn.Load(2)
	require.ErrorContains(t, err, "sent to the server already")
	txn.Abort()
	require.Equal(t, []string{"abort"}, s.take())
}

func TestClientTellsConflicts(t *testing.T) {
	s := newFakeServer()
	s.commit("", rec(5, "x"))
	c := s.client(t)
	for _, oid := range []zodb.Oid{5, zodb.InvalidOid} {
		s.voting = func(context.Context) error { return &remote.ConflictError{Oid: oid, Msg: "changed"} }
		_, err := begin2(t, c, "mine").Commit()
		var conflict *ConflictError
		require.ErrorAs(t, err, &conflict)
		require.Equal(t, oid, conflict.Oid)
		require.Equal(t, []string{"vote", "abort"}, s.take())
	}
}

func TestClientOfPython2WritesWhatThatReads(t *testing.T) {
	var e record.Encoder
	e.Reset(classMapping)
	e.BeginDict(0)
	e.EndDict(0)
	for protocol, root := range map[byte]string{1: "cpersistent.mapping\n", 2: "\x80\x02c", 3: "\x80\x03c"} {
		s := newFakeServer()
		s.python2 = true
		s.commit("", rec(0, root))
		f := begin2(t, s.client(t), "mine")
		f.Store(7, e.Record())
		data, _, err := f.Load(7)
		require.NoError(t, err)
		want, err := record.Python2(e.Record(), int(protocol))
		require.NoError(t, err)
		require.Equal(t, want, data)
		f.Abort()
	}
}

// A transaction whose end was not confirmed is looked for: only one with just these records
// is it.
func TestClientFindsOutWhatBecameOfATransaction(t *testing.T) {
	cut := errors.New("the connection is cut")
	for name, c := range map[string]struct {
		finish func(s *fakeServer, commit func() zodb.Tid)
		there  bool
	}{
		"there": {func(s *fakeServer, commit func() zodb.Tid) { commit() }, true},
		"there, then": {func(s *fakeServer, commit func() zodb.Tid) {
			s.commit("mine", rec(1, "a"))
			commit()
			s.commit("", rec(1, "c"))
		}, true},
		"not there": {func(s *fakeServer, commit func() zodb.Tid) { s.commit("", rec(4, "x")) }, false},
		"another":   {func(s *fakeServer, commit func() zodb.Tid) { s.commit("mine", rec(1, "a"), rec(2, "other")) }, false},
		"half":      {func(s *fakeServer, commit func() zodb.Tid) { s.commit("mine", rec(1, "a")) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newFakeServer()
			s.commit("mine", rec(1, "a"), rec(2, "b")) // long ago
			client := s.client(t)
			txn := begin2(t, client, "mine")
			txn.Store(1, []byte("a"))
			txn.Store(2, []byte("b"))
			var want zodb.Tid
			s.finish = func(commit func() zodb.Tid) (zodb.Tid, error) {
				c.finish(s, func() zodb.Tid { want = commit(); return want })
				return 0, cut
			}
			tid, err := txn.Commit()
			require.Equal(t, []string{"store 1 over 0: 1 bytes", "store 2 over 0: 1 bytes", "vote", "finish", "vote", "abort"}, s.take())
			if c.there {
				require.NoError(t, err)
				require.Equal(t, want, tid)
			} else {
				var lost *LostError
				require.ErrorAs(t, err, &lost)
				require.ErrorIs(t, err, cut)
			}
			s.finish = nil
			begin2(t, client, "next").Abort() // which has a new session
		})
	}
}

func TestClientSaysWhatItCannotFindOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, spoil := range map[string]func(s *fakeServer){
			"away": func(s *fakeServer) {
				s.down = &storage.OpenError{Reason: fault.Unreachable, URL: "zeo://x", Msg: "nobody listens"}
			},
			"held":      func(s *fakeServer) { s.voting = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() } },
			"went back": func(s *fakeServer) { s.model = storagetest.NewModel() },
		} {
			s := newFakeServer()
			s.commit("", rec(1, "x"))
			c, err := Connect(t.Context(), s.dial, ClientOptions{})
			require.NoError(t, err)
			ctx, cancel := context.WithCancel(t.Context())
			txn, err := c.Begin(ctx, Meta{})
			require.NoError(t, err)
			txn.Store(2, []byte("x"))
			s.finish = func(commit func() zodb.Tid) (zodb.Tid, error) {
				spoil(s)
				cancel() // whoever is impatient must hear it all the same
				return 0, errors.New("the connection is cut")
			}
			began := time.Now()
			_, err = txn.Commit()
			var uncertain *UncertainError
			require.ErrorAs(t, err, &uncertain, name)
			require.True(t, strings.HasPrefix(uncertain.Error(), "it is not known whether the transaction was committed: the connection is cut; and then: "), uncertain)
			require.LessOrEqual(t, time.Since(began), outcomeTime+redialPause)
			require.NoError(t, c.Close())
		}
	})
}

// While the server does not answer it is told every second that it is waited for.
func TestClientTellsThatItWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, waited := newFakeServer(), 0
		c, err := Connect(t.Context(), s.dial, ClientOptions{Waiting: func() { waited++ }})
		require.NoError(t, err)
		s.voting = func(context.Context) error { time.Sleep(5500 * time.Millisecond); return nil }
		_, err = begin2(t, c, "mine").Commit()
		require.NoError(t, err)
		require.Equal(t, 5, waited)

		ctx, cancel := context.WithCancel(t.Context())
		txn, err := c.Begin(ctx, Meta{})
		require.NoError(t, err)
		s.voting = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		time.AfterFunc(time.Second, cancel)
		_, err = txn.Commit()
		require.ErrorIs(t, err, context.Canceled)
		require.NoError(t, c.Close())
		require.NoError(t, c.Close())
		_, err = c.Begin(t.Context(), Meta{})
		require.ErrorIs(t, err, ErrClosed)
	})
}

func TestConnectWaitsForAServerThatIsNotThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeServer()
		s.down = &storage.OpenError{Reason: fault.Unreachable}
		began := time.Now()
		_, err := Connect(t.Context(), s.dial, ClientOptions{Wait: 5 * time.Second})
		require.Equal(t, s.down, err)
		require.Equal(t, 5*time.Second, time.Since(began))
		s.down = &storage.OpenError{Reason: fault.Unreachable, Err: remote.ErrReadOnly}
		_, err = Connect(t.Context(), s.dial, ClientOptions{Wait: 5 * time.Second})
		require.Equal(t, s.down, err)
		require.Equal(t, 5*time.Second, time.Since(began))
	})
}
