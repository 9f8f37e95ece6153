package bigfile

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wcfs/wcfs/internal/zodb/storage/mem"
)

// aheadKey is a block as of a view.
type aheadKey struct{ blk, view int64 }

// counted is a value that is in memory until it is released.
type counted struct {
	store *aheadStore
	key   aheadKey
}

func (v *counted) Release() {
	v.store.mu.Lock()
	defer v.store.mu.Unlock()
	v.store.released[v.key]++
}

// aheadStore counts what is loaded of one file and what is released.
type aheadStore struct {
	mu               sync.Mutex
	loaded, released map[aheadKey]int
	begun            []int // sizes of groups that were begun together
	fails            bool
}

func (s *aheadStore) load(_ context.Context, key aheadKey) (*counted, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loaded[key]++
	if s.fails {
		return nil, errors.New("not now")
	}
	return &counted{s, key}, nil
}

// begin begins blocks together. Those with odd numbers are not there after the first step.
func (s *aheadStore) begin(_ context.Context, keys []aheadKey) []Begun[*counted] {
	s.mu.Lock()
	s.begun = append(s.begun, len(keys))
	s.mu.Unlock()
	all := make([]Begun[*counted], len(keys))
	for i, key := range keys {
		if key.blk%2 == 1 {
			all[i].Rest = func(ctx context.Context) (*counted, error) { return s.load(ctx, key) }
			continue
		}
		all[i].Value, all[i].Err = s.load(context.Background(), key)
	}
	return all
}

// aheadFile is one file of blocks of some size, whose readers are loaded ahead of.
type aheadFile struct {
	*testing.T
	*aheadStore
	loads  *Loads[aheadKey, *counted]
	ahead  *Ahead[aheadKey, *counted]
	window Window[aheadKey]
	view   int64
}

func newAheadFile(t *testing.T, loader *Loader, together bool, blksize, end int64) *aheadFile {
	f := &aheadFile{T: t, aheadStore: &aheadStore{loaded: make(map[aheadKey]int), released: make(map[aheadKey]int)}}
	f.loads = NewLoads(loader, f.load)
	db := mem.New()
	db.AnswerMany(together)
	f.loads.Together(db, blksize, f.begin)
	f.ahead = NewAhead(f.loads)
	f.window = Window[aheadKey]{BlkSize: blksize, End: end, Key: func(blk int64) aheadKey { return aheadKey{blk, f.view} }}
	return f
}

// read reads blocks in one READ, and lets them go.
func (f *aheadFile) read(blks ...int64) {
	f.Helper()
	var extents []Extent
	var lds []*Load[aheadKey, *counted]
	for _, blk := range blks {
		ld, _ := f.loads.Acquire(aheadKey{blk, f.view})
		lds = append(lds, ld)
		extents = append(extents, Extent{blk, 0, f.window.BlkSize})
	}
	f.ahead.Read(extents, f.window)
	for _, ld := range lds {
		_, err := ld.Wait(f.Context())
		require.NoError(f, err)
		ld.Release()
	}
	synctest.Wait()
}

// requireHeld requires that just the blocks [from, to) are in memory, as of now.
func (f *aheadFile) requireHeld(from, to int64) {
	f.Helper()
	require.EqualValues(f, to-from, f.loads.Len())
	f.requireReleased()
	f.loads.mu.Lock()
	defer f.loads.mu.Unlock()
	for blk := from; blk < to; blk++ {
		require.NotNil(f, f.loads.byKey[aheadKey{blk, f.view}], "block %d", blk)
	}
}

// requireReleased requires that each value that is not in memory was released once.
func (f *aheadFile) requireReleased() {
	f.Helper()
	f.loads.mu.Lock()
	defer f.loads.mu.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	for key, n := range f.loaded {
		want := n
		if f.loads.byKey[key] != nil {
			want--
		}
		require.Equal(f, want, f.released[key], "block %d", key.blk)
	}
}

