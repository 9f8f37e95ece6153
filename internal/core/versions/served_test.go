package versions

import (
	"fmt"

	"lab.nexedi.com/kirr/neo/go/zodb"
)

// checkServed compares what is known of a block without loads with the full
// history. A block of which nothing is known may have changed.
func (r *run) checkServed(f *File, blk int64, at zodb.Tid) error {
	f.Lock()
	defer f.Unlock()
	rev := r.o.rev(f.Oid, blk, f.view)
	s, ok := f.served.Get(blk)
	unknown := !ok || s.unsure
	since := f.Since(blk)
	if since < rev || since > f.view || unknown && since != f.view {
		return fmt.Errorf("file %d #%d: revision since %d, is %d (unknown: %v, view: %d)", f.Oid, blk, since, rev, unknown, f.view)
	}
	if !unknown && len(s.changes) > 0 && since != rev {
		return fmt.Errorf("file %d #%d: changed last since %d, is %d", f.Oid, blk, since, rev)
	}
	got := f.ChangedAfter(blk, at)
	switch {
	case got && at >= f.view:
		return fmt.Errorf("file %d #%d: changed after view %d: @%d", f.Oid, blk, f.view, at)
	case !got && at < f.view && (rev > at || unknown):
		return fmt.Errorf("file %d #%d: not changed after @%d; revision %d, unknown: %v", f.Oid, blk, at, rev, unknown)
	case got && !unknown && at >= s.since && rev <= at:
		return fmt.Errorf("file %d #%d: changed after @%d; revision %d", f.Oid, blk, at, rev)
	}
	if known, ok := f.Known(blk, at); ok && known.Exact && at <= f.view && known.Tid != r.o.rev(f.Oid, blk, at) {
		return fmt.Errorf("file %d #%d @%d: known revision %v, is %d", f.Oid, blk, at, known, r.o.rev(f.Oid, blk, at))
	}
	return nil
}
