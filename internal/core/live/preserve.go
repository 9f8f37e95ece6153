package live

import (
	"golang.org/x/sync/errgroup"

	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// preserveWorkers bounds the copies out of the page cache that run at a time.
const preserveWorkers = 4

// preserve is c3: what changed is copied out of the page cache, which still is
// all old, as far as the budget goes. All copies are made when it returns: the
// kernel only takes references of the pages (fuse_retrieve in fs/fuse/dev.c of
// Linux), and new content written to them meanwhile would show in the copy.
func (t *transaction) preserve() {
	left := t.head.preserved.budget
	var group errgroup.Group
	group.SetLimit(preserveWorkers)
	for _, c := range t.files {
		if c.kernel == nil || c.delta == nil || c.delta.whole() {
			continue
		}
		for _, blk := range c.delta.Changed {
			if left -= c.blksize; left < 0 {
				break
			}
			group.Go(func() error {
				t.preserveBlock(c, blk)
				return nil
			})
		}
	}
	_ = group.Wait()
}

// preserveBlock keeps a block if all of it is cached. If it is not, reading it
// at an old view is only slower.
func (t *transaction) preserveBlock(c *change, blk int64) {
	f, buf := c.file, storage.NewBuf(int(c.blksize))
	n, err := c.kernel.Retrieve(blk*c.blksize, buf.Data)
	if err != nil || n < len(buf.Data) {
		buf.Release()
		return
	}
	old := &Old{Oid: f.Oid, Blk: blk, Until: t.tid - 1, buf: buf, owner: f}
	f.mu.Lock()
	if rev, ok := f.known(blk, old.Until); ok {
		old.From, old.settled = rev.Tid, true
	} else {
		old.From = f.served().Since(blk)
	}
	f.mu.Unlock()
	t.head.preserved.add(old)
}
