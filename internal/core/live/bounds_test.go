package live_test

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/core/live"
	"github.com/wcfs/wcfs/internal/core/versions"
	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/btree"
	"github.com/wcfs/wcfs/internal/zodb/record"
	"github.com/wcfs/wcfs/internal/zodb/storage/mem"
)

// clock is a database whose transactions have times, with a file of some blocks of
// one page, which is served.
type clock struct {
	t      *testing.T
	db     *mem.Storage
	head   *live.Head
	file   *live.File
	loader *bigfile.Loader
	page   int64
	blks   int64
	tids   []zodb.Tid
	wrote  map[int64][]zodb.Tid // by block
}

func newClock(t *testing.T, blks int64, cfg live.Config) *clock {
	ctx, cancel := context.WithCancel(t.Context())
	c := &clock{t: t, db: mem.New(), page: int64(os.Getpagesize()), blks: blks, wrote: make(map[int64][]zodb.Tid)}
	var keys []int64
	var refs []btree.Ref
	all := map[zodb.Oid][]byte{1: bigfile.EncodeFile(&bigfile.File{BlkSize: c.page, Table: 2}), 2: btree.EncodeTree(btree.LO, false, []zodb.Oid{3}, nil, 3)}
	for blk := range blks {
		keys, refs = append(keys, blk), append(refs, btree.Ref{Oid: zodb.Oid(100 + blk), Class: record.ZBlk0})
	}
	all[3] = btree.EncodeBucket(btree.LO, keys, refs, 0)
	c.store(all, keys...)
	first := c.tids[0]
	objs := versions.NewObjects(ctx, c.db, first, 1<<20)
	c.loader = bigfile.NewLoader(ctx, 4)
	cfg.MaxServed = cmp.Or(cfg.MaxServed, 1000)
	cfg.Retry, cfg.StuckAfter, cfg.KeepHistory, cfg.KeepFloor = time.Second, time.Hour, time.Minute, time.Hour
	complete(&cfg, outside{t: t})
	c.head = live.New(ctx, first, objs, c.db, c.loader, cfg)
	t.Cleanup(func() { cancel(); c.head.Close(); c.loader.Wait(); objs.Close(); c.db.Close() })
	var err error
	c.file, err = c.head.Open(ctx, 1)
	require.NoError(t, err)
	_, err = c.db.NextEvent(ctx)
	require.NoError(t, err)
	return c
}

// store commits records and new content of blocks, as of now.
func (c *clock) store(records map[zodb.Oid][]byte, blks ...int64) {
	tid := zodb.TidFromTime(time.Now())
	for _, blk := range blks {
		records[zodb.Oid(100+blk)] = bigfile.EncodeBlock(fmt.Appendf(nil, "#%d @%s", blk, tid))
		c.wrote[blk] = append(c.wrote[blk], tid)
	}
	c.tids = append(c.tids, tid)
	c.db.Commit(tid, records)
}

// commit commits some time later, and head takes it in.
func (c *clock) commit(later time.Duration, blks ...int64) zodb.Tid {
	c.t.Helper()
	time.Sleep(later)
	return c.commitAll(make(map[zodb.Oid][]byte), blks...)
}

// commitAll is commit of other records too, without time in between.
func (c *clock) commitAll(records map[zodb.Oid][]byte, blks ...int64) zodb.Tid {
	c.t.Helper()
	c.store(records, blks...)
	event, err := c.db.NextEvent(c.t.Context())
	require.NoError(c.t, err)
	require.NoError(c.t, c.head.Commit(c.t.Context(), event))
	return event.Tid
}

// last returns when a block was written last as of a view.
func (c *clock) last(blk int64, at zodb.Tid) (tid zodb.Tid) {
	for _, t := range c.wrote[blk] {
		if t <= at {
			tid = t
		}
	}
	return tid
}

