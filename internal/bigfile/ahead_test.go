package bigfile

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// heldBlock is a block that says when it is let go.
type heldBlock struct{ released func() }

func (b *heldBlock) Release() { b.released() }

// library is files whose blocks are counted while they are in memory.
type library struct {
	t      *testing.T
	loader *Loader

	mu       sync.Mutex
	loaded   map[int64]int // how often, by block
	inMemory int
	fails    func(blk int64) error // may be nil
}

func newLibrary(t *testing.T) *library {
	ctx, cancel := context.WithCancel(t.Context())
	l := &library{t: t, loader: NewLoader(ctx, 8), loaded: make(map[int64]int)}
	t.Cleanup(func() { cancel(); l.loader.Wait() })
	return l
}

// viewBlock is a block as of a view.
type viewBlock struct{ view, blk int64 }

func (l *library) load(_ context.Context, key viewBlock) (*heldBlock, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fails != nil {
		if err := l.fails(key.blk); err != nil {
			return nil, err
		}
	}
	l.loaded[key.blk]++
	l.inMemory++
	return &heldBlock{func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.inMemory--
	}}, nil
}

func (l *library) held() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.inMemory
}

// shelf is one file of a library.
type shelf struct {
	*library
	blksize, end, view int64
	loads              *Loads[viewBlock, *heldBlock]
	ahead              *Ahead[viewBlock, *heldBlock]
}

func (l *library) file(blksize, end int64) *shelf {
	s := &shelf{library: l, blksize: blksize, end: end, loads: NewLoads(l.loader, l.load)}
	s.ahead = NewAhead(s.loads)
	return s
}

// read is a READ of a part of blk, and returns whether the block was there already
// when it came.
func (s *shelf) read(blk int64) (ready bool, err error) {
	synctest.Wait()
	ld, _ := s.loads.Acquire(viewBlock{s.view, blk})
	defer ld.Release()
	select {
	case <-ld.Done():
		ready = true
	default:
	}
	view := s.view
	s.ahead.Read([]Extent{{Blk: blk, To: 1}}, Window[viewBlock]{BlkSize: s.blksize, End: s.end,
		Key: func(blk int64) viewBlock { return viewBlock{view, blk} }})
	_, err = ld.Wait(s.t.Context())
	synctest.Wait()
	return ready, err
}

// mustRead is read of what is not damaged.
func (s *shelf) mustRead(blk int64) (ready bool) {
	s.t.Helper()
	ready, err := s.read(blk)
	require.NoError(s.t, err)
	return ready
}

// requireNothingHeld requires that all is let go some time after the last READ.
func (l *library) requireNothingHeld() {
	l.t.Helper()
	time.Sleep(2 * aheadIdle)
	synctest.Wait()
	require.Zero(l.t, l.held(), "blocks in memory")
	require.Zero(l.t, l.loader.ahead.Load(), "bytes that count as held ahead")
}

func TestSequentialReaderFindsItsBlocksLoaded(t *testing.T) {
	for blksize, most := range map[int64]int{4096: aheadBlocks, 64 << 10: aheadBlocks, 1 << 20: 4, 2 << 20: 2,
		3 << 20: 1, aheadLargest: 1, aheadLargest + 1: 0, 1 << 40: 0} {
		synctest.Test(t, func(t *testing.T) {
			s := newLibrary(t).file(blksize, 40)
			for blk := range s.end {
				ready := s.mustRead(blk)
				require.Equal(t, most > 0 && blk >= aheadAfter, ready, "block %d of %d bytes", blk, blksize)
				require.LessOrEqual(t, s.held(), most, "blocks of %d bytes", blksize)
				require.EqualValues(t, int64(s.held())*blksize, s.loader.ahead.Load())
				if most > 0 {
					require.LessOrEqual(t, s.loader.ahead.Load(), max(aheadBytes, blksize))
				}
			}
			require.Len(t, s.loaded, int(s.end), "not behind the end")
			for blk, n := range s.loaded {
				require.Equal(t, 1, n, "block %d", blk)
			}
			s.requireNothingHeld()
		})
	}
}