// inBubble runs a test with a Loader, of which nothing is held ahead in the end: for blocks that
// are loaded one by one, and for those that are begun together.
func inBubble(t *testing.T, test func(t *testing.T, loader *Loader, together bool)) {
	for _, together := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			loader := NewLoader(t.Context(), 4)
			test(t, loader, together)
			time.Sleep(3 * aheadIdle)
			synctest.Wait()
			require.Zero(t, loader.ahead.Load(), "bytes that are held ahead")
			loader.Wait()
		})
	}
}

func TestSequentialReaderIsLoadedAheadOf(t *testing.T) {
	for blksize, depth := range map[int64]int64{4096: 8, 1 << 19: 8, 1 << 20: 4, 2<<20 - 1: 2, 3 << 20: 1, aheadLargest: 1, aheadLargest + 1: 0} {
		inBubble(t, func(t *testing.T, loader *Loader, together bool) {
			const end = 20
			f := newAheadFile(t, loader, together, blksize, end)
			f.read(0)
			f.read(0) // another part
			f.requireHeld(0, 0)
			for blk := int64(1); blk < end; blk++ {
				f.read(blk)
				f.requireHeld(blk+1, min(blk+1+depth, end))
				f.read(blk)
				f.requireHeld(blk+1, min(blk+1+depth, end))
			}
			require.Len(t, f.loaded, end)
			for blk, n := range f.loaded {
				require.Equal(t, 2, n, "block %d: it was read twice", blk)
			}
		})
	}
}

// TestReadOfSeveralBlocksGoesOnWithTheLast, wherever it began.
func TestReadOfSeveralBlocksGoesOnWithTheLast(t *testing.T) {
	inBubble(t, func(t *testing.T, loader *Loader, together bool) {
		f := newAheadFile(t, loader, together, 1<<20, 100)
		f.read(10, 11, 12)
		f.requireHeld(0, 0)
		f.read(12, 13)
		f.requireHeld(14, 18)
		f.read(14, 15)
		f.requireHeld(16, 20)
	})
}

// TestWhatIsHeldOfAnotherViewIsLetGo: a reader after a commit wants the new one.
func TestWhatIsHeldOfAnotherViewIsLetGo(t *testing.T) {
	inBubble(t, func(t *testing.T, loader *Loader, together bool) {
		f := newAheadFile(t, loader, together, 1<<20, 100)
		f.read(0)
		f.read(1)
		f.view = 1
		f.read(1)
		f.requireHeld(2, 6)
	})
}

// TestIdleReaderIsNotLoadedAheadOfForLong, and others are not disturbed by it.
func TestIdleReaderIsNotLoadedAheadOfForLong(t *testing.T) {
	inBubble(t, func(t *testing.T, loader *Loader, together bool) {
		f := newAheadFile(t, loader, together, 1<<20, 100)
		f.read(0)
		f.read(1)
		f.read(50)
		for blk := int64(51); blk < 60; blk++ {
			f.read(blk)
			time.Sleep(aheadIdle * 3 / 4)
			synctest.Wait()
			if blk > 53 {
				f.requireHeld(blk+1, blk+5)
			}
		}
		time.Sleep(2 * aheadIdle)
		synctest.Wait()
		f.requireHeld(0, 0)
		f.read(60) // the reader is back
		f.requireHeld(61, 65)
	})
}

// TestOfManyReadersThoseOfLateAreLoadedAheadOf.
func TestOfManyReadersThoseOfLateAreLoadedAheadOf(t *testing.T) {
	inBubble(t, func(t *testing.T, loader *Loader, together bool) {
		f := newAheadFile(t, loader, together, 4<<20, 10_000) // one block each
		start := func(i int64) { f.read(100 * i); f.read(100*i + 1) }
		for i := range int64(aheadRuns) {
			start(i)
		}
		require.EqualValues(t, aheadRuns, f.loads.Len())
		f.read(2) // the first goes on
		start(aheadRuns)
		require.EqualValues(t, aheadRuns, f.loads.Len())
		require.Contains(t, f.loads.byKey, aheadKey{3, 0})
		require.NotContains(t, f.loads.byKey, aheadKey{102, 0}, "of the one that was not used for longest")
		require.Contains(t, f.loads.byKey, aheadKey{100*aheadRuns + 2, 0})
		f.requireReleased()
	})
}

