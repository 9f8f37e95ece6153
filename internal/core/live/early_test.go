package live_test

import (
	"context"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/core/live"
	"github.com/wcfs/wcfs/internal/core/live/livetest"
	"github.com/wcfs/wcfs/internal/zodb/storage/mem"
)

// faulter is a client whose process has one thread, and a file of three blocks of which
// each commit changes the last.
type faulter struct {
	*testing.T
	parkedClient
	kernel *livetest.Kernel
	head   *live.Head
	file   *live.File
	db     *mem.Storage
	watch  *live.Watch
	next   func()

	marks []uint64 // what is seen of the thread, one a look, the last for ever; none, or 0: it is in no fault
	looks int
}

func (c *faulter) Pid() int { return 7 }

func (c *faulter) faulting(pid int) map[int]uint64 {
	require.Equal(c, 7, pid)
	c.looks++
	if len(c.marks) == 0 {
		return nil
	}
	mark := c.marks[0]
	if len(c.marks) > 1 {
		c.marks = c.marks[1:]
	}
	if mark == 0 {
		return nil
	}
	return map[int]uint64{77: mark}
}

// newFaulter has the client watch the first view, and read blocks.
func newFaulter(t *testing.T, marks []uint64, blks ...int64) *faulter {
	c := &faulter{T: t, parkedClient: parkedClient{make(chan int64, 10)}, marks: marks}
	all := []int64{0, 1, 2}
	c.kernel, c.head, c.db, c.next = resizeWorldOf(t, live.Config{Processes: outside{faulting: c.faulting}}, int64(os.Getpagesize()), all, all, all, all, all)
	c.file = c.head.Known(1)
	require.NoError(t, c.file.Watch(t.Context(), c, 1, nil, func(x *live.Watch) { c.watch = x }))
	c.read(blks...)
	return c
}

func (c *faulter) read(blks ...int64) {
	for _, blk := range blks {
		require.NoError(c, c.kernel.ReadPages(c.Context(), nil, 0, blk, blk+1))
	}
}

// commit returns how long a commit takes. meanwhile is called when it waits; it may be nil.
func (c *faulter) commit(meanwhile func()) time.Duration {
	start, done := time.Now(), make(chan time.Duration, 1)
	go func() {
		c.next()
		done <- time.Since(start)
	}()
	if meanwhile != nil {
		time.Sleep(20 * time.Millisecond)
		synctest.Wait()
		require.Empty(c, done, "the commit does not wait")
		meanwhile()
	}
	return <-done
}

func (c *faulter) ack(blk int64, rev zodb.Tid) {
	c.Helper()
	require.Equal(c, live.Taken, c.watch.Take(blk, func(r zodb.Tid, _ time.Time) bool {
		require.Equal(c, rev, r)
		return true
	}))
	c.watch.Acked(blk)
}

// TestBlockThatWasJustReadIsPinnedBeforeItChanges for a client that may be in the fault
// that reads it. READs of it wait for the change meanwhile, those of other blocks do not.
func TestBlockThatWasJustReadIsPinnedBeforeItChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFaulter(t, []uint64{1}, 0, 2)
		reader := make(chan error, 1)
		took := c.commit(func() {
			require.EqualValues(t, 1, c.head.At())
			require.EqualValues(t, 2, <-c.sent)
			require.Empty(t, c.sent, "block 0 does not change")
			c.kernel.Reclaim(2)
			go func() { reader <- c.kernel.ReadPages(t.Context(), nil, 0, 2, 3) }()
			c.kernel.Reclaim(0)
			c.read(0)
			_, err := c.kernel.ReadDirect(t.Context(), 2, 3)
			require.NoError(t, err, "nobody maps what is read past the cache")
			synctest.Wait()
			require.Empty(t, reader)
			c.ack(2, 1)
		})
		require.Less(t, took, 50*time.Millisecond)
		require.NoError(t, <-reader)
		require.Equal(t, 1, c.watch.Pinned())
		c.watch.Drop()
	})
}

// TestClientThatIsInNoFaultIsNotPinned ahead: nobody has asked for the new data yet.
func TestClientThatIsInNoFaultIsNotPinned(t *testing.T) {
	for name, test := range map[string]struct {
		marks       []uint64
		old         bool
		blk         int64
		most, looks int
	}{
		"no thread":                     {blk: 2, looks: 1},
		"a thread that gets out":        {marks: []uint64{5, 5, 5, 6}, blk: 2, most: 5, looks: 4},
		"a thread that goes to sleep":   {marks: []uint64{5, 5, 0}, blk: 2, most: 5, looks: 3},
		"what was read a while ago":     {marks: []uint64{1}, blk: 2, old: true},
		"what was read does not change": {marks: []uint64{1}, blk: 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			c := newFaulter(t, test.marks, test.blk)
			if test.old {
				time.Sleep(1001 * time.Millisecond)
			}
			took := c.commit(nil)
			require.LessOrEqual(t, took, time.Duration(test.most)*time.Millisecond, name)
			require.Equal(t, test.looks, c.looks, name)
			require.Empty(t, c.sent, name)
			c.watch.Drop()
		})
	}
}

