package live

import (
	"fmt"

	"lab.nexedi.com/kirr/neo/go/zodb"
)

// checkServed compares what is known of a block without loads with the full
// history. A block of which nothing is known may have changed.
func (r *run) checkServed(f *File, blk int64, at zodb.Tid) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	rev := r.o.rev(f.Oid, blk, f.blocks.View)
	first, ok := f.blocks.Unchanged(blk, f.blocks.View)
	unknown := !ok
	since := f.blocks.Since(blk)
	if since < rev || since > f.blocks.View || unknown && since != f.blocks.View {
		return fmt.Errorf("file %d #%d: revision since %d, is %d (unknown: %v, view: %d)", f.Oid, blk, since, rev, unknown, f.blocks.View)
	}
	if last, ok := f.blocks.Known(blk, f.blocks.View); ok && last.Exact && since != rev {
		return fmt.Errorf("file %d #%d: changed last since %d, is %d", f.Oid, blk, since, rev)
	}
	got := f.blocks.ChangedAfter(blk, at)
	switch {
	case got && at >= f.blocks.View:
		return fmt.Errorf("file %d #%d: changed after view %d: @%d", f.Oid, blk, f.blocks.View, at)
	case !got && at < f.blocks.View && (rev > at || unknown):
		return fmt.Errorf("file %d #%d: not changed after @%d; revision %d, unknown: %v", f.Oid, blk, at, rev, unknown)
	case got && !unknown && at >= first && rev <= at:
		return fmt.Errorf("file %d #%d: changed after @%d; revision %d", f.Oid, blk, at, rev)
	}
	if known, ok := f.known(blk, at); ok && known.Exact && at <= f.blocks.View && known.Tid != r.o.rev(f.Oid, blk, at) {
		return fmt.Errorf("file %d #%d @%d: known revision %v, is %d", f.Oid, blk, at, known, r.o.rev(f.Oid, blk, at))
	}
	return nil
}
