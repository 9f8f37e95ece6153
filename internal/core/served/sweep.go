package served

import "lab.nexedi.com/kirr/neo/go/zodb"

// Sweep finds out which registered nodes of a file are still needed. Its owner calls
// Register for all that served blocks and the size depend on, then EndSweep. Nodes
// that are registered meanwhile for other reasons count as well.
type Sweep struct {
	file  zodb.Oid
	found nodeSet
	spare []zodb.Oid // nodes that are not needed any more, and may lead to the file still
}

// Registrations returns how many nodes of a file are registered, and how many of them
// the last sweep had left. A sweep costs a walk per leaf that has served blocks, so it
// pays when the one is a multiple of the other.
func (x *Index) Registrations(file zodb.Oid) (now, left int) {
	if r := x.files[file]; r != nil {
		return len(r.nodes), r.left
	}
	return 0, 0
}

// BeginSweep begins a sweep, unless one is under way or the file is not known: nil.
func (x *Index) BeginSweep(file zodb.Oid) *Sweep {
	r := x.files[file]
	if r == nil || r.sweep != nil {
		return nil
	}
	r.sweep = &Sweep{file: file, found: make(nodeSet, r.left)}
	return r.sweep
}

// EndSweep ends a sweep: what it has found is all that is registered, if it is complete
// and the file has not left. Detach has to be called then.
func (x *Index) EndSweep(s *Sweep, complete bool) (done bool) {
	r := x.files[s.file]
	if r == nil || r.sweep != s {
		return false
	}
	r.sweep = nil
	if !complete {
		return false
	}
	for oid := range r.nodes {
		if _, ok := s.found[oid]; !ok {
			s.spare = append(s.spare, oid)
		}
	}
	r.nodes, r.left = s.found, len(s.found)
	return true
}

// Detach ends that nodes lead to a file which does not need them: n of them at a time,
// so that others can go on in between. It reports whether there are more.
func (x *Index) Detach(s *Sweep, n int) (more bool) {
	n = min(n, len(s.spare))
	r := x.files[s.file] // nil if it has left
	for _, oid := range s.spare[:n] {
		if r != nil {
			if _, ok := r.nodes[oid]; ok {
				continue
			}
		}
		x.detach(oid, s.file)
	}
	s.spare = s.spare[n:]
	return len(s.spare) > 0
}
