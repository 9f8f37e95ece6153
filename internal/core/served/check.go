//go:build invariants

package served

import (
	"fmt"

	"lab.nexedi.com/kirr/neo/go/zodb"
)

// Check returns an error if what f keeps does not agree with itself. It looks at all of
// the blocks if there are at most most of them.
func (f *File) Check(most int) error {
	if n := f.recent.Len(); n != f.blocks.Len() {
		return fmt.Errorf("%d blocks are served, and %d have an upper bound", f.blocks.Len(), n)
	}
	if f.blocks.Len() > most {
		return nil
	}
	var err error
	f.blocks.Scan(func(blk int64, b *block) bool {
		err = f.checkBlock(blk, b)
		return err == nil
	})
	return err
}

func (f *File) checkBlock(blk int64, b *block) error {
	_, bounded := f.recent.Get(recent{b.ub, blk})
	last := b.since
	for _, tid := range b.changes {
		if tid < last { // a late block may be told twice
			return fmt.Errorf("block #%d changed @%s, which is before @%s", blk, tid, last)
		}
		last = tid
	}
	switch {
	case !bounded:
		return fmt.Errorf("block #%d has no upper bound", blk)
	case last > f.View || b.ub > f.View:
		return fmt.Errorf("block #%d changed @%s, or @%s, after the view @%s", blk, last, b.ub, f.View)
	case len(b.changes) > 0 && b.ub < last:
		return fmt.Errorf("block #%d has changed after its upper bound @%s", blk, b.ub)
	}
	return nil
}

// Check returns an error if what x keeps does not agree with itself: nodes lead to those
// files, and only to those, that they are registered for. It must not be called while the
// nodes of a sweep are detached.
func (x *Index) Check() error {
	leads := 0
	for oid, d := range x.nodes {
		for _, file := range append([]zodb.Oid{d.first}, d.more...) {
			r := x.files[file]
			if r == nil {
				return fmt.Errorf("node %s leads to file %s, which is not known", oid, file)
			}
			if _, ok := r.nodes[oid]; !ok {
				return fmt.Errorf("node %s leads to file %s without need", oid, file)
			}
			leads++
		}
	}
	for _, r := range x.files {
		leads -= len(r.nodes)
	}
	if leads != 0 {
		return fmt.Errorf("%d more leads from nodes to files than registrations", leads)
	}
	return nil
}