func TestOneBlockIsNoSequence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newLibrary(t).file(2<<20, 100)
		for range 1000 { // READs of parts of it
			s.mustRead(50)
		}
		for blk := s.end - 1; blk >= 0; blk -= 2 {
			s.mustRead(blk)
			require.Zero(t, s.held())
		}
	})
}

// TestWhatNobodyReadsOnIsLetGo: after a while without a READ, and not before.
func TestWhatNobodyReadsOnIsLetGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newLibrary(t).file(64<<10, 100)
		s.mustRead(0)
		s.mustRead(1)
		require.Equal(t, aheadBlocks, s.held())
		for blk := int64(2); blk < 10; blk++ { // slowly
			time.Sleep(aheadIdle * 9 / 10)
			require.True(t, s.mustRead(blk))
			require.Equal(t, aheadBlocks, s.held())
		}
		s.requireNothingHeld()
		require.False(t, s.mustRead(10))
		require.Equal(t, aheadBlocks, s.held(), "it goes on where it was")
		s.requireNothingHeld()
	})
}

// TestSeekingHoldsNoMore: of readers that jump about the last ones count.
func TestSeekingHoldsNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newLibrary(t).file(64<<10, 1<<40)
		for range 100 {
			at := rand.Int64N(s.end - 2)
			s.mustRead(at)
			s.mustRead(at + 1)
			require.LessOrEqual(t, s.held(), aheadRuns*aheadBlocks)
			require.LessOrEqual(t, len(s.ahead.runs), aheadRuns)
		}
		s.requireNothingHeld()
	})
}

func TestReadersOfOneFileAreToldApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newLibrary(t).file(2<<20, 1000)
		for i := range int64(50) {
			for reader := range int64(aheadRuns) {
				require.Equal(t, i >= aheadAfter, s.mustRead(100*reader+i), "reader %d, block %d", reader, i)
			}
		}
		for blk, n := range s.loaded {
			require.Equal(t, 1, n, "block %d", blk)
		}
		s.requireNothingHeld()
	})
}

// TestAllFilesTogetherAreBounded: one who opens very many does not take all memory.
func TestAllFilesTogetherAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLibrary(t)
		for range 2 * aheadTotal / aheadBytes {
			s := l.file(2<<20, 100)
			s.mustRead(0)
			s.mustRead(1)
			require.LessOrEqual(t, l.loader.ahead.Load(), int64(aheadTotal))
			require.LessOrEqual(t, l.held(), aheadTotal/(2<<20))
		}
		require.EqualValues(t, aheadTotal, l.loader.ahead.Load())
		require.False(t, l.file(2<<20, 100).mustRead(7), "and all can be read")
		l.requireNothingHeld()
	})
}

// TestFailedLoadAheadIsTriedAgain: nobody gets an error for what nobody had asked for.
func TestFailedLoadAheadIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newLibrary(t).file(2<<20, 100)
		damage, tries := errors.New("not now"), 0
		s.fails = func(blk int64) error {
			if blk == 2 {
				if tries++; tries == 1 {
					return damage
				}
			}
			return nil
		}
		for blk := range int64(5) {
			s.mustRead(blk)
		}
		require.Equal(t, 2, tries)
		s.fails = func(blk int64) error { return damage } // and what stays damaged
		for range 3 {
			_, err := s.read(50)
			require.ErrorIs(t, err, damage)
		}
		s.fails = nil
		s.mustRead(50)
		s.requireNothingHeld()
	})
}

// TestOtherViewIsLoadedAnew: what was loaded ahead of a commit is let go.
func TestOtherViewIsLoadedAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newLibrary(t).file(2<<20, 100)
		s.mustRead(0)
		s.mustRead(1)
		require.Equal(t, 2, s.held())
		s.view++
		require.False(t, s.mustRead(2), "block 2 was loaded as of another view")
		require.Equal(t, 2, s.held())
		require.True(t, s.mustRead(3))
		require.Equal(t, map[int64]int{0: 1, 1: 1, 2: 2, 3: 2, 4: 1, 5: 1}, s.loaded)
		s.requireNothingHeld()
	})
}
