package zeo

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/pickle"
	"github.com/wcfs/wcfs/internal/zodb/remote"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// newFakeWriter returns a writer and the server's end of its connection.
func newFakeWriter(t testing.TB, c codec) (*committer, *fake) {
	s, f := newFake(t, c, newTold())
	w := &committer{session: s}
	require.NoError(t, w.Begin([]byte("u"), []byte("d"), nil))
	m := f.next()
	require.Equal(t, message{flag: flagOneWay, name: "tpc_begin", value: pickle.Tuple{int64(1), pickle.Bytes("u"), pickle.Bytes("d"), pickle.Bytes("")}}, m)
	return w, f
}

func (w *committer) voteOnce(t testing.TB, f *fake, reply func(m message) message) error {
	voted := make(chan error, 1)
	go func() { voted <- w.Vote(t.Context()) }()
	m := f.next()
	require.Equal(t, "vote", m.name)
	f.send(reply(m))
	return <-voted
}

func TestVotesAreUnderstood(t *testing.T) {
	dict := func(oid zodb.Oid) *pickle.Dict {
		return &pickle.Dict{Items: []pickle.Item{{Key: "message", Value: "database conflict error"}, {Key: "oid", Value: bytes8(oid)}}}
	}
	exception := func(class string, payload any) func(message) message {
		return func(m message) message {
			return message{id: m.id, flag: flagException, name: replyName, value: pickle.Tuple{class, payload}}
		}
	}
	result := func(v any) func(message) message { return func(m message) message { return answer(m, v) } }
	eachCodec(t, func(t *testing.T, c codec) {
		w, f := newFakeWriter(t, c)
		require.NoError(t, w.voteOnce(t, f, result(pickle.Tuple{})))
		require.NoError(t, w.voteOnce(t, f, result(nil)))
		for name, tt := range map[string]struct {
			reply func(message) message
			oid   zodb.Oid
		}{
			"conflict":            {exception("ZODB.POSException.ConflictError", dict(7)), 7},
			"read conflict":       {exception("ZODB.POSException.ReadConflictError", dict(7)), 7},
			"conflict of a tree":  {exception("BTrees.Interfaces.BTreesConflictError", &pickle.Dict{}), zodb.InvalidOid},
			"gone":                {exception(posKeyError, pickle.Tuple{bytes8(zodb.Oid(7))}), 7},
			"solved":              {result(pickle.Tuple{bytes8(zodb.Oid(7))}), 7},
			"left to the clients": {result(pickle.Tuple{dict(7)}), 7},
		} {
			var conflict *remote.ConflictError
			require.ErrorAs(t, w.voteOnce(t, f, tt.reply), &conflict, name)
			require.Equal(t, tt.oid, conflict.Oid, name)
		}
		for _, tt := range []struct {
			class   string
			payload any
			errno   error
		}{
			{"builtins.OSError", pickle.Tuple{int64(28), "No space left on device"}, syscall.ENOSPC},
			{"exceptions.IOError", pickle.Tuple{int64(122), "Disk quota exceeded"}, syscall.EDQUOT},
			{"ZODB.FileStorage.FileStorage.FileStorageQuotaError", pickle.Tuple{"The storage quota has been exceeded."}, syscall.EDQUOT},
		} {
			require.ErrorIs(t, w.voteOnce(t, f, exception(tt.class, tt.payload)), tt.errno)
		}
		err := w.voteOnce(t, f, exception("builtins.ValueError", pickle.Tuple{int64(28)}))
		require.ErrorContains(t, err, "the server answers builtins.ValueError: 28")
		require.False(t, errors.Is(err, syscall.ENOSPC))
		require.NoError(t, w.Err())
		require.Error(t, w.voteOnce(t, f, result("strange")))
		require.Error(t, w.Err())
	})
}

// A server that takes nothing is sent no more than what there is room for, and is waited
// for until it does, or nobody wants it any more.
func TestStoresWaitForAServerThatIsBehind(t *testing.T) {
	eachCodec(t, func(t *testing.T, c codec) {
		w, f := newFakeWriter(t, c)
		ctx, cancel := context.WithCancel(t.Context())
		data, sent := make([]byte, signEach/2), 0
		stored := make(chan error, 1)
		go func() {
			for {
				if err := w.Store(ctx, 1, 2, data); err != nil {
					stored <- err
					return
				}
				sent += len(data)
			}
		}()
		got, signs := 0, []message(nil)
		for got < 3*window {
			switch m := f.next(); m.name {
			case "storea":
				got += len(data)
			case "ping":
				signs = append(signs, m)
			}
			if len(signs) == window/signEach { // it waits now
				f.send(answer(signs[0], nil))
				signs = signs[1:]
			}
		}
		cancel()
		for {
			select {
			case err := <-stored:
				require.ErrorIs(t, err, context.Canceled)
				require.LessOrEqual(t, sent, got+window+3*signEach)
				return
			default: // what was queued is read, so that nothing but the window keeps it
				f.conn.SetReadDeadline(time.Now().Add(time.Second))
				_, _ = f.read()
			}
		}
	})
}

func TestFinishGoesOnForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, f := newFakeWriter(t, codecZ{})
		ctx, cancel := context.WithCancel(t.Context())
		finish := func() chan error {
			done := make(chan error, 1)
			go func() {
				tid, sent, err := w.Finish(ctx)
				if err == nil && (tid != 9 || !sent) {
					err = fmt.Errorf("tid %s, sent %v", tid, sent)
				}
				done <- err
			}()
			return done
		}
		done := finish()
		m := f.next()
		cancel()
		time.Sleep(finishGrace - time.Second)
		f.send(answer(m, bytes8(zodb.Tid(9))))
		require.NoError(t, <-done)

		_, sent, err := w.Finish(ctx)
		require.False(t, sent)
		require.ErrorIs(t, err, context.Canceled)

		ctx, cancel = context.WithCancel(t.Context())
		done = finish()
		for f.next().name != "tpc_finish" { // it has asked for a sign meanwhile
		}
		cancel()
		began := time.Now()
		require.ErrorIs(t, <-done, errNoAnswer)
		require.Equal(t, finishGrace, time.Since(began))
	})
}

func TestServersOfPython2AreRecognized(t *testing.T) {
	for name, reply := range map[bool]any{true: pickle.Bytes(replyName), false: replyName} {
		m, err := toMessage(pickle.Tuple{int64(1), int64(0), reply, nil})
		require.NoError(t, err)
		require.Equal(t, name, m.native)
	}
	w, f := newFakeWriter(t, codecZ{})
	go func() {
		m, _ := f.read()
		// The name as a str of Python 2.
		_, _ = f.conn.Write([]byte(frame(strings.Replace(string(codecZ{}.append(nil, answer(m, bytes8(zodb.Tid(3))))), "X\x06\x00\x00\x00.reply", "U\x06.reply", 1))))
	}()
	require.False(t, w.Python2())
	last, err := w.Last(t.Context())
	require.NoError(t, err)
	require.Equal(t, zodb.Tid(3), last)
	require.True(t, w.Python2())
}

func TestURLsOfWritersMayNotForbidIt(t *testing.T) {
	parse := func(raw string) error {
		u, err := storage.ParseURL(raw)
		require.NoError(t, err)
		_, err = ParseForWriting(u)
		return err
	}
	require.NoError(t, parse("zeo://h?read_only=0"))
	require.ErrorContains(t, parse("zeo://h?read_only=1"), "forbids to write")
	require.ErrorContains(t, parse("zeo://h?read_only=maybe"), "neither yes nor no")
}

// The transaction of a commit that was not confirmed is found if it is there, and no
// other is taken for it.
func TestSimilarTransactionsAreFound(t *testing.T) {
	eachServer(t, func(t *testing.T, srv *server) {
		opened, err := DialWriter(srv.config())(t.Context())
		require.NoError(t, err)
		defer opened.Close()
		commit := func(description string) zodb.Tid {
			require.NoError(t, opened.Begin([]byte("me"), []byte(description), nil))
			oids, err := opened.NewOids(t.Context())
			require.NoError(t, err)
			require.NoError(t, opened.Store(t.Context(), oids[0], 0, []byte("data")))
			require.NoError(t, opened.Vote(t.Context()))
			tid, sent, err := opened.Finish(t.Context())
			require.NoError(t, err)
			require.True(t, sent)
			return tid
		}
		a, b, c, d := commit("x"), commit("x"), commit("y"), commit("x")
		for after, want := range map[zodb.Tid][]zodb.Tid{0: {a, b, d}, a: {b, d}, b: {d}, c: {d}, d: nil} {
			got, err := opened.Similar(t.Context(), after, []byte("me"), []byte("x"))
			require.NoError(t, err)
			require.Equal(t, want, got)
		}
		got, err := opened.Similar(t.Context(), 0, []byte("you"), []byte("x"))
		require.NoError(t, err)
		require.Empty(t, got)
		// A vote for nothing leaves nothing.
		require.NoError(t, opened.Begin(nil, nil, nil))
		require.NoError(t, opened.Vote(t.Context()))
		opened.Abort()
		last, err := opened.Last(t.Context())
		require.NoError(t, err)
		require.Equal(t, d, last)
		require.Greater(t, commit("z"), d)
		requireNoComplaint(t, srv)
	})
}
