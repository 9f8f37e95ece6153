package live_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/core/live"
	"github.com/wcfs/wcfs/internal/zodb/bigfile"
)

// sends is a client that notes for each Send whether it was urgent.
type sends struct{ urgent []bool }

func (c *sends) Send(_ *live.Watch, _ int64, urgent bool) { c.urgent = append(c.urgent, urgent) }

// told returns what was noted since the last time.
func (c *sends) told() (urgent []bool) {
	synctest.Wait()
	urgent, c.urgent = c.urgent, nil
	return urgent
}

// waiting is a watch whose client is slow.
type waiting struct {
	*packedWorld
	client *sends
	watch  *live.Watch
}

// take takes what is to be pinned, which must be rev, and waits since a moment.
func (w *waiting) take(rev zodb.Tid, since time.Time) {
	w.Helper()
	require.Equal(w, live.Taken, w.watch.Take(0, func(r zodb.Tid, s time.Time) bool {
		require.Equal(w, rev, r)
		require.True(w, since.Equal(s), "since %s, not %s", s, since)
		return true
	}))
}

// ack takes a message as take does, and acknowledges it.
func (w *waiting) ack(rev zodb.Tid, since time.Time) {
	w.Helper()
	w.take(rev, since)
	w.watch.Acked(0)
}

// readDirect begins a READ past the page cache, and returns what is closed when it is
// answered, and when it began.
func (w *waiting) readDirect() (answered chan struct{}, start time.Time) {
	answered = make(chan struct{})
	go func() {
		defer close(answered)
		_, err := w.kernel.ReadDirect(w.Context(), 0, 1)
		require.NoError(w, err)
	}()
	return answered, time.Now()
}

// setUp begins to set the watch up. done is closed when it is.
func (w *waiting) setUp(at zodb.Tid) (done chan struct{}) {
	done = make(chan struct{})
	go func() {
		defer close(done)
		require.NoError(w, w.file.Watch(w.Context(), w.client, at, nil, func(x *live.Watch) { w.watch = x }))
	}()
	synctest.Wait()
	return done
}

// move begins to move the watch.
func (w *waiting) move(at zodb.Tid) (done chan struct{}) {
	done = make(chan struct{})
	go func() {
		defer close(done)
		require.NoError(w, w.watch.Move(w.Context(), at))
	}()
	synctest.Wait()
	return done
}

// requireOpen requires that something has not happened.
func requireOpen(t *testing.T, c <-chan struct{}, why string) {
	t.Helper()
	select {
	case <-c:
		t.Error(why)
	default:
	}
}

func (w *waiting) idle() {
	w.Helper()
	require.Equal(w, live.Nothing, w.watch.Take(0, func(zodb.Tid, time.Time) bool { w.Error("nothing is wanted"); return false }))
}

// TestAREADIsNotWaitedForBehindOthers: the client is told when a READ waits, from the
// beginning or only later, and each message has the time since then, or since the one
// before was acknowledged. Nobody waits for what a setup wants.
func TestAREADIsNotWaitedForBehindOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &waiting{packedWorld: newPackedWorld(t), client: &sends{}}
		none := time.Time{}
		first := w.tid
		require.NoError(t, w.read())
		second := w.next()
		require.NoError(t, w.read())

		done := w.setUp(first)
		require.Equal(t, []bool{false}, w.client.told())
		answered, _ := w.readDirect()
		require.Empty(t, w.client.told(), "the client maps nothing before the setup is done")
		<-answered
		w.ack(first, none)
		w.idle()
		<-done

		done = w.move(second) // the page is that of head
		require.Equal(t, []bool{false}, w.client.told())
		w.take(live.ToHead, none)
		third := w.next()
		time.Sleep(time.Second)
		answered, start := w.readDirect()
		require.Equal(t, []bool{true}, w.client.told(), "it is not told yet that this one is urgent")
		requireOpen(t, answered, "the client may map the page by now")
		time.Sleep(time.Second)
		again, _ := w.readDirect()
		require.Empty(t, w.client.told())
		time.Sleep(time.Second)
		require.False(t, time.Now().Equal(start))
		w.watch.Acked(0)
		w.ack(second, time.Now())
		w.idle()
		<-answered
		<-again
		<-done

		done = w.move(third)
		require.Equal(t, []bool{false}, w.client.told(), "what is urgent was done")
		w.ack(live.ToHead, none)
		w.idle()
		<-done
		w.next()
		time.Sleep(time.Second)
		answered, start = w.readDirect()
		require.Equal(t, []bool{true}, w.client.told())
		time.Sleep(time.Second)
		again, _ = w.readDirect()
		time.Sleep(time.Second)
		synctest.Wait()
		w.ack(third, start)
		w.idle()
		<-answered
		<-again
		w.watch.Drop()
	})
}

// TestWhatOnlyASetupWantsIsNotUrgent although a READ has waited for what it replaces.
func TestWhatOnlyASetupWantsIsNotUrgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &waiting{packedWorld: newPackedWorld(t), client: &sends{}}
		<-w.setUp(w.tid)
		second := w.next()
		w.next()
		answered, _ := w.readDirect()
		require.Equal(t, []bool{true}, w.client.told())
		done := w.move(second)
		w.take(second, time.Time{})
		w.watch.Acked(0)
		<-done
		<-answered
		w.watch.Drop()
	})
}

