package past

import (
	"bytes"
	"context"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/wcfs/wcfs/internal/zodb/bigfile"
)

// memCache is a page cache that remembers what was stored.
type memCache struct {
	mu     sync.Mutex
	stored map[int64][]byte // by offset
	gate   chan struct{}    // a store waits for it; nil: it does not
}

func (c *memCache) Store(off int64, data []byte) error {
	if c.gate != nil {
		<-c.gate
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stored == nil {
		c.stored = make(map[int64][]byte)
	}
	c.stored[off] = bytes.Clone(data)
	return nil
}

// blockOf returns a block with that data.
func blockOf(data []byte) *bigfile.Block { return &bigfile.Block{Data: data} }

// fileOf returns a file of n blocks that come from load.
func fileOf(loader *bigfile.Loader, n, blksize int64, load func(ctx context.Context, blk int64) (*bigfile.Block, error)) *File {
	f := &File{view: &View{loader: loader}, obj: &bigfile.File{BlkSize: blksize}, size: n * blksize}
	f.loadFrom(load)
	return f
}

// TestReadGivesTheBytesOfTheFile compares random ranges with a plain array.
func TestReadGivesTheBytesOfTheFile(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		blksize := rapid.Int64Range(1, 70).Draw(t, "blksize")
		blocks := rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, int(blksize)), 1, 1200).Draw(t, "blocks")
		var file []byte
		for _, b := range blocks {
			file = append(file, b...)
			file = append(file, make([]byte, int(blksize)-len(b))...)
		}
		loader := bigfile.NewLoader(context.Background(), 8)
		loads := fileOf(loader, int64(len(blocks)), blksize, func(_ context.Context, blk int64) (*bigfile.Block, error) {
			if len(blocks[blk]) == 0 {
				return &bigfile.Block{}, nil // a hole
			}
			return blockOf(blocks[blk]), nil
		})
		off := rapid.IntRange(0, len(file)).Draw(t, "off")
		n := rapid.IntRange(0, len(file)-off).Draw(t, "n")
		reply, err := loads.Read(context.Background(), &memCache{}, int64(off), n)
		if err != nil {
			t.Fatal(err)
		}
		if got := bytes.Join(reply.Slices(), nil); !bytes.Equal(got, file[off:off+n]) || reply.Size() != n {
			t.Fatalf("[%d +%d): got %d bytes that are not right", off, n, len(got))
		}
		if len(reply.Slices()) > 1000 {
			t.Fatalf("%d pieces: writev(2) does not take so many", len(reply.Slices()))
		}
		reply.Release()
		loader.Wait()
		if loads.loads.Len() != 0 {
			t.Fatalf("%d blocks stay in memory", loads.loads.Len())
		}
	})
}

// TestFirstSmallReadStoresTheRestOfItsBlock checks every page of the block:
// either it was asked for or it was stored, with the right bytes.
func TestFirstSmallReadStoresTheRestOfItsBlock(t *testing.T) {
	page := os.Getpagesize()
	for pages := 1; pages <= 5; pages++ {
		for dataLen := 0; dataLen <= pages*page; dataLen += 1 + page/3 {
			for from := 0; from < pages; from++ {
				for to := from + 1; to <= pages; to++ {
					checkFill(t, page, pages, dataLen, from, to)
				}
			}
		}
	}
}

func checkFill(t *testing.T, page, pages, dataLen, from, to int) {
	t.Helper()
	want := make([]byte, pages*page)
	for i := range dataLen {
		want[i] = byte(i%251) + 1
	}
	const blk = 3
	start := int64(blk * pages * page)
	loader := bigfile.NewLoader(t.Context(), 1)
	loads := fileOf(loader, 10, int64(pages*page), func(context.Context, int64) (*bigfile.Block, error) { return blockOf(want[:dataLen]), nil })
	cache := &memCache{}
	reply, err := loads.Read(t.Context(), cache, start+int64(from*page), (to-from)*page)
	require.NoError(t, err)
	reply.Release()
	loader.Wait()
	got := bytes.Clone(want)
	clear(got[:from*page])
	clear(got[to*page:])
	for off, data := range cache.stored {
		require.Zero(t, (off|int64(len(data)))%int64(page), "stores are whole pages")
		copy(got[off-start:], data)
	}
	require.True(t, bytes.Equal(want, got), "block of %d pages with %d bytes, read [%d,%d)", pages, dataLen, from, to)
}

func TestManyReadersOfABlockLoadItOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		loader := bigfile.NewLoader(t.Context(), 8)
		gate := make(chan struct{})
		var count atomic.Int32
		loads := fileOf(loader, 1, 5, func(context.Context, int64) (*bigfile.Block, error) {
			count.Add(1)
			<-gate
			return blockOf([]byte("hello")), nil
		})
		var readers sync.WaitGroup
		for range 20 {
			readers.Go(func() {
				reply, err := loads.Read(t.Context(), &memCache{}, 0, 5)
				require.NoError(t, err)
				require.Equal(t, "hello", string(reply.Slices()[0]))
				reply.Release()
			})
		}
		synctest.Wait()
		close(gate)
		readers.Wait()
		loader.Wait()
		require.EqualValues(t, 1, count.Load())
		require.Zero(t, loads.loads.Len())
	})
}

// TestReaderWhoGivesUpLeavesTheLoadToOthers is about the first reader: the load
// it started is not its own.
func TestReaderWhoGivesUpLeavesTheLoadToOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		loader := bigfile.NewLoader(t.Context(), 8)
		gate := make(chan struct{})
		loads := fileOf(loader, 1, 5, func(ctx context.Context, _ int64) (*bigfile.Block, error) {
			select {
			case <-gate:
				return blockOf([]byte("hello")), nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		})
		first, giveUp := context.WithCancel(t.Context())
		firstErr := make(chan error)
		go func() {
			_, err := loads.Read(first, &memCache{}, 0, 5)
			firstErr <- err
		}()
		synctest.Wait()
		second := make(chan *bigfile.Reply)
		go func() {
			reply, err := loads.Read(t.Context(), &memCache{}, 0, 5)
			require.NoError(t, err)
			second <- reply
		}()
		synctest.Wait()
		giveUp()
		require.ErrorIs(t, <-firstErr, context.Canceled)
		close(gate)
		reply := <-second
		require.Equal(t, "hello", string(reply.Slices()[0]))
		reply.Release()
		loader.Wait()
		require.Zero(t, loads.loads.Len())
	})
}

// TestReadDoesNotWaitForAStuckStore has a store that never ends by itself, as
// when two READs of a block wait for each other's pages.
func TestReadDoesNotWaitForAStuckStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		page := os.Getpagesize()
		loader := bigfile.NewLoader(t.Context(), 8)
		loads := fileOf(loader, 1, int64(2*page), func(context.Context, int64) (*bigfile.Block, error) { return blockOf(make([]byte, 2*page)), nil })
		cache := &memCache{gate: make(chan struct{})}
		reply, err := loads.Read(t.Context(), cache, 0, page)
		require.NoError(t, err)
		reply.Release()
		require.Equal(t, 1, loads.loads.Len(), "the block stays until it is stored")
		close(cache.gate)
		loader.Wait()
		require.Zero(t, loads.loads.Len())
	})
}

func TestErrorOfOneBlockNamesItAndReleasesTheOthers(t *testing.T) {
	loader := bigfile.NewLoader(t.Context(), 8)
	bad := errors.New("bad record")
	loads := fileOf(loader, 4, 10, func(_ context.Context, blk int64) (*bigfile.Block, error) {
		if blk == 2 {
			return nil, bad
		}
		return blockOf([]byte{1}), nil
	})
	_, err := loads.Read(t.Context(), &memCache{}, 0, 40)
	require.ErrorIs(t, err, bad)
	require.Contains(t, err.Error(), "readblk #2")
	loader.Wait()
	require.Zero(t, loads.loads.Len())
}

func TestParallelLoadsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 3
		loader := bigfile.NewLoader(t.Context(), limit)
		var now, most atomic.Int32
		gate := make(chan struct{})
		loads := fileOf(loader, 20, 5, func(context.Context, int64) (*bigfile.Block, error) {
			most.Store(max(most.Load(), now.Add(1)))
			<-gate
			now.Add(-1)
			return &bigfile.Block{}, nil
		})
		done := make(chan error)
		go func() {
			reply, err := loads.Read(t.Context(), &memCache{}, 0, 100)
			if err == nil {
				reply.Release()
			}
			done <- err
		}()
		synctest.Wait()
		close(gate)
		require.NoError(t, <-done)
		loader.Wait()
		require.EqualValues(t, limit, most.Load(), "loads at a time")
	})
}
