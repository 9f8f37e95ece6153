package past

import (
	"context"
	"errors"
	"maps"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

const (
	keptOid zodb.Oid = 7
	keptAt  zodb.Tid = 70
)

// memKept keeps blocks of one file and one revision.
type memKept struct {
	t       *testing.T
	mu      sync.Mutex
	settled int // how often Settle was called
	blks    []int64
	bufs    []*storage.Buf
	next    func() // called by Next before it answers
}

func (k *memKept) Block(context.Context, zodb.Oid, int64, zodb.Tid) *storage.Buf { return nil }

func (k *memKept) Settle(_ context.Context, oid zodb.Oid, at zodb.Tid) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.settled++
	return errors.New("not all can be")
}

func (k *memKept) Next(oid zodb.Oid, at zodb.Tid, seq uint64) (int64, *storage.Buf, uint64) {
	if k.next != nil {
		k.next()
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if oid != keptOid || at != keptAt || k.settled == 0 || seq >= uint64(len(k.blks)) {
		return 0, nil, seq
	}
	return k.blks[seq], k.bufs[seq].Retain(), seq + 1
}

// add keeps a block that is full of its number.
func (k *memKept) add(blk, blksize int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	buf := storage.NewBuf(int(blksize))
	for i := range buf.Data {
		buf.Data[i] = byte(blk)
	}
	k.blks, k.bufs = append(k.blks, blk), append(k.bufs, buf)
}

// requireReleased requires that nobody else uses what is kept.
func (k *memKept) requireReleased() {
	k.t.Helper()
	for _, buf := range k.bufs {
		buf.Release()
		require.Panics(k.t, func() { buf.Retain() }, "somebody has not released it")
	}
}

// keptFile returns a file of n blocks of which k keeps some.
func keptFile(loader *bigfile.Loader, k *memKept, n, blksize int64) *File {
	f := fileOf(loader, n, blksize, nil)
	f.view.at, f.view.kept, f.oid = keptAt, k, keptOid
	return f
}

// stored returns the blocks that are stored as a whole, ascending.
func (c *memCache) blocks(t *testing.T, blksize int64) (blks []int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for off, data := range c.stored {
		require.Zero(t, off%blksize)
		require.Len(t, data, int(blksize))
		require.Equal(t, byte(off/blksize), data[0])
		blks = append(blks, off/blksize)
	}
	return slices.Sorted(slices.Values(blks))
}

// TestWhatIsKeptIsStoredOnce, also what comes up later.
func TestWhatIsKeptIsStoredOnce(t *testing.T) {
	blksize := int64(os.Getpagesize()) * 2
	k, cache := &memKept{t: t}, &memCache{}
	loader := bigfile.NewLoader(t.Context(), 1)
	f := keptFile(loader, k, 10, blksize)
	for _, blk := range []int64{3, 9, 10, 1} { // #10 is behind the end
		k.add(blk, blksize)
	}
	f.StoreKept(t.Context(), cache, time.Hour)
	require.Equal(t, []int64{1, 3, 9}, cache.blocks(t, blksize))
	clear(cache.stored)
	f.StoreKept(t.Context(), cache, time.Hour)
	require.Empty(t, cache.stored)
	k.add(4, blksize)
	f.StoreKept(t.Context(), cache, time.Hour)
	require.Equal(t, []int64{4}, cache.blocks(t, blksize))
	loader.Wait()
	k.requireReleased()
}

// TestBlocksThatAreNotWholePagesAreNotStored: nobody is asked for them.
func TestBlocksThatAreNotWholePagesAreNotStored(t *testing.T) {
	for _, blksize := range []int64{1, int64(os.Getpagesize()) / 2, int64(os.Getpagesize()) * 3 / 2} {
		k, cache := &memKept{t: t}, &memCache{}
		k.add(2, blksize)
		keptFile(bigfile.NewLoader(t.Context(), 1), k, 4, blksize).StoreKept(t.Context(), cache, time.Hour)
		require.Empty(t, cache.stored)
		require.Zero(t, k.settled)
		k.requireReleased()
	}
}

// failingCache takes nothing.
type failingCache struct{ asked int }

func (c *failingCache) Store(int64, []byte) error {
	c.asked++
	return errors.New("no such inode")
}

// TestStoreThatFailsIsTriedAgainTheNextTime, and the blocks after it too.
func TestStoreThatFailsIsTriedAgainTheNextTime(t *testing.T) {
	blksize := int64(os.Getpagesize())
	k, failing, cache := &memKept{t: t}, &failingCache{}, &memCache{}
	f := keptFile(bigfile.NewLoader(t.Context(), 1), k, 4, blksize)
	k.add(2, blksize)
	k.add(3, blksize)
	f.StoreKept(t.Context(), failing, time.Hour)
	require.Equal(t, 1, failing.asked, "the others would fail as well")
	f.StoreKept(t.Context(), cache, time.Hour)
	require.Equal(t, []int64{2, 3}, cache.blocks(t, blksize))
	k.requireReleased()
}

// TestOneStoreOfAFileAtATime: who asks while one is stuck waits for that one, which
// then looks once more.
func TestOneStoreOfAFileAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		blksize := int64(os.Getpagesize())
		k, cache := &memKept{t: t}, &memCache{gate: make(chan struct{})}
		loader := bigfile.NewLoader(t.Context(), 1)
		f := keptFile(loader, k, 4, blksize)
		k.add(2, blksize)
		first := f.startStore(t.Context(), cache)
		synctest.Wait()
		k.add(3, blksize)
		asked := 0
		k.next = func() { asked++ }
		for range 10 {
			require.Equal(t, first, f.startStore(t.Context(), cache))
		}
		synctest.Wait()
		require.Zero(t, asked)
		k.add(1, blksize)
		close(cache.gate)
		<-first
		require.Equal(t, []int64{1, 2, 3}, cache.blocks(t, blksize))
		require.Equal(t, 2, k.settled, "looked once more")
		f.StoreKept(t.Context(), cache, time.Hour)
		loader.Wait()
		require.Equal(t, 3, k.settled)
		k.requireReleased()
	})
}

