package versions

import "lab.nexedi.com/kirr/neo/go/zodb"

// NextChange returns the first transaction after view at that changed object
// oid, 0 if there is none up to Head. at must not be below Tail.
func (o *Objects) NextChange(oid zodb.Oid, at zodb.Tid) zodb.Tid {
	o.mu.Lock()
	defer o.mu.Unlock()
	tids := o.changes[oid]
	if i := after(tids, at); i < len(tids) {
		return tids[i]
	}
	return 0
}

// Known returns the revision of block blk as of view at if that needs no loads.
// Requires: lock.
func (f *File) Known(blk int64, at zodb.Tid) (rev Rev, ok bool) { return f.known(blk, at) }

// ServedFrom returns, in ascending order, up to most served blocks from block blk
// on. Requires: lock.
func (f *File) ServedFrom(blk int64, most int) (blks []int64) {
	f.served.Ascend(blk, func(blk int64, _ *served) bool {
		blks = append(blks, blk)
		return len(blks) < most
	})
	return blks
}