// TestBytesHeldAheadAreBoundedForAllFiles, and can be held again once they are free.
func TestBytesHeldAheadAreBoundedForAllFiles(t *testing.T) {
	inBubble(t, func(t *testing.T, loader *Loader, together bool) {
		var files []*aheadFile
		held := func() (n int) {
			for _, f := range files {
				n += f.loads.Len()
				f.requireReleased()
			}
			return n
		}
		for range aheadTotal/aheadBytes + 5 {
			f := newAheadFile(t, loader, together, aheadBytes, 100)
			files = append(files, f)
			f.read(0)
			f.read(1)
		}
		require.Equal(t, aheadTotal/aheadBytes, held())
		time.Sleep(3 * aheadIdle)
		synctest.Wait()
		require.Zero(t, held())
		files[len(files)-1].read(2)
		require.Equal(t, 1, held())
	})
}

// TestLoadThatFailedForNobodyIsTriedAgain when somebody wants the block, but one that
// somebody wanted gives its error to all who wait for it.
func TestLoadThatFailedForNobodyIsTriedAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, loader *Loader, together bool) {
		f := newAheadFile(t, loader, together, 4<<20, 100)
		f.read(0)
		f.fails = true
		ld, first := f.loads.Acquire(aheadKey{1, 0})
		require.True(t, first)
		f.ahead.Read([]Extent{{1, 0, 4}}, f.window) // holds 2
		synctest.Wait()
		again, first := f.loads.Acquire(aheadKey{1, 0})
		require.Same(t, ld, again)
		require.False(t, first)
		_, err := again.Wait(t.Context())
		require.Error(t, err)
		ld.Release()
		again.Release()
		f.fails = false
		ld, first = f.loads.Acquire(aheadKey{2, 0})
		require.True(t, first)
		_, err = ld.Wait(t.Context())
		require.NoError(t, err)
		time.Sleep(2 * aheadIdle) // the one that failed is let go
		synctest.Wait()
		again, first = f.loads.Acquire(aheadKey{2, 0})
		require.Same(t, ld, again)
		require.False(t, first)
		again.Release()
		require.Zero(t, f.released[aheadKey{2, 0}])
		ld.Release()
		require.Equal(t, 1, f.released[aheadKey{2, 0}])
		require.Zero(t, f.loads.Len())
	})
}

// TestRequestForWhatIsHeldAheadIsTheFirst: nobody else has stored the rest of the block.
func TestRequestForWhatIsHeldAheadIsTheFirst(t *testing.T) {
	inBubble(t, func(t *testing.T, loader *Loader, together bool) {
		f := newAheadFile(t, loader, together, 4<<20, 100)
		f.read(0)
		f.read(1)
		ld, first := f.loads.Acquire(aheadKey{2, 0})
		require.True(t, first)
		again, first := f.loads.Acquire(aheadKey{2, 0})
		require.False(t, first)
		require.Equal(t, 1, f.loaded[aheadKey{2, 0}])
		ld.Release()
		again.Release()
	})
}

// TestLoadsEndWithTheServer also when all slots are taken, and whoever waits may give up.
func TestLoadsEndWithTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		loader := NewLoader(ctx, 1)
		gate := make(chan struct{})
		running := 0
		loads := NewLoads(loader, func(context.Context, int) (*counted, error) {
			running++
			<-gate
			return nil, errors.New("too late")
		})
		a, _ := loads.Acquire(1)
		b, _ := loads.Acquire(2)
		synctest.Wait()
		require.Equal(t, 1, running)
		short, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		_, err := a.Wait(short)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		cancel()
		synctest.Wait()
		require.True(t, a.failed() != b.failed(), "the one without a slot has ended, and the other not yet")
		close(gate)
		loader.Wait()
		require.Equal(t, 2, loads.Len(), "somebody has them still")
		_, errA := a.Wait(t.Context())
		_, errB := b.Wait(t.Context())
		require.NotErrorIs(t, errA, errB, "one of them ran")
		a.Release()
		b.Release()
		require.Zero(t, loads.Len())
	})
}
