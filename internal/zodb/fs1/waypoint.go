package fs1

import (
	"cmp"
	"slices"
	"sync"

	"lab.nexedi.com/kirr/neo/go/zodb"
)

const (
	waypointEvery = 16      // steps along a chain
	maxWaypoints  = 1 << 18 // of one data file: 4 MiB
)

// waypoint is where a record of an object is.
type waypoint struct {
	tid zodb.Tid
	pos int64
}

// waypoints remembers some records of objects that have many, so that a load at an
// old view need not go through all of them: else to read the history of such an
// object would take time with the square of its length. The chain of a record that
// was served never changes. The zero waypoints are ready for use.
type waypoints struct {
	mu sync.Mutex
	of map[zodb.Oid][]waypoint // guarded by mu; newest first
	n  int                     // guarded by mu; of all objects
}

// near returns the oldest remembered record of oid that is not older than at.
func (w *waypoints) near(oid zodb.Oid, at zodb.Tid) (p waypoint, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := w.of[oid]
	i, found := slices.BinarySearchFunc(list, at, newestFirst)
	switch {
	case found:
		return list[i], true
	case i == 0:
		return waypoint{}, false
	}
	return list[i-1], true
}

// add remembers a record of oid. When there are too many it forgets all others.
func (w *waypoints) add(oid zodb.Oid, p waypoint) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.of == nil || w.n >= maxWaypoints {
		w.of, w.n = make(map[zodb.Oid][]waypoint), 0
	}
	list := w.of[oid]
	if i, found := slices.BinarySearchFunc(list, p.tid, newestFirst); !found {
		w.of[oid] = slices.Insert(list, i, p)
		w.n++
	}
}

func newestFirst(p waypoint, tid zodb.Tid) int { return cmp.Compare(tid, p.tid) }
