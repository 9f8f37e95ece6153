package live

import (
	"cmp"
	"container/list"
	"context"
	"time"

	tbtree "github.com/tidwall/btree"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/core/lock"
	"github.com/wcfs/wcfs/internal/core/versions"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// settleWait bounds how long the revision of old content is looked for. It is not
// worth more: the database has the content as well.
const settleWait = time.Second

// Preserved is old content of blocks that the page cache had when they changed.
// A client whose transaction began before the commit asks for it at once.
//
// A READ asks for a block as of any view that sees it. A page cache is given what
// has exactly the revision of its view, since that is where clients map it from.
// Both are found directly, however much is kept. Of many blocks only an upper
// bound of the revision is known when they change: they are settled, which means
// to look the revision up, once, and only when somebody asks for so old a view.
//
// Content leaves when it is old, or too much; the oldest first.
type Preserved struct {
	budget int64 // bytes
	now    func() time.Time

	mu        lock.Mutex // map operations only
	byBlk     *tbtree.BTreeG[*Old]
	byRev     *tbtree.BTreeG[*Old]  // those that are settled
	unsettled *tbtree.BTreeG[*Old]  // all others
	order     list.List             // of *Old, by age; so Until ascends as well
	news      list.List             // of *Old of which nobody was told yet
	asked     map[zodb.Oid]zodb.Tid // the oldest view of a file that was asked for
	bytes     int64
	added     uint64 // how often add was called
	indexed   uint64 // how many were entered in byRev
}

// revisions tells revisions of blocks, as *File does.
type revisions interface {
	BlkRevAt(ctx context.Context, blk int64, at zodb.Tid) (versions.Rev, error)
}

// Old is a block as views in [From, Until] see it, and perhaps some before.
type Old struct {
	Oid         zodb.Oid
	Blk         int64
	From, Until zodb.Tid

	settled bool // From is the revision, or it cannot be found
	buf     *storage.Buf
	owner   revisions

	born    time.Time
	no      uint64 // by order of add
	seq     uint64 // by order in byRev
	place   *list.Element
	unheard *list.Element // in news; nil: not there
}

func newPreserved(budget int64) *Preserved {
	tree := func(less func(a, b *Old) bool) *tbtree.BTreeG[*Old] {
		return tbtree.NewBTreeGOptions(less, tbtree.Options{NoLocks: true})
	}
	return &Preserved{
		budget:    budget,
		now:       time.Now,
		byBlk:     tree(lessByBlk),
		byRev:     tree(lessByRev),
		unsettled: tree(lessUnsettled),
		asked:     make(map[zodb.Oid]zodb.Tid),
	}
}

func lessByBlk(a, b *Old) bool {
	return cmp.Or(cmp.Compare(a.Oid, b.Oid), cmp.Compare(a.Blk, b.Blk), cmp.Compare(a.Until, b.Until), cmp.Compare(a.no, b.no)) < 0
}

func lessByRev(a, b *Old) bool {
	return cmp.Or(cmp.Compare(a.Oid, b.Oid), cmp.Compare(a.From, b.From), cmp.Compare(a.seq, b.seq)) < 0
}

func lessUnsettled(a, b *Old) bool {
	return cmp.Or(cmp.Compare(a.Oid, b.Oid), cmp.Compare(a.From, b.From), cmp.Compare(a.no, b.no)) < 0
}

// from returns the first element of tree that is not less than pivot, or nil.
func from(tree *tbtree.BTreeG[*Old], pivot *Old) (first *Old) {
	tree.Ascend(pivot, func(old *Old) bool {
		first = old
		return false
	})
	return first
}

// add keeps old, and drops the oldest beyond the budget.
func (p *Preserved) add(old *Old) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.added++
	old.no, old.born = p.added, p.now()
	p.byBlk.Set(old)
	if old.settled {
		p.index(old)
	} else {
		p.unsettled.Set(old)
	}
	old.place = p.order.PushBack(old)
	old.unheard = p.news.PushBack(old)
	p.bytes += int64(len(old.buf.Data))
	for p.bytes > p.budget {
		p.drop(p.order.Front().Value.(*Old))
	}
}

