package bigfile

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// pageCache notes what is stored, and fails from some store on.
type pageCache struct {
	pages  map[int64][]byte // by offset
	stores int
	fails  int           // this one and what follows; 0: none
	takes  time.Duration // each
	twice  bool          // a page was stored again
}

func (c *pageCache) Store(off int64, data []byte) error {
	time.Sleep(c.takes)
	if c.stores++; c.fails > 0 && c.stores >= c.fails {
		return errors.New("no")
	}
	page := os.Getpagesize()
	if (off|int64(len(data)))%int64(page) != 0 || len(data) == 0 {
		return errors.New("not of whole pages")
	}
	for p := range slices.Chunk(data, page) {
		c.twice = c.twice || c.pages[off] != nil
		c.pages[off] = p
		off += int64(page)
	}
	return nil
}

// released counts.
type released int

func (r *released) Release() { *r++ }

// TestFillStoresTheRestOfABlock compares what is stored with the whole block, without
// what the READ brings itself.
func TestFillStoresTheRestOfABlock(t *testing.T) {
	page := int64(os.Getpagesize())
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64Range(1, 6).Draw(t, "pages")
		blksize := page * n
		from := page * rapid.Int64Range(0, n-1).Draw(t, "from")
		to := page * rapid.Int64Range(from/page+1, n).Draw(t, "to")
		e := Extent{Blk: rapid.Int64Range(0, 3).Draw(t, "blk"), From: from, To: to}
		data := make([]byte, rapid.Int64Range(0, blksize).Draw(t, "data"))
		for i := range data {
			data[i] = byte(1 + i%251)
		}
		cache := &pageCache{pages: make(map[int64][]byte)}
		var owner released
		f := &Fill{Extent: e, Data: data, BlkSize: blksize, End: blksize, Owner: &owner}
		rest := n - (to-from)/page
		if Fillable(e, blksize, blksize) != (rest > 0) {
			t.Fatalf("fillable: %v; %d pages are left", Fillable(e, blksize, blksize), rest)
		}
		if err := f.Store(cache); err != nil || owner != 1 || cache.twice || int64(len(cache.pages)) != rest {
			t.Fatalf("%v; released %d times; stored twice: %v; %d pages of %d", err, owner, cache.twice, len(cache.pages), rest)
		}
		for off, got := range cache.pages {
			at := off - e.Blk*blksize
			want := make([]byte, page)
			copy(want, data[min(at, int64(len(data))):])
			if at < 0 || at >= blksize || from <= at && at < to || !bytes.Equal(got, want) {
				t.Fatalf("page at %d of the block is wrong", at)
			}
		}
	})
}

// TestOfALargeBlockThePartIsFilledThatTheReadIsIn.
func TestOfALargeBlockThePartIsFilledThatTheReadIsIn(t *testing.T) {
	page := int64(os.Getpagesize())
	const blksize = 2*maxFill + 5<<20
	for _, test := range []struct{ from, to, first, last int64 }{
		{0, page, 0, maxFill},
		{maxFill - page, maxFill, 0, maxFill},
		{maxFill - page, maxFill + page, 0, 2 * maxFill},
		{maxFill, 2 * maxFill, maxFill, 2 * maxFill},
		{maxFill, maxFill + page, maxFill, 2 * maxFill},
		{2 * maxFill, 2*maxFill + page, 2 * maxFill, blksize},
		{2 * maxFill, blksize, 2 * maxFill, blksize},
	} {
		cache := &pageCache{pages: make(map[int64][]byte)}
		var owner released
		f := &Fill{Extent: Extent{1, test.from, test.to}, BlkSize: blksize, End: blksize, Owner: &owner}
		rest := (test.last - test.first - (test.to - test.from)) / page
		require.Equal(t, rest > 0, Fillable(f.Extent, blksize, blksize), "%+v", test)
		require.NoError(t, f.Store(cache))
		require.Len(t, cache.pages, int(rest), "%+v", test)
		for off := range cache.pages {
			at := off - blksize
			require.True(t, test.first <= at && at < test.last && (at < test.from || at >= test.to), "%+v: %d", test, at)
		}
	}
}

// TestOnlyWholePagesAreFilled: others cannot be stored.
func TestOnlyWholePagesAreFilled(t *testing.T) {
	page := int64(os.Getpagesize())
	for _, test := range []struct {
		e       Extent
		blksize int64
	}{
		{Extent{0, 0, 100}, 2 * page},
		{Extent{0, 100, page}, 2 * page},
		{Extent{0, 0, page}, 2*page + 100},
		{Extent{1, 0, page}, page + page/2},
		{Extent{0, 0, page / 2}, page},
	} {
		require.False(t, Fillable(test.e, test.blksize, test.blksize), "%+v", test)
	}
	require.True(t, Fillable(Extent{1, page, 2 * page}, 3*page, 3*page))
}

// TestFillEndsWithTheFirstError, which is counted; it does no harm.
func TestFillEndsWithTheFirstError(t *testing.T) {
	page := os.Getpagesize()
	for fails := 1; fails <= 4; fails++ {
		cache := &pageCache{pages: make(map[int64][]byte), fails: fails}
		var owner released
		f := &Fill{Extent: Extent{0, int64(page), int64(2 * page)}, Data: make([]byte, 3*page+1), BlkSize: int64(6 * page), End: int64(6 * page), Owner: &owner}
		require.Error(t, f.Store(cache)) // stores are: before, data, the mixed page, zeros
		require.Equal(t, fails, cache.stores)
		require.EqualValues(t, 1, owner)
	}
}

// TestReadWaitsALittleForItsFills, and knows when they are done.
func TestReadWaitsALittleForItsFills(t *testing.T) {
	for takes, waited := range map[time.Duration]time.Duration{FillWait / 2: FillWait / 2, 100 * FillWait: FillWait} {
		synctest.Test(t, func(t *testing.T) {
			loader := NewLoader(t.Context(), 1)
			page := int64(os.Getpagesize())
			cache := &pageCache{pages: make(map[int64][]byte), takes: takes, fails: 2}
			var owner released
			var fills []*Fill
			for range 2 {
				fills = append(fills, &Fill{Extent: Extent{0, 0, page}, BlkSize: 2 * page, End: 2 * page, Owner: &owner})
			}
			start := time.Now()
			var done time.Duration
			loader.RunFills(cache, fills[:1], func() { done = time.Since(start) })
			require.Equal(t, waited, time.Since(start))
			loader.Wait()
			require.Equal(t, takes, done)
			loader.RunFills(cache, fills[1:], func() { done = 0 })
			loader.Wait()
			require.Zero(t, done, "a store that fails is done as well")
			require.EqualValues(t, 1, loader.Stats().StoreErrors)
			require.EqualValues(t, 2, owner)
			loader.RunFills(cache, nil, func() { t.Error("there was nothing to store") })
		})
	}
}
