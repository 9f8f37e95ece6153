package fs1

import (
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/storage"
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
	packedAt zodb.Tid // the view may be incomplete if it is before this
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
	if src.file.lost != nil && !src.file.cut {
		return source{}, &storage.CorruptError{Oid: xid.Oid, Tid: at, Err: src.file.lost}
	}
	return src, nil
}

// generationOf finds the oldest file that has all of the view at. The view of a switch
// is in both files, but a pack has removed from the newer one what was not reachable.
// An object that a file lacked when it was opened is not known to have been there.
// Requires: mu.
func (s *Storage) generationOf(at zodb.Tid) source {
	file, from := s.cur, s.curFrom
	if s.old != nil && at <= s.switchAt {
		file, from = s.old, s.oldFrom
	}
	for _, g := range s.past {
		if at <= g.until {
			file, from = g.file, g.from
			break
		}
	}
	if file == s.opened {
		from = 0
	}
	return source{file, from}
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
	complete := s.curFrom
	switch {
	case len(s.past) > 0:
		complete = s.past[0].from
	case s.old != nil:
		complete = s.oldFrom
	}
	s.complete = max(s.complete, complete)
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