// read requires that a block reads as it is now.
func (c *clock) read(blk int64) {
	reply, err := c.file.Read(c.t.Context(), live.Request{Off: blk * c.page, N: int(c.page)})
	if err != nil {
		c.t.Errorf("read block %d: %s", blk, err)
		return
	}
	defer reply.Release()
	text := strings.TrimRight(string(bytes.Join(reply.Slices(), nil)), "\x00")
	if want := fmt.Sprintf("#%d @%s", blk, c.last(blk, zodb.TidMax)); text != want {
		c.t.Errorf("block %d reads as %q; want %q", blk, text, want)
	}
}

// watching is a client that notes what it is told, and does it when it is asked to.
type watching struct {
	watch *live.Watch
	mu    sync.Mutex
	todo  []int64
	pins  map[int64]zodb.Tid
}

func (w *watching) Send(_ *live.Watch, blk int64, _ bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.todo = append(w.todo, blk)
}

// watch sets a watch up.
func (c *clock) watch(at zodb.Tid) *watching {
	c.t.Helper()
	w := &watching{pins: make(map[int64]zodb.Tid)}
	done := make(chan error, 1)
	go func() {
		done <- c.file.Watch(c.t.Context(), w, at, nil, func(watch *live.Watch) { w.watch = watch })
	}()
	w.obey()
	require.NoError(c.t, <-done)
	return w
}

// obey does all that the client was told, and returns how much that was.
func (w *watching) obey() (n int) {
	synctest.Wait()
	w.mu.Lock()
	todo := w.todo
	w.todo = nil
	w.mu.Unlock()
	for _, blk := range todo {
		note := func(rev zodb.Tid, _ time.Time) bool {
			w.pins[blk] = rev
			return true
		}
		for w.watch.Take(blk, note) == live.Taken {
			w.watch.Acked(blk)
		}
	}
	synctest.Wait()
	return len(todo)
}

// TestViewThatWasNewestUntilNowCanBeWatched: for however long nothing was committed.
func TestViewThatWasNewestUntilNowCanBeWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClock(t, 3, live.Config{})
		first := c.tids[0]
		before := c.commit(time.Second, 0)
		c.read(0)
		c.commit(10*time.Minute, 0, 1)
		require.NoError(t, c.head.Reaches(before))
		w := c.watch(before)
		require.Equal(t, map[int64]zodb.Tid{0: before}, w.pins)
		go c.read(1)
		require.Equal(t, 1, w.obey())
		require.Equal(t, map[int64]zodb.Tid{0: before, 1: first}, w.pins)
		w.watch.Drop()
		c.commit(59*time.Second, 2)
		require.NoError(t, c.head.Reaches(before), "history is kept for a minute")
		var far *live.TooFarBackError
		require.ErrorAs(t, c.head.Reaches(first), &far, "and is not kept for ever")
		c.commit(10*time.Minute, 2)
		require.ErrorAs(t, c.head.Reaches(before), &far)
	})
}

// TestIdleWatchDoesNotMakeHistoryGrowForEver: what it has to pin is found all the same.
func TestIdleWatchDoesNotMakeHistoryGrowForEver(t *testing.T) {
	const commits, minute = 1000, 60 // one a second
	for _, most := range []int{minute / 3, minute, 2 * minute} {
		synctest.Test(t, func(t *testing.T) {
			c := newClock(t, 5, live.Config{MaxHistory: most})
			at := c.commit(time.Second, 1, 3)
			w := c.watch(at)
			longest := 0
			for i := range commits {
				c.commit(time.Second, int64(i)%4)
				longest = max(longest, c.head.Stats().History)
			}
			require.LessOrEqual(t, longest, max(minute, most)+2, "transactions in history")
			require.NoError(t, c.head.Reaches(c.tids[len(c.tids)-minute]), "a minute is kept, however much that is")
			for blk := range c.blks {
				go c.read(blk)
				w.obey()
			}
			for blk := range c.blks - 1 {
				rev := w.pins[blk]
				require.Equal(t, c.last(blk, at), c.last(blk, rev), "block %d is pinned to what it was", blk)
				require.LessOrEqual(t, rev, at)
			}
			require.NotContains(t, w.pins, c.blks-1, "it did not change")
			w.move(t, c.head.At())
			w.watch.Drop()
		})
	}
}

