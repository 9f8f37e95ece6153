package live

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/core/served"
	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/btree"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// The data of a block can only change together with a node of its path, or with its
// ZBlk. So a commit compares the old and the new version of the registered nodes that
// the transaction has changed, looks the served blocks up again that they route
// differently, and registers the new paths. Nothing else is looked at.

// delta is what a transaction means for one file.
type delta struct {
	served.Delta

	// fence says that the object is another file now, or none: created anew,
	// deleted, or with blocks of another size. broken says that the block
	// table cannot be read. Either way nothing of what is cached is right.
	fence  error
	broken error

	resize bool // the size has to be found again
	hit    bool // a registered node of the file changed
}

// touched reports whether the transaction is seen to have touched the file: a served
// block changed, or a node that one depends on.
func (d *delta) touched() bool { return d.hit || len(d.Changed) > 0 }

// whole reports whether all of the page cache is wrong. There may be no delta.
func (d *delta) whole() bool { return d != nil && (d.fence != nil || d.broken != nil) }

// diff is c1: it finds out what the transaction changed. The files still show the old
// view. An error means that nothing is known: it must be tried again.
func (t *transaction) diff(ctx context.Context) error {
	for _, c := range t.files {
		c.delta = nil
	}
	nodes, blocks := t.hits()
	for _, use := range blocks {
		if c := t.byOid[use.File]; c != nil {
			d := c.deltaOf()
			d.Changed = append(d.Changed, use.Blk)
		}
	}
	for oid, hits := range nodes {
		if c := t.byOid[oid]; c != nil {
			if err := c.compare(ctx, hits); err != nil {
				return err
			}
		}
	}
	for f := range t.head.broken {
		if err := t.byOid[f.Oid].lookAtBroken(ctx); err != nil {
			return err
		}
	}
	for _, c := range t.files {
		if err := c.finishDelta(ctx); err != nil {
			return err
		}
	}
	return nil
}

// hits returns what of the served is touched by the objects that the transaction changed.
func (t *transaction) hits() (nodes map[zodb.Oid][]served.Hit, blocks []served.Use) {
	t.head.indexed(func(x *served.Index) { nodes, blocks = x.Hits(t.oids) })
	return nodes, blocks
}

// diffFresh finds out what the transaction means for a file that was opened at the old
// view after diff had looked. Its blocks are all late.
func (c *change) diffFresh(ctx context.Context) error {
	c.delta = &delta{resize: true}
	if _, ok := c.tx.changed[c.file.Oid]; ok {
		if _, err := c.compareFile(ctx); err != nil {
			return err
		}
	}
	return c.finishDelta(ctx)
}

func (c *change) deltaOf() *delta {
	if c.delta == nil {
		c.delta = &delta{}
	}
	return c.delta
}

// compare finds the served blocks of the file that changed nodes route differently.
func (c *change) compare(ctx context.Context, hits []served.Hit) error {
	d := c.deltaOf()
	d.resize, d.hit = true, true
	var candidates []int64
	for _, hit := range hits {
		var blks []int64
		var err error
		if hit.Node == c.file.Oid {
			blks, err = c.compareFile(ctx)
		} else {
			blks, err = c.compareNode(ctx, hit)
		}
		switch {
		case bigfile.IsDamage(err):
			d.broken = err
			return nil
		case err != nil:
			return err
		case d.fence != nil:
			return nil
		}
		candidates = append(candidates, blks...)
	}
	slices.Sort(candidates)
	return c.lookAgain(ctx, slices.Compact(candidates))
}

// compareFile compares the ZBigFile itself. Another block table is a change of all
// blocks: a block cannot be older than what links it.
func (c *change) compareFile(ctx context.Context) (candidates []int64, err error) {
	f, tid := c.file, c.tx.tid
	was := f.object()
	obj, _, err := f.head.objs.File(ctx, zodb.Xid{At: tid, Oid: f.Oid})
	var other *bigfile.NotBigFileError
	switch {
	case storage.IsNoData(err) || errors.As(err, &other):
		c.delta.fence = fmt.Errorf("ZBigFile %s is gone @%s: %w", f.Oid, tid, err)
		return nil, nil
	case err != nil:
		return nil, err
	case obj.BlkSize != was.BlkSize:
		c.delta.fence = fmt.Errorf("block size of ZBigFile %s changed @%s: %d -> %d", f.Oid, tid, was.BlkSize, obj.BlkSize)
		return nil, nil
	}
	c.delta.Obj = obj
	if obj.Table != was.Table {
		candidates = f.servedIn(math.MinInt64, math.MaxInt64)
		c.delta.Changed = append(c.delta.Changed, candidates...)
	}
	return candidates, nil
}

