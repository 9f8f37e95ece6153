package versions

import (
	"fmt"
	"slices"
	"sort"

	"lab.nexedi.com/kirr/neo/go/zodb"
)

// change is one transaction of history.
type change struct {
	tid  zodb.Tid
	oids []zodb.Oid
}

// Append extends history by one transaction. Its tid must be above Head.
func (o *Objects) Append(tid zodb.Tid, oids []zodb.Oid) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if tid <= o.head {
		panic(fmt.Sprintf("BUG: versions.Objects: append @%s to head @%s", tid, o.head))
	}
	o.head = tid
	o.log = append(o.log, change{tid, oids})
	o.size += len(oids)
	for _, oid := range oids {
		o.changes[oid] = append(o.changes[oid], tid)
		for _, rev := range o.cached[oid] {
			if rev.until == forever {
				rev.until = tid - 1
			}
		}
	}
}

// Forget cuts the history to (cut, head]. Cached revisions that only answer
// views below cut are dropped.
func (o *Objects) Forget(cut zodb.Tid) {
	o.mu.Lock()
	defer o.mu.Unlock()
	cut = min(cut, o.head)
	if cut <= o.tail {
		return
	}
	o.tail = cut
	n := sort.Search(len(o.log), func(i int) bool { return o.log[i].tid > cut })
	for _, c := range o.log[:n] {
		o.size -= len(c.oids)
		for _, oid := range c.oids {
			o.forgetObject(oid, cut)
		}
	}
	o.log = append([]change(nil), o.log[n:]...)
}

// forgetObject cuts the history of one object.
func (o *Objects) forgetObject(oid zodb.Oid, cut zodb.Tid) {
	o.mu.MustHold()
	tids := o.changes[oid]
	i := sort.Search(len(tids), func(i int) bool { return tids[i] > cut })
	if i == len(tids) {
		delete(o.changes, oid)
	} else {
		o.changes[oid] = slices.Delete(tids, 0, i)
	}
	for _, rev := range append([]*revision(nil), o.cached[oid]...) {
		if rev.until < cut {
			o.drop(rev)
		}
	}
}

// NextChange returns the first transaction after view at that changed object
// oid, 0 if there is none up to Head. at must not be below Tail.
func (o *Objects) NextChange(oid zodb.Oid, at zodb.Tid) zodb.Tid {
	o.mu.Lock()
	defer o.mu.Unlock()
	tids := o.changes[oid]
	if i := sort.Search(len(tids), func(i int) bool { return tids[i] > at }); i < len(tids) {
		return tids[i]
	}
	return 0
}

// LastUpTo returns the newest transaction that is not after at, or Tail if there is
// none in history.
func (o *Objects) LastUpTo(at zodb.Tid) zodb.Tid {
	o.mu.Lock()
	defer o.mu.Unlock()
	i := sort.Search(len(o.log), func(i int) bool { return o.log[i].tid > at })
	if i == 0 {
		return o.tail
	}
	return o.log[i-1].tid
}

// Newest returns the tid up to which history has to be forgotten so that it has at
// most n changes of objects.
func (o *Objects) Newest(n int) zodb.Tid {
	o.mu.Lock()
	defer o.mu.Unlock()
	cut := o.tail
	for i, over := 0, o.size-n; over > 0 && i < len(o.log); i++ {
		over -= len(o.log[i].oids)
		cut = o.log[i].tid
	}
	return cut
}

// Tail returns the tid at which known history begins, itself not included.
func (o *Objects) Tail() zodb.Tid {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.tail
}

// Head returns the newest tid that was appended.
func (o *Objects) Head() zodb.Tid {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.head
}

// Len returns how many transactions history holds.
func (o *Objects) Len() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.log)
}