// TestREADThatAMoveAllowsGoesOn: the client needs not answer what it was asked before.
func TestREADThatAMoveAllowsGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &waiting{packedWorld: newPackedWorld(t), client: &sends{}}
		first := w.tid
		<-w.setUp(first)
		second := w.next()
		answered, start := w.readDirect()
		synctest.Wait()
		w.take(first, start)
		synctest.Wait() // the READ has looked at that
		done := w.move(second)
		<-answered
		requireOpen(t, done, "the client has not answered")
		w.watch.Acked(0)
		w.take(live.ToHead, time.Time{})
		w.watch.Acked(0)
		w.idle()
		<-done
		w.watch.Drop()
	})
}

// TestREADDoesNotWaitForAMoveFromPinToPin: the client does not see the page meanwhile.
func TestREADDoesNotWaitForAMoveFromPinToPin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &waiting{packedWorld: newPackedWorld(t), client: &sends{}}
		first := w.tid
		second := w.next()
		w.next()
		require.NoError(t, w.read())
		done := w.setUp(first)
		w.take(first, time.Time{})
		w.watch.Acked(0)
		w.idle()
		<-done
		done = w.move(second)
		w.take(second, time.Time{})
		answered, _ := w.readDirect()
		synctest.Wait()
		select {
		case <-answered:
		default:
			t.Error("the READ waits for the client")
		}
		requireOpen(t, done, "the client has not answered")
		w.watch.Acked(0)
		w.idle()
		<-done
		<-answered
		w.watch.Drop()
	})
}

// TestPinnedBlockMovesAlong although the page cache does not have it any more: the client
// maps it from the view before.
func TestPinnedBlockMovesAlong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &waiting{packedWorld: newPackedWorld(t), client: &sends{}}
		first := w.tid
		second := w.next()
		third := w.next()
		require.NoError(t, w.read())
		done := w.setUp(first)
		w.take(first, time.Time{})
		w.watch.Acked(0)
		w.idle()
		<-done
		for _, at := range []zodb.Tid{second, third} {
			require.True(t, w.file.Evict(0) || at == third)
			require.False(t, w.watch.File().IsServed(0))
			done = w.move(at)
			if at == third {
				at = live.ToHead
			}
			w.take(at, time.Time{})
			w.watch.Acked(0)
			w.idle()
			<-done
		}
		w.watch.Drop()
	})
}

// TestAnswerThatIsOpenIsWaitedForByTheNextWatch, which tells the client what holds now:
// it may have done what the message said, or not.
func TestAnswerThatIsOpenIsWaitedForByTheNextWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &waiting{packedWorld: newPackedWorld(t), client: &sends{}}
		first := w.tid
		second := w.next()
		require.NoError(t, w.read())
		w.setUp(first)
		w.take(first, time.Time{})
		w.watch.Drop()
		unsure := make(chan []int64, 1)
		go func() {
			blks, err := w.watch.Drained(t.Context())
			require.NoError(t, err)
			unsure <- blks
		}()
		synctest.Wait()
		require.Empty(t, unsure)
		w.watch.Acked(0)
		w.idle()
		synctest.Wait()
		require.Len(t, unsure, 1)

		done := make(chan error, 1)
		go func() {
			done <- w.file.Watch(t.Context(), w.client, second, <-unsure, func(x *live.Watch) { w.watch = x })
		}()
		synctest.Wait()
		require.Empty(t, done)
		w.take(live.ToHead, time.Time{})
		w.watch.Acked(0)
		w.idle()
		require.NoError(t, <-done)
		w.watch.Drop()
	})
}

// TestFileThatBecomesAnotherIsWaitedForByNobody: not by READs and setups that wait for
// a client, nor by who wants to watch it again.
func TestFileThatBecomesAnotherIsWaitedForByNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &waiting{packedWorld: newPackedWorld(t), client: &sends{}}
		first := w.tid
		<-w.setUp(first)
		second := w.next()
		read, setup := make(chan error, 1), make(chan error, 1)
		go func() { _, err := w.kernel.ReadDirect(t.Context(), 0, 1); read <- err }()
		synctest.Wait()
		other := &sends{}
		go func() { setup <- w.file.Watch(t.Context(), other, first, nil, func(*live.Watch) {}) }()
		synctest.Wait()
		require.NotEmpty(t, other.urgent)
		require.Equal(t, live.Taken, take(w.watch, 0))
		w.watch.Drop()
		drained := make(chan error, 1)
		go func() {
			_, err := w.watch.Drained(t.Context())
			drained <- err
		}()
		slow := make(chan error, 1)
		w2 := &waiting{packedWorld: w.packedWorld, client: &sends{}}
		<-w2.setUp(second)
		third := w.next()
		go func() { _, err := w.kernel.ReadDirect(t.Context(), 0, 1); slow <- err }()
		synctest.Wait()
		require.NoError(t, <-read)
		require.Empty(t, slow)
		require.Empty(t, setup)
		require.Empty(t, drained)

		w.tid = third + packedSecond
		w.db.Commit(w.tid, map[zodb.Oid][]byte{1: bigfile.EncodeFile(&bigfile.File{BlkSize: 8192, Table: 2})})
		w.follow()
		synctest.Wait()
		for _, ended := range []chan error{slow, setup} {
			require.Len(t, ended, 1)
			require.Error(t, <-ended)
		}
		require.Len(t, drained, 1)
		require.NoError(t, <-drained, "what is mapped of the file does not matter any more")
		require.Nil(t, w.head.Known(1))
		f, err := w.head.Open(t.Context(), 1)
		require.NoError(t, err)
		require.NotSame(t, w.file, f)
		require.Error(t, w.file.Fenced())
		require.Error(t, w.read())
	})
}
