package head

import (
	"container/list"
	"context"
	"sync"

	"golang.org/x/sync/errgroup"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/storage"
)

// preserveWorkers bounds the copies out of the page cache that run at a time.
const preserveWorkers = 4

// Preserved is old content of blocks that the page cache had when they changed.
// A client whose transaction began before the commit asks for it at once.
type Preserved struct {
	budget int64

	mu    sync.Mutex // map operations only
	byBlk map[oidBlk][]*Old
	byOid map[zodb.Oid]map[*Old]struct{}
	order list.List // of *Old, oldest first
	bytes int64
	seq   uint64
}

type oidBlk struct {
	oid zodb.Oid
	blk int64
}

// Old is a block as views in [From, Until] see it.
type Old struct {
	Oid         zodb.Oid
	Blk         int64
	From, Until zodb.Tid
	Seq         uint64 // ascending in the order of preservation

	buf   *storage.Buf
	owner *File // knows since when the block was what it is
	place *list.Element
}

func newPreserved(budget int64) *Preserved {
	return &Preserved{budget: budget, byBlk: make(map[oidBlk][]*Old), byOid: make(map[zodb.Oid]map[*Old]struct{})}
}

// add keeps old and drops the oldest beyond the budget.
func (p *Preserved) add(old *Old) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seq++
	old.Seq = p.seq
	key := oidBlk{old.Oid, old.Blk}
	p.byBlk[key] = append(p.byBlk[key], old)
	if p.byOid[old.Oid] == nil {
		p.byOid[old.Oid] = make(map[*Old]struct{})
	}
	p.byOid[old.Oid][old] = struct{}{}
	old.place = p.order.PushBack(old)
	p.bytes += int64(len(old.buf.Data))
	for p.bytes > p.budget {
		p.drop(p.order.Front().Value.(*Old))
	}
}

// drop forgets old. Requires: p.mu.
func (p *Preserved) drop(old *Old) {
	key := oidBlk{old.Oid, old.Blk}
	olds := p.byBlk[key]
	for i, o := range olds {
		if o == old {
			olds = append(olds[:i:i], olds[i+1:]...)
			break
		}
	}
	if len(olds) == 0 {
		delete(p.byBlk, key)
	} else {
		p.byBlk[key] = olds
	}
	delete(p.byOid[old.Oid], old)
	if len(p.byOid[old.Oid]) == 0 {
		delete(p.byOid, old.Oid)
	}
	p.order.Remove(old.place)
	p.bytes -= int64(len(old.buf.Data))
	old.buf.Release()
}

// Block returns the content of block blk of file oid as of view at, if it is
// kept. The caller must release it.
func (p *Preserved) Block(ctx context.Context, oid zodb.Oid, blk int64, at zodb.Tid) *storage.Buf {
	p.mu.Lock()
	var old *Old
	for _, o := range p.byBlk[oidBlk{oid, blk}] {
		if at <= o.Until && (old == nil || o.Until < old.Until) {
			old = o
		}
	}
	p.mu.Unlock()
	if old == nil || !p.covers(ctx, old, at) {
		return nil
	}
	return p.retain(old)
}

// Newer returns what is kept of file oid whose revision is at, and was preserved
// after seq, and the seq to ask with the next time. Clients map blocks from the
// view that is their revision, so this is what they will want in the page cache
// of that view. The caller must release the buffers.
func (p *Preserved) Newer(ctx context.Context, oid zodb.Oid, at zodb.Tid, seq uint64) (blocks map[int64]*storage.Buf, next uint64) {
	p.mu.Lock()
	next = p.seq
	var olds []*Old
	for o := range p.byOid[oid] {
		if o.Seq > seq && at <= o.Until {
			olds = append(olds, o)
		}
	}
	p.mu.Unlock()
	blocks = make(map[int64]*storage.Buf)
	for _, o := range olds {
		if rev, err := o.owner.PinRev(ctx, o.Blk, o.Until); err != nil || rev != at {
			continue
		}
		if buf := p.retain(o); buf != nil {
			blocks[o.Blk] = buf
		}
	}
	return blocks, next
}

// covers reports whether view at sees old, which it does not outlive. What is
// known of the beginning may be too late: then the revision is looked up.
func (p *Preserved) covers(ctx context.Context, old *Old, at zodb.Tid) bool {
	p.mu.Lock()
	from := old.From
	p.mu.Unlock()
	if at >= from {
		return true
	}
	rev, err := old.owner.BlkRevAt(ctx, old.Blk, from)
	if err != nil {
		return false // it is loaded from the database instead
	}
	p.mu.Lock()
	old.From = min(old.From, rev.Tid)
	p.mu.Unlock()
	return at >= rev.Tid
}

// retain returns the content of old, or nil if it was dropped meanwhile.
func (p *Preserved) retain(old *Old) *storage.Buf {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.byOid[old.Oid][old]; !ok {
		return nil
	}
	old.buf.Retain()
	return old.buf
}

// Bytes returns how much is kept.
func (p *Preserved) Bytes() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.bytes
}

// preserve is c3: what changed is copied out of the page cache, which still is
// all old, as far as the budget goes. All copies are made when it returns: the
// kernel only takes references of the pages, and new content written to them
// meanwhile would show in the copy.
func (t *transaction) preserve() {
	left := t.head.preserved.budget
	var group errgroup.Group
	group.SetLimit(preserveWorkers)
	for _, c := range t.files {
		kernel := c.file.kernelOf()
		if kernel == nil || c.delta == nil || c.whole {
			continue
		}
		blksize := c.file.Attr().BlkSize
		for _, blk := range c.delta.Changed {
			if left -= blksize; left < 0 {
				break
			}
			group.Go(func() error {
				t.preserveBlock(c.file, kernel, blk, blksize)
				return nil
			})
		}
	}
	_ = group.Wait()
}

// announce tells who wants to know that old content was preserved. Nobody waits
// for what they do with it.
func (t *transaction) announce() {
	for _, c := range t.files {
		if t.head.cfg.Preserved != nil && c.delta != nil && len(c.delta.Changed) > 0 {
			t.head.loader.Go(func() { t.head.cfg.Preserved(c.file.Oid) })
		}
	}
}

// preserveBlock keeps a block if all of it is cached. If it is not, reading it
// at an old view is only slower.
func (t *transaction) preserveBlock(f *File, kernel Kernel, blk, blksize int64) {
	buf := storage.NewBuf(int(blksize))
	n, err := kernel.Retrieve(blk*blksize, buf.Data)
	if err != nil || n < len(buf.Data) {
		buf.Release()
		return
	}
	f.Lock()
	since := f.Since(blk)
	f.Unlock()
	t.head.preserved.add(&Old{Oid: f.Oid, Blk: blk, From: since, Until: t.tid - 1, buf: buf, owner: f})
}
