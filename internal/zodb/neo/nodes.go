package neo

import (
	"cmp"
	"slices"

	"github.com/wcfs/wcfs/internal/zodb/neoproto"
	"github.com/wcfs/wcfs/internal/zodb/remote"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

var _ remote.Cluster = (*session)(nil)

// Nodes implements remote.Cluster: the masters and then the storages.
func (s *session) Nodes() (nodes []storage.Node) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.masters {
		n := storage.Node{Role: neoproto.Master.String(), Address: m.Address, State: "secondary"}
		switch {
		case m.ID != 0 && m.ID == s.primary: // by whatever address it was found
			n.State, n.Connected = "primary", true
		case m.State != neoproto.Running:
			n.State = m.State.String()
		}
		nodes = append(nodes, n)
	}
	parts := map[neoproto.NodeID]int{}
	for _, row := range s.table.Rows {
		for _, cell := range row {
			if cell.State.Readable() {
				parts[cell.Node]++
			}
		}
	}
	for _, n := range s.nodes {
		node := storage.Node{Role: storage.RoleStorage, Name: n.id.String(), Address: n.addr, State: n.state.String(), Answers: n.answers, Err: n.failure}
		node.Connected = n.peer != nil && n.peer.Err() == nil
		if n.state == neoproto.Running {
			node.Parts = parts[n.id]
		}
		nodes = append(nodes, node)
	}
	slices.SortStableFunc(nodes[len(s.masters):], func(a, b storage.Node) int { return cmp.Compare(a.Name, b.Name) })
	return nodes
}
