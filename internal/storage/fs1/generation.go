package fs1

import (
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/storage"
)

// maxPast is how many replaced files are kept for views that are in use, besides
// the last one, which is kept anyway: each of them is a database on the disk.
const maxPast = 2

// generation is a data file that was replaced.
type generation struct {
	file  *dataFile
	from  zodb.Tid // views before this one may be incomplete in it
	until zodb.Tid // head when it was replaced
}

// source says which files answer a view.
type source struct {
	file     *dataFile
	fallback *dataFile // asked if the object does not exist in file; may be nil
	packedAt zodb.Tid  // the view may be incomplete if it is before this
}

// sourceOf returns where to look for xid.
func (s *Storage) sourceOf(xid zodb.Xid) (source, error) {
	at := xid.At
	s.mu.RLock()
	defer s.mu.RUnlock()
	switch {
	case s.closed:
		return source{}, storage.ErrClosed
	case at > s.head:
		return source{}, &storage.FutureViewError{At: at, Head: s.head}
	}
	src := s.generationOf(at)
	switch {
	case src.file.lost == nil:
		return src, nil
	case src.fallback != nil:
		return source{file: src.fallback}, nil // it has all of the view
	case src.file.cut:
		return src, nil
	}
	return source{}, &storage.CorruptError{Oid: xid.Oid, Tid: at, Err: src.file.lost}
}

// generationOf finds the oldest file that has all of the view at. Requires: mu.
func (s *Storage) generationOf(at zodb.Tid) source {
	var before *dataFile
	for _, g := range s.past {
		if at < g.until {
			return s.sourceIn(g.file, before, g.from)
		}
		before = nil
		if at == g.until {
			before = g.file
		}
	}
	switch {
	case s.old == nil || at > s.switchAt:
		return source{file: s.cur}
	case at == s.switchAt:
		return s.sourceIn(s.cur, s.old, s.curFrom)
	}
	return s.sourceIn(s.old, before, s.oldFrom)
}

// sourceIn returns file as a source. A pack also removes what was not reachable any
// more: at the view of the switch that is still in the file before. What a file
// lacked when it was opened is not known to have been there. Requires: mu.
func (s *Storage) sourceIn(file, before *dataFile, from zodb.Tid) source {
	if file == s.opened {
		from = 0
	}
	return source{file: file, fallback: before, packedAt: from}
}

// retire takes replaced files out that are not to be kept any longer, and returns
// them. Requires: mu.
func (s *Storage) retire() (retired []*dataFile) {
	for len(s.past) > 0 {
		next := s.oldFrom
		if len(s.past) > 1 {
			next = s.past[1].from
		}
		needed := s.keeping && s.keepFrom < next
		if needed && len(s.past) <= maxPast {
			break
		}
		retired = append(retired, s.past[0].file)
		s.past = s.past[1:]
	}
	s.complete = s.curFrom
	switch {
	case len(s.past) > 0:
		s.complete = s.past[0].from
	case s.old != nil:
		s.complete = s.oldFrom
	}
	return retired
}

// Packs implements storage.Packed.
func (s *Storage) Packs() (complete, newest zodb.Tid) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.complete, s.newest
}

// Keep implements storage.Packed.
func (s *Storage) Keep(from zodb.Tid) {
	s.mu.Lock()
	s.keeping, s.keepFrom = true, from
	var retired []*dataFile
	if !s.closed { // Close closes all of them
		retired = s.retire()
	}
	s.mu.Unlock()
	closeAll(retired)
}
