package zeo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/link"
	"github.com/wcfs/wcfs/internal/zodb/pickle"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

func revision(data string, serial zodb.Tid) pickle.Tuple {
	return pickle.Tuple{pickle.Bytes(data), bytes8(serial), nil}
}

// Replies come in any order, in pieces of any size, with anything that may come in
// between: every load gets its own reply.
func TestRepliesInAnyOrderAndAnyPieces(t *testing.T) {
	eachCodec(t, func(t *testing.T, c codec) {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		rnd := rand.New(rand.NewPCG(seed, 0))
		told := newTold()
		s, f := newFake(t, c, told)
		for round := range 20 {
			var results []<-chan result
			var replies []message
			for i := range 20 {
				results = append(results, load(t.Context(), s, zodb.Xid{At: 100, Oid: zodb.Oid(i)}))
			}
			for range results {
				m := f.next()
				require.Equal(t, "loadBefore", m.name)
				args := m.value.(pickle.Tuple)
				require.Equal(t, bytes8(zodb.Tid(101)), args[1])
				oid, _ := oidOf(args[0])
				replies = append(replies, answer(m, revision(fmt.Sprint("data", int(oid)), 50+zodb.Tid(oid))),
					message{id: -1, name: replyName}, message{flag: flagOneWay, name: "info", value: pickle.Tuple{&pickle.Dict{}}})
			}
			replies = append(replies, commitNotice(zodb.Tid(200+round), 5, 3, 5))
			rnd.Shuffle(len(replies), func(i, j int) { replies[i], replies[j] = replies[j], replies[i] })
			writeInPieces(f, rnd, f.bytes(replies...), round == 0)
			for oid, got := range results {
				require.Equal(t, result{fmt.Sprint("data", int(oid)), 50 + zodb.Tid(oid), nil}, <-got)
			}
			require.Equal(t, commit{zodb.Tid(200 + round), nil}, told.next(t))
		}
	})
}

func writeInPieces(f *fake, rnd *rand.Rand, b []byte, single bool) {
	for len(b) > 0 {
		n := 1
		if !single {
			n = min(len(b), 1+rnd.IntN(300))
		}
		f.write(b[:n])
		b = b[n:]
	}
}

func TestLoadsTellWhatDoesNotExist(t *testing.T) {
	eachCodec(t, func(t *testing.T, c codec) {
		s, f := newFake(t, c, newTold())
		xid := zodb.Xid{At: 10, Oid: 7}
		for _, tt := range []struct {
			reply func(m message) message
			check func(err error)
		}{
			{func(m message) message { return answer(m, nil) }, func(err error) {
				require.Equal(t, &zodb.NoDataError{Oid: 7}, err)
			}},
			{func(m message) message { return exceptionReply(m, posKeyError, bytes8(xid.Oid)) }, func(err error) {
				require.Equal(t, &zodb.NoObjectError{Oid: 7}, err)
			}},
			{func(m message) message { return exceptionReply(m, "builtins.OSError", int64(28), "No space") }, func(err error) {
				var server *ServerError
				require.ErrorAs(t, err, &server)
				require.ErrorContains(t, err, "the server answers builtins.OSError: 28, No space")
			}},
			{func(m message) message { return answer(m, revision("", 5)) }, wantCorrupt(t, "the record is empty")},
			{func(m message) message { return answer(m, revision("x", 11)) }, wantCorrupt(t, "with a revision of @000000000000000b")},
			{func(m message) message { return answer(m, revision(".zzzz", 5)) }, wantCorrupt(t, "cannot be decompressed")},
		} {
			got := load(t.Context(), s, xid)
			f.send(tt.reply(f.next()))
			tt.check((<-got).err)
			require.NoError(t, s.Err())
		}
	})
}

func wantCorrupt(t *testing.T, text string) func(error) {
	return func(err error) {
		var corrupt *storage.CorruptError
		require.ErrorAs(t, err, &corrupt)
		require.ErrorContains(t, err, text)
	}
}

