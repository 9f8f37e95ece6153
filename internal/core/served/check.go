package served

import "fmt"

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