// move moves the watch.
func (w *watching) move(t *testing.T, at zodb.Tid) {
	t.Helper()
	moved := make(chan error, 1)
	go func() { moved <- w.watch.Move(t.Context(), at) }()
	w.obey()
	require.NoError(t, <-moved)
}

// TestBlocksOfParkedReadsAreBounded: READs that wait for a client keep as much in
// memory as there is room for, and load the rest again when they go on.
func TestBlocksOfParkedReadsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const blks, room = 40, 3
		c := newClock(t, blks, live.Config{ParkedBytes: room * int64(os.Getpagesize())})
		w := c.watch(c.tids[0])
		all := make([]int64, blks)
		for blk := range all {
			all[blk] = int64(blk)
		}
		c.commit(time.Second, all...)
		var readers sync.WaitGroup
		for blk := int64(blks - 1); blk >= 0; blk-- {
			readers.Go(func() { c.read(blk) })
			synctest.Wait()
			_, _, loads := c.file.Busy()
			require.Equal(t, min(room, blks-int(blk)), loads, "blocks in memory")
		}
		require.Equal(t, blks, c.head.Stats().Waiting)
		require.Equal(t, blks, w.obey())
		readers.Wait()
		time.Sleep(time.Minute) // as far as they look like those of a sequential reader
		synctest.Wait()
		reads, _, loads := c.file.Busy()
		require.Zero(t, reads+loads)
		require.Zero(t, c.head.Parked())
		w.watch.Drop()
	})
}

// TestServedBlocksAreBoundedWithoutCommits: READs alone make too many of them.
func TestServedBlocksAreBoundedWithoutCommits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClock(t, 400, live.Config{MaxServed: 150})
		for blk := range c.blks {
			c.read(blk)
			synctest.Wait()
			require.Less(t, c.head.Served(), 150+64, "the evictor looks every 64 blocks")
		}
	})
}

// TestWhatWasReadLongAgoIsDroppedFirst: mostly, since only some ranges of blocks are
// looked at. In one of 32 rounds all of five random ones are of what is in use.
func TestWhatWasReadLongAgoIsDroppedFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rounds = 48
		c := newClock(t, 128, live.Config{})
		wrong := 0
		for range rounds {
			for _, blks := range []int64{c.blks, c.blks / 2} {
				time.Sleep(time.Minute)
				for blk := range blks {
					c.read(blk)
				}
			}
			require.True(t, c.head.EvictSome())
			lost := false
			for blk := range c.blks / 2 {
				lost = lost || !c.file.IsServed(blk)
			}
			if lost {
				wrong++
			}
		}
		require.Less(t, wrong, rounds*3/10) // more: once in 10⁹ tests
	})
}

// TestHistoryIsNotKeptForAWatchThatWasRefused.
func TestHistoryIsNotKeptForAWatchThatWasRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClock(t, 1, live.Config{})
		first := c.tids[0]
		time.Sleep(time.Second)
		c.commitAll(map[zodb.Oid][]byte{1: nil})
		require.NoError(t, c.head.Reaches(first))
		require.Error(t, c.file.Watch(t.Context(), &sends{}, first, nil, func(*live.Watch) {}))
		for range 2 {
			c.commit(10*time.Minute, 0)
		}
		require.Error(t, c.head.Reaches(first))
	})
}

// TestExactRevisionsAreKeptForABoundedTime: what is noted for them does not grow for ever.
func TestExactRevisionsAreKeptForABoundedTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClock(t, 1, live.Config{})
		for range 30 {
			at := c.commit(10*time.Minute, 0)
			require.Less(t, at.Time().Sub(c.head.Floor().Time().Time), 90*time.Minute)
		}
	})
}
