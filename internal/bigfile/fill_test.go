package bigfile

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// countedCache is a page cache that notes which pages were stored, how often.
type countedCache struct{ stores map[int64]int }

func (c *countedCache) Store(off int64, data []byte) error {
	page := int64(os.Getpagesize())
	for at := off; at < off+int64(len(data)); at += page {
		c.stores[at]++
	}
	return nil
}

type nobody struct{}

func (nobody) Release() {}

// TestReadOfAHugeBlockStoresAPartOfIt: not gigabytes for one page. All READs of its
// parts together store all of it, each page once.
func TestReadOfAHugeBlockStoresAPartOfIt(t *testing.T) {
	page := int64(os.Getpagesize())
	for _, blksize := range []int64{maxFill, maxFill + page, 2 * maxFill, 3*maxFill + 5*page} {
		cache := &countedCache{make(map[int64]int)}
		const blk = 2
		for part := int64(0); part < blksize; part += maxFill {
			e := Extent{Blk: blk, From: min(part+7*page, blksize-page), To: min(part+8*page, blksize)}
			before := len(cache.stores)
			cache.stores[blk*blksize+e.From]++ // the reply
			if Fillable(e, blksize) {
				require.NoError(t, (&Fill{Extent: e, Data: make([]byte, 3*page/2), BlkSize: blksize, Owner: nobody{}}).Store(cache))
			}
			require.LessOrEqual(t, int64(len(cache.stores)-before)*page, int64(maxFill), "bytes stored for a page of a block of %d", blksize)
		}
		require.Len(t, cache.stores, int(blksize/page), "pages of a block of %d", blksize)
		for off, n := range cache.stores {
			require.Equal(t, 1, n, "offset %d", off)
			require.True(t, blk*blksize <= off && off < (blk+1)*blksize)
		}
	}
}