// index enters old under its revision.
func (p *Preserved) index(old *Old) {
	p.mu.MustHold()
	p.indexed++
	old.seq = p.indexed
	p.byRev.Set(old)
}

// drop forgets old.
func (p *Preserved) drop(old *Old) {
	p.mu.MustHold()
	p.byBlk.Delete(old)
	p.byRev.Delete(old)
	p.unsettled.Delete(old)
	p.order.Remove(old.place)
	p.hear(old)
	p.bytes -= int64(len(old.buf.Data))
	old.buf.Release()
	old.place, old.buf = nil, nil
}

// hear takes old out of the news.
func (p *Preserved) hear(old *Old) {
	p.mu.MustHold()
	if old.unheard != nil {
		p.news.Remove(old.unheard)
		old.unheard = nil
	}
}

// retain returns the content of old if view at sees it and it is still there.
func (p *Preserved) retain(old *Old, at zodb.Tid) *storage.Buf {
	p.mu.MustHold()
	if old.buf == nil || at < old.From {
		return nil
	}
	return old.buf.Retain()
}

// Block returns the content of block blk of file oid as of view at, if it is
// kept. The caller must release it.
func (p *Preserved) Block(ctx context.Context, oid zodb.Oid, blk int64, at zodb.Tid) *storage.Buf {
	p.mu.Lock()
	old := from(p.byBlk, &Old{Oid: oid, Blk: blk, Until: at})
	if old == nil || old.Oid != oid || old.Blk != blk {
		p.mu.Unlock()
		return nil
	}
	if at >= old.From || old.settled {
		defer p.mu.Unlock()
		return p.retain(old, at)
	}
	p.mu.Unlock()
	_ = p.settle(ctx, old) // if it fails, the content is loaded from the database
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.retain(old, at)
}

// settle looks up the revision of old, holding nothing, and enters old under it.
// A revision that cannot be found is not looked for again.
func (p *Preserved) settle(ctx context.Context, old *Old) error {
	bounded, cancel := context.WithTimeout(ctx, settleWait)
	defer cancel()
	rev, err := old.owner.BlkRevAt(bounded, old.Blk, old.Until)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if old.settled || old.buf == nil {
		return nil
	}
	p.unsettled.Delete(old)
	old.settled = true
	if err != nil {
		return err
	}
	old.From = rev.Tid
	p.index(old)
	return nil
}

// Settle makes Next find all that is kept of file oid and whose revision is at.
// From now on this is so for what is preserved as well, after Config.Preserved
// was called for it.
func (p *Preserved) Settle(ctx context.Context, oid zodb.Oid, at zodb.Tid) error {
	p.mu.Lock()
	if oldest, ok := p.asked[oid]; !ok || at < oldest {
		p.asked[oid] = at
	}
	p.mu.Unlock()
	for {
		p.mu.Lock()
		old := from(p.unsettled, &Old{Oid: oid, From: at})
		p.mu.Unlock()
		if old == nil || old.Oid != oid {
			return nil
		}
		if err := p.settle(ctx, old); err != nil {
			return err
		}
	}
}

// Next returns what is kept of file oid and has revision at, one block after
// another: the first after seq, and the seq to ask with the next time. The caller
// must release the content. It is nil if there is no more.
func (p *Preserved) Next(oid zodb.Oid, at zodb.Tid, seq uint64) (blk int64, buf *storage.Buf, next uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	old := from(p.byRev, &Old{Oid: oid, From: at, seq: seq + 1})
	if old == nil || old.Oid != oid || old.From != at {
		return 0, nil, seq
	}
	return old.Blk, old.buf.Retain(), old.seq
}

// Bytes returns how much is kept.
func (p *Preserved) Bytes() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.bytes
}