// compareNode returns the served blocks that a changed node may route differently.
func (c *change) compareNode(ctx context.Context, hit served.Hit) (blks []int64, err error) {
	objs := c.file.head.objs
	ranges := []btree.Keys{hit.Keys}
	was, _, err := objs.Node(ctx, zodb.Xid{At: c.tx.old, Oid: hit.Node})
	damaged := bigfile.IsDamage(err)
	if err != nil && !damaged {
		return nil, err
	}
	is, _, err := objs.Node(ctx, zodb.Xid{At: c.tx.tid, Oid: hit.Node})
	if err != nil {
		return nil, err
	}
	if !damaged {
		blks, ranges = btree.Differences(was, is, hit.Keys)
		blks = c.file.thoseServed(blks)
	}
	for _, keys := range ranges {
		blks = append(blks, c.file.servedIn(keys.Lo, keys.Hi)...)
	}
	return blks, nil
}

// lookAgain looks the candidates up in the new view. Their new paths are registered even
// where nothing changed, since later changes come that way.
func (c *change) lookAgain(ctx context.Context, candidates []int64) error {
	f, d := c.file, c.delta
	for _, blk := range candidates {
		w, err := f.head.revs.Walk(ctx, f.Oid, blk, c.tx.tid)
		if bigfile.IsDamage(err) {
			d.broken = err
			return nil
		}
		if err != nil {
			return err
		}
		f.depend(w.Path)
		link := served.LinkOf(blk, w)
		f.mu.Lock()
		moved := f.served().Moved(link)
		f.mu.Unlock()
		if moved {
			d.Changed = append(d.Changed, blk)
			d.Relinked = append(d.Relinked, link)
		}
	}
	return nil
}

// lookAtBroken finds out whether the size of a file, which could not be found, can be
// found now. The nodes that the size depends on are not registered: nobody has seen
// all of them.
func (c *change) lookAtBroken(ctx context.Context) error {
	_, _, err := bigfile.Size(ctx, c.file.head.objs, c.file.object(), c.tx.tid)
	switch {
	case err == nil:
		d := c.deltaOf()
		d.resize, d.hit = true, true
	case !bigfile.IsDamage(err):
		return err
	}
	return nil
}

// finishDelta completes the delta, if there is one, with object and size.
func (c *change) finishDelta(ctx context.Context) error {
	d, f := c.delta, c.file
	if d == nil {
		return nil
	}
	f.mu.Lock()
	if d.Obj == nil {
		d.Obj = f.served().Obj
	}
	d.Size = f.served().Size
	c.noteKernel()
	f.mu.Unlock()
	slices.Sort(d.Changed)
	d.Changed = slices.Compact(d.Changed)
	if !d.resize || d.whole() {
		return nil
	}
	size, path, err := bigfile.Size(ctx, f.head.objs, d.Obj, c.tx.tid)
	switch {
	case bigfile.IsDamage(err):
		d.broken = err
	case err != nil:
		return err
	default:
		d.Size = size
		f.depend(path)
	}
	return nil
}

// settle finds out which late blocks the commit has changed. They were served at the
// old view after diff had looked.
func (c *change) settle(ctx context.Context) error {
	f := c.file
	for _, blk := range c.late {
		w, err := f.head.revs.Walk(ctx, f.Oid, blk, c.tx.tid)
		if bigfile.IsDamage(err) {
			f.mu.Lock()
			f.drop(blk) // reading it tells what is wrong
			f.mu.Unlock()
			continue
		}
		if err != nil {
			return err
		}
		f.depend(w.Path)
		f.mu.Lock()
		f.served().Settle(served.LinkOf(blk, w), c.hasChanged, f.head.objs.Tail(), f.relink)
		f.mu.Unlock()
	}
	return nil
}

// hasChanged reports whether a late block has changed although it shows the same ZBlk.
func (c *change) hasChanged(zblk zodb.Oid, linked bool) bool {
	_, rewritten := c.tx.changed[zblk]
	return c.newTable || linked && rewritten
}