func TestLateRepliesAreNoViolation(t *testing.T) {
	eachCodec(t, func(t *testing.T, c codec) {
		s, f := newFake(t, c, newTold())
		ctx, cancel := context.WithCancel(t.Context())
		got := load(ctx, s, zodb.Xid{At: 10, Oid: 1})
		m := f.next()
		cancel()
		require.Equal(t, context.Canceled, (<-got).err)
		got = load(t.Context(), s, zodb.Xid{At: 10, Oid: 2})
		m2 := f.next()
		f.send(answer(m, revision("late", 5)), answer(m2, revision("mine", 5)))
		require.Equal(t, result{"mine", 5, nil}, <-got)
		require.Zero(t, s.Calls())
	})
}

// A server that does not read, or does not answer, costs a bounded number of calls, and
// no caller more time than it has.
func TestCallsUnderWayAreBounded(t *testing.T) {
	eachCodec(t, func(t *testing.T, c codec) {
		s, _ := newFake(t, c, newTold()) // reads nothing
		ctx, cancel := context.WithCancel(t.Context())
		var ended atomic.Int32
		results := make([]<-chan result, link.MaxCalls+10)
		for i := range results {
			results[i] = load(ctx, s, zodb.Xid{At: 10, Oid: zodb.Oid(i)})
		}
		require.Eventually(t, func() bool { return s.Calls() == link.MaxCalls }, time.Minute, time.Millisecond)
		cancel()
		for _, r := range results {
			require.Equal(t, context.Canceled, (<-r).err)
			ended.Add(1)
		}
		require.Equal(t, link.MaxCalls, s.Calls())
	})
}

func TestCommitsAreTakenWhileTheServerDoesNotRead(t *testing.T) {
	eachCodec(t, func(t *testing.T, c codec) {
		told := newTold()
		s, f := newFake(t, c, told)
		load(t.Context(), s, zodb.Xid{At: 10, Oid: 1}) // blocks the writer
		for tid := range zodb.Tid(1000) {
			f.send(commitNotice(tid, 1))
			require.Equal(t, tid, told.next(t).tid)
		}
	})
}

func TestViolationsEndTheSession(t *testing.T) {
	notice := func(name string, args ...any) message {
		return message{flag: flagOneWay, name: name, value: pickle.Tuple(args)}
	}
	for name, m := range map[string]message{
		"reply to nothing":     {id: 77, name: replyName},
		"unknown flag":         {id: 1, flag: 7, name: replyName},
		"unknown notification": notice("receiveBlobStop", bytes8(zodb.Oid(1)), bytes8(zodb.Tid(1))),
		"a call":               {id: 5, name: "ask", value: pickle.Tuple{}},
		"commit without tid":   notice("invalidateTransaction", "12345678", &pickle.List{}),
		"commit without list":  notice("invalidateTransaction", bytes8(zodb.Tid(1)), nil),
		"commit of no oid":     notice("invalidateTransaction", bytes8(zodb.Tid(1)), pickle.Tuple{pickle.Bytes("short")}),
		"commit of too little": notice("invalidateTransaction", bytes8(zodb.Tid(1))),
		"no exception":         {id: 1, flag: flagException, name: replyName, value: "x"},
	} {
		t.Run(name, func(t *testing.T) {
			eachCodec(t, func(t *testing.T, c codec) {
				s, f := newFake(t, c, newTold())
				got := load(t.Context(), s, zodb.Xid{At: 10, Oid: 1})
				require.EqualValues(t, 1, f.next().id)
				f.send(m)
				<-s.Done()
				var protocol *ProtocolError
				require.ErrorAs(t, s.Err(), &protocol)
				require.ErrorAs(t, (<-got).err, &protocol)
			})
		})
	}
}

func TestRepliesOfTheWrongFormEndTheSession(t *testing.T) {
	eachCodec(t, func(t *testing.T, c codec) {
		for _, value := range []any{int64(1), "x", pickle.Tuple{}, pickle.Tuple{"text", bytes8(zodb.Tid(1)), nil}, pickle.Tuple{pickle.Bytes("x"), nil, nil}} {
			s, f := newFake(t, c, newTold())
			got := load(t.Context(), s, zodb.Xid{At: 10, Oid: 1})
			f.send(answer(f.next(), value))
			var protocol *ProtocolError
			require.ErrorAs(t, (<-got).err, &protocol)
			<-s.Done()
		}
	})
}

