package changes

import (
	"lab.nexedi.com/kirr/neo/go/zodb"
)

// links leads from ZBlk objects to the blocks that show them: usually one.
type links struct {
	one  map[zodb.Oid]int64
	more map[zodb.Oid]map[int64]struct{} // those that are not in one
}

func newLinks() links {
	return links{one: make(map[zodb.Oid]int64), more: make(map[zodb.Oid]map[int64]struct{})}
}

// add notes that block blk, which showed nothing, shows zblk.
func (l *links) add(zblk zodb.Oid, blk int64) {
	if _, taken := l.one[zblk]; !taken {
		l.one[zblk] = blk
		return
	}
	if l.more[zblk] == nil {
		l.more[zblk] = make(map[int64]struct{})
	}
	l.more[zblk][blk] = struct{}{}
}

// remove takes add back.
func (l *links) remove(zblk zodb.Oid, blk int64) {
	if one, ok := l.one[zblk]; ok && one == blk {
		delete(l.one, zblk)
		return
	}
	delete(l.more[zblk], blk)
	if len(l.more[zblk]) == 0 {
		delete(l.more, zblk)
	}
}

// has reports whether a block shows zblk.
func (l *links) has(zblk zodb.Oid) bool {
	if _, ok := l.one[zblk]; ok {
		return true
	}
	return len(l.more[zblk]) > 0
}

// of appends the blocks that show zblk to blks, in no order.
func (l *links) of(zblk zodb.Oid, blks []int64) []int64 {
	if one, ok := l.one[zblk]; ok {
		blks = append(blks, one)
	}
	for blk := range l.more[zblk] {
		blks = append(blks, blk)
	}
	return blks
}

// items returns all blocks with what they show, in no order.
func (l *links) items() (items []item) {
	for zblk, blk := range l.one {
		items = append(items, item{blk, zblk})
	}
	for zblk, more := range l.more {
		for blk := range more {
			items = append(items, item{blk, zblk})
		}
	}
	return items
}

// all returns all blocks that show something, in no order.
func (l *links) all() (blks []int64) {
	for _, blk := range l.one {
		blks = append(blks, blk)
	}
	for _, more := range l.more {
		for blk := range more {
			blks = append(blks, blk)
		}
	}
	return blks
}

// last returns the highest block that shows something, -1 if there is none.
func (l *links) last() int64 {
	last := int64(-1)
	for _, blk := range l.all() {
		last = max(last, blk)
	}
	return last
}
