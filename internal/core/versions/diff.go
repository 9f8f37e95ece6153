package versions

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/btree"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// damage reports whether err concerns one file only: what it refers to cannot
// be right, or was packed away. Anything else concerns the database.
func damage(err error) bool {
	var corrupt *storage.CorruptError
	return errors.As(err, &corrupt) || errors.Is(err, bigfile.ErrTooBig) || asPacked(err) != nil
}

// diffFile finds the served blocks of one file that the changed nodes route
// differently.
func (c *Commit) diffFile(ctx context.Context, d *Delta, hits []hit) error {
	d.resize, d.touched = true, true
	var candidates []int64
	for _, h := range hits {
		var blks []int64
		var err error
		if h.oid == d.File.Oid {
			blks, err = c.diffObject(ctx, d)
		} else {
			blks, err = c.diffNode(ctx, d.File, h)
		}
		if damage(err) {
			d.Broken = err
			return nil
		}
		if err != nil {
			return err
		}
		if d.Fence != nil {
			return nil
		}
		candidates = append(candidates, blks...)
	}
	slices.Sort(candidates)
	return c.relook(ctx, d, slices.Compact(candidates))
}

// diffObject compares the ZBigFile itself. Another block table is a change of
// all blocks: a block cannot be older than what links it.
func (c *Commit) diffObject(ctx context.Context, d *Delta) (candidates []int64, err error) {
	f := d.File
	f.Lock()
	was := *f.obj
	f.Unlock()
	obj, _, err := c.history.objs.File(ctx, zodb.Xid{At: c.tid, Oid: f.Oid})
	var other *bigfile.NotBigFileError
	switch {
	case storage.IsNoData(err) || errors.As(err, &other):
		d.Fence = fmt.Errorf("ZBigFile %s is gone @%s: %w", f.Oid, c.tid, err)
		return nil, nil
	case err != nil:
		return nil, err
	case obj.BlkSize != was.BlkSize:
		d.Fence = fmt.Errorf("block size of ZBigFile %s changed @%s: %d -> %d", f.Oid, c.tid, was.BlkSize, obj.BlkSize)
		return nil, nil
	}
	d.Obj = obj
	if obj.Table != was.Table {
		candidates = f.servedIn(math.MinInt64, math.MaxInt64)
		d.Changed = append(d.Changed, candidates...)
	}
	return candidates, nil
}

// diffNode returns the served blocks that a changed node may route differently.
func (c *Commit) diffNode(ctx context.Context, f *File, h hit) ([]int64, error) {
	a, _, err := c.history.objs.Node(ctx, zodb.Xid{At: c.old, Oid: h.oid})
	wasDamaged := damage(err)
	if err != nil && !wasDamaged {
		return nil, err
	}
	b, _, err := c.history.objs.Node(ctx, zodb.Xid{At: c.tid, Oid: h.oid})
	if err != nil {
		return nil, err
	}
	switch {
	case wasDamaged:
		return f.servedIn(h.keys.lo, h.keys.hi), nil
	case a.Leaf() && b.Leaf():
		return f.servedOf(differentKeys(a, b, h.keys.lo, h.keys.hi)), nil
	case a.Leaf() != b.Leaf():
		return f.servedIn(h.keys.lo, h.keys.hi), nil
	}
	var blks []int64
	for _, r := range differentRoutes(a, b, h.keys.lo, h.keys.hi) {
		blks = append(blks, f.servedIn(r.lo, r.hi)...)
	}
	return blks, nil
}

// differentKeys returns the keys in [lo, hi] that leaves a and b map to
// different values, or that only one of them has.
func differentKeys(a, b *btree.Node, lo, hi int64) (keys []int64) {
	ak, bk := a.Keys(), b.Keys()
	i, _ := slices.BinarySearch(ak, lo)
	j, _ := slices.BinarySearch(bk, lo)
	for i < len(ak) && ak[i] <= hi || j < len(bk) && bk[j] <= hi {
		switch {
		case j == len(bk) || i < len(ak) && ak[i] < bk[j]:
			keys = append(keys, ak[i])
			i++
		case i == len(ak) || bk[j] < ak[i]:
			keys = append(keys, bk[j])
			j++
		default:
			if a.Oids()[i] != b.Oids()[j] {
				keys = append(keys, ak[i])
			}
			i++
			j++
		}
	}
	return keys
}

// route is an interval of keys that a node gives to a child.
type route struct {
	lo, hi int64
	child  zodb.Oid
}

// differentRoutes returns the routes of inner node a within [lo, hi] that inner
// node b does not have. Both cover all keys, so these are all the keys of routes
// that only b has, too.
func differentRoutes(a, b *btree.Node, lo, hi int64) (different []route) {
	same := make(map[route]struct{}, len(b.Oids()))
	for i := range b.Oids() {
		child, clo, chi := b.Child(i, lo, hi)
		same[route{clo, chi, child}] = struct{}{}
	}
	for i := range a.Oids() {
		child, clo, chi := a.Child(i, lo, hi)
		r := route{clo, chi, child}
		if _, ok := same[r]; !ok && clo <= chi {
			different = append(different, r)
		}
	}
	return different
}

// relook looks the candidates up in the new view. Their new paths are
// registered even where nothing changed, since later changes come that way.
func (c *Commit) relook(ctx context.Context, d *Delta, candidates []int64) error {
	f := d.File
	for _, blk := range candidates {
		w, err := c.history.Walk(ctx, f.Oid, blk, c.tid)
		if damage(err) {
			d.Broken = err
			return nil
		}
		if err != nil {
			return err
		}
		c.history.register(f, w.Path)
		f.Lock()
		s, ok := f.served.Get(blk)
		moved := ok && (s.linked != w.OK || s.zblk != w.ZBlk)
		f.Unlock()
		if moved {
			d.Changed = append(d.Changed, blk)
			d.relinked = append(d.relinked, relink{blk, w.ZBlk, w.OK})
		}
	}
	return nil
}

// servedIn returns the served blocks in [lo, hi].
func (f *File) servedIn(lo, hi int64) (blks []int64) {
	f.Lock()
	defer f.Unlock()
	f.served.Ascend(lo, func(blk int64, _ *served) bool {
		if blk > hi {
			return false
		}
		blks = append(blks, blk)
		return true
	})
	return blks
}

// servedOf returns those of keys that are served.
func (f *File) servedOf(keys []int64) []int64 {
	f.Lock()
	defer f.Unlock()
	return slices.DeleteFunc(keys, func(blk int64) bool { return !f.IsServed(blk) })
}