func TestCutsEndTheSession(t *testing.T) {
	eachCodec(t, func(t *testing.T, c codec) {
		whole := len((&fake{codec: c}).bytes(answer(message{id: 1}, revision("data", 5))))
		for cut := range whole {
			s, f := newFake(t, c, newTold())
			got := load(t.Context(), s, zodb.Xid{At: 10, Oid: 1})
			b := f.bytes(answer(f.next(), revision("data", 5)))
			f.write(b[:cut])
			f.conn.Close()
			err := (<-got).err
			require.Error(t, err)
			require.Equal(t, cut > 0, errors.Is(err, io.ErrUnexpectedEOF), "%d: %v", cut, err)
			<-s.Done()
		}
	})
}

func TestFramesThatCannotBeEndTheSession(t *testing.T) {
	for _, header := range []string{"\x00\x00\x00\x00", "\x00\x10\x00\x01", "\x80\x00\x00\x10", "\xff\xff\xff\xff"} {
		s, f := newFake(t, codecZ{}, newTold())
		f.write([]byte(header))
		<-s.Done()
		var protocol *ProtocolError
		require.ErrorAs(t, s.Err(), &protocol)
	}
}

func TestCloseEndsWhatIsUnderWay(t *testing.T) {
	eachCodec(t, func(t *testing.T, c codec) {
		s, f := newFake(t, c, newTold())
		got := load(t.Context(), s, zodb.Xid{At: 10, Oid: 1})
		f.next()
		for range 3 {
			require.NoError(t, s.Close())
		}
		require.ErrorIs(t, (<-got).err, storage.ErrClosed)
		require.ErrorIs(t, s.Err(), storage.ErrClosed)
		_, err := s.Last(t.Context())
		require.ErrorIs(t, err, storage.ErrClosed)
	})
}

// ---- half a connection ----

func TestServersThatAreGoneAreNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f := newFake(t, codecM{}, newTold())
		f.send(commitNotice(1))
		start := time.Now()
		go io.Copy(io.Discard, f.conn) // reads, and answers nothing
		<-s.Done()
		require.LessOrEqual(t, time.Since(start), 30*time.Second)
		require.ErrorContains(t, s.Err(), "has not answered for 25s")
		s.Close()
		f.conn.Close()
	})
}

func TestServersThatDoNotReadAreNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f := newFake(t, codecM{}, newTold())
		start := time.Now()
		_, _, err := s.Load(t.Context(), zodb.Xid{At: 10, Oid: 1})
		require.ErrorContains(t, err, "has not answered for 25s")
		require.LessOrEqual(t, time.Since(start), 30*time.Second)
		s.Close()
		f.conn.Close()
	})
}

// A server answers pings while it works on something long, or what it sends takes long.
func TestServersThatAreSlowAreLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f := newFake(t, codecM{}, newTold())
		got := load(t.Context(), s, zodb.Xid{At: 10, Oid: 1})
		m := f.next()
		pings := 0
		for start := time.Now(); time.Since(start) < 5*time.Minute; pings++ {
			ping := f.next()
			require.Equal(t, "ping", ping.name)
			f.send(answer(ping, nil))
		}
		require.GreaterOrEqual(t, pings, 15)
		go io.Copy(io.Discard, f.r)
		for _, b := range f.bytes(answer(m, revision("x", 5))) {
			time.Sleep(9 * time.Second)
			f.write([]byte{b})
		}
		require.Equal(t, result{"x", 5, nil}, <-got)
		s.Close()
		f.conn.Close()
	})
}

// ---- iterators ----

func TestIteratorsThatNobodyWantsAreDropped(t *testing.T) {
	eachCodec(t, func(t *testing.T, c codec) {
		s, f := newFake(t, c, newTold())
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- s.Transactions(ctx, 1, 10, nil) }()
		f.send(answer(f.next(), bytes8(zodb.Tid(10)))) // lastTransaction
		start := f.next()
		require.Equal(t, "iterator_start", start.name)
		cancel()
		require.Equal(t, context.Canceled, <-ended)
		f.send(answer(start, int64(42)))
		drop := f.next()
		require.Equal(t, "iterator_gc", drop.name)
		require.EqualValues(t, flagOneWay, drop.flag)
		require.Equal(t, "42", describe(drop.value, 3))
	})
}