// TestCommitsWaitOnceForAClientThatDoesNotAnswer, and again when it has.
func TestCommitsWaitOnceForAClientThatDoesNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFaulter(t, []uint64{1}, 2, 1)
		const patience = 500 * time.Millisecond
		reader := make(chan error, 1)
		took := c.commit(func() {
			go func() { reader <- c.kernel.ReadPages(t.Context(), nil, 0, 0, 1) }()
		})
		require.InDelta(t, patience, took, float64(15*time.Millisecond))
		require.NoError(t, <-reader, "it waits for the switch only")
		require.Less(t, c.commit(nil), 15*time.Millisecond)
		c.ack(2, 1)
		done := make(chan error, 1)
		go func() { done <- c.watch.Move(t.Context(), 3) }()
		synctest.Wait()
		for c.watch.Take(2, func(zodb.Tid, time.Time) bool { return true }) == live.Taken {
			c.watch.Acked(2)
		}
		require.NoError(t, <-done)
		c.read(2)
		require.InDelta(t, patience, c.commit(nil), float64(15*time.Millisecond))
		c.watch.Drop()
	})
}

// TestBlockThatIsReadFirstDuringACommit is not known to change when the commit looks for
// what does.
func TestBlockThatIsReadFirstDuringACommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFaulter(t, []uint64{1}, 0)
		looked := false
		c.db.OnLoad(func(_ context.Context, xid zodb.Xid) error {
			if xid.Oid == 3 && xid.At == 2 && !looked {
				looked = true
				c.read(2)
			}
			return nil
		})
		took := c.commit(func() {
			require.True(t, looked)
			require.EqualValues(t, 2, <-c.sent)
			reader := make(chan error, 1)
			go func() { reader <- c.kernel.ReadPages(t.Context(), nil, 0, 1, 2) }()
			synctest.Wait()
			require.Empty(t, reader, "it is read first now, and may change")
			c.ack(2, 1)
			require.NoError(t, <-reader)
		})
		require.Less(t, took, 50*time.Millisecond)
		c.watch.Drop()
	})
}

// TestNobodyWaitsWithoutWatches.
func TestNobodyWaitsWithoutWatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFaulter(t, []uint64{1})
		c.watch.Drop()
		c.read(0, 1, 2)
		require.Zero(t, c.commit(nil))
		require.Zero(t, c.looks)
	})
}

// follow takes in a commit of records.
func (c *faulter) follow(tid zodb.Tid, records map[zodb.Oid][]byte) (took time.Duration) {
	start := time.Now()
	c.db.Commit(tid, records)
	event, err := c.db.NextEvent(c.Context())
	require.NoError(c, err)
	require.NoError(c, c.head.Commit(c.Context(), event))
	return time.Since(start)
}

// TestWholeFileThatCannotBeReadAnyMore changes in all of its blocks, one that is another
// file in none that anybody waits for.
func TestWholeFileThatCannotBeReadAnyMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFaulter(t, []uint64{1}, 0)
		took := c.follow(2, map[zodb.Oid][]byte{3: []byte("junk")})
		require.InDelta(t, 500*time.Millisecond, took, float64(15*time.Millisecond))
		require.EqualValues(t, 0, <-c.sent)
		c.watch.Drop()
	})
	synctest.Test(t, func(t *testing.T) {
		c := newFaulter(t, []uint64{1}, 0)
		c.follow(2, map[zodb.Oid][]byte{1: nil}) // it is deleted
		require.Zero(t, c.looks)
		c.watch.Drop()
	})
}

// TestWhoDoesNotMapABlockFromHeadIsNotWaitedFor, nor who reads it past the cache.
func TestWhoDoesNotMapABlockFromHeadIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFaulter(t, []uint64{1}, 2)
		c.commit(func() { c.ack(2, 1) })
		c.looks = 0
		c.read(2)
		require.Zero(t, c.commit(nil))
		require.Zero(t, c.looks)
		c.watch.Drop()
	})
	synctest.Test(t, func(t *testing.T) {
		c := newFaulter(t, []uint64{1})
		_, err := c.kernel.ReadDirect(t.Context(), 2, 3)
		require.NoError(t, err)
		require.Zero(t, c.commit(nil))
		require.Zero(t, c.looks)
		c.watch.Drop()
	})
}