// TestStuckStoreIsNotWaitedForForLong, and is done when it can be.
func TestStuckStoreIsNotWaitedForForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		blksize := int64(os.Getpagesize())
		k, cache := &memKept{t: t}, &memCache{gate: make(chan struct{})}
		loader := bigfile.NewLoader(t.Context(), 1)
		f := keptFile(loader, k, 4, blksize)
		k.add(2, blksize)
		start := time.Now()
		for range 2 {
			f.StoreKept(t.Context(), cache, time.Minute)
		}
		require.Equal(t, 2*time.Minute, time.Since(start))
		close(cache.gate)
		loader.Wait()
		require.Equal(t, []int64{2}, cache.blocks(t, blksize))
		k.requireReleased()
	})
}

// TestStoringEndsBetweenTwoBlocks when the server does.
func TestStoringEndsBetweenTwoBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		blksize := int64(os.Getpagesize())
		ctx, cancel := context.WithCancel(t.Context())
		k, cache := &memKept{t: t}, &memCache{gate: make(chan struct{})}
		loader := bigfile.NewLoader(ctx, 1)
		f := keptFile(loader, k, 100, blksize)
		for blk := range int64(100) {
			k.add(blk, blksize)
		}
		f.StoreKept(ctx, cache, 0)
		synctest.Wait()
		f.StoreKept(ctx, cache, 0) // to look once more
		cancel()
		start := time.Now()
		f.StoreKept(ctx, cache, time.Hour)
		require.Zero(t, time.Since(start), "it waits")
		cache.gate <- struct{}{}
		loader.Wait()
		require.Equal(t, []int64{0}, slices.Sorted(maps.Keys(cache.stored)))
		require.Equal(t, 1, k.settled)
		k.requireReleased()
	})
}
