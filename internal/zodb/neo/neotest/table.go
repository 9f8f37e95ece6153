package neotest

import (
	"slices"
	"time"

	"github.com/wcfs/wcfs/internal/zodb/neoproto"
)

// Change changes cells of the table of partitions, and tells the clients.
func (c *Cluster) Change(cells ...neoproto.CellChange) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.change(cells)
}

// Change gives the cell of the node a state.
func (n *Node) Change(partition int, state neoproto.CellState) {
	n.c.Change(neoproto.CellChange{Partition: partition, Cell: neoproto.Cell{Node: n.ID, State: state}})
}

// ChangeLate is Change that the clients hear of later than the storages, and still before
// anything else that a master tells from now on.
func (c *Cluster) ChangeLate(late time.Duration, cells ...neoproto.CellChange) {
	c.mu.Lock()
	defer c.mu.Unlock()
	news := c.changed(cells)
	for k := range c.clients {
		k.tellLate(late, news)
	}
}

// change is Change. c.mu must be held.
func (c *Cluster) change(cells []neoproto.CellChange) { c.broadcast(c.changed(cells)) }

// changed changes cells and returns the news of that.
func (c *Cluster) changed(cells []neoproto.CellChange) *neoproto.TableChanges {
	rows := make([][]neoproto.Cell, len(c.table.Rows)) // the former ones may have been told
	for p, row := range c.table.Rows {
		rows[p] = slices.Clone(row)
	}
	for _, change := range cells {
		row := slices.DeleteFunc(rows[change.Partition], func(cell neoproto.Cell) bool { return cell.Node == change.Node })
		if change.State != neoproto.Discarded {
			row = append(row, change.Cell)
		}
		rows[change.Partition] = row
	}
	c.table.ID++
	c.table.Rows = rows
	return &neoproto.TableChanges{ID: c.table.ID, Replicas: c.table.Replicas, Cells: cells}
}

// cells returns changes of all cells of a storage for which want holds.
func (n *Node) cells(state neoproto.CellState, want func(p int, now neoproto.CellState) bool) (changes []neoproto.CellChange) {
	for p, row := range n.c.table.Rows {
		for _, cell := range row {
			if cell.Node == n.ID && want(p, cell.State) {
				changes = append(changes, neoproto.CellChange{Partition: p, Cell: neoproto.Cell{Node: n.ID, State: state}})
			}
		}
	}
	return changes
}

// available reports whether a partition can be read.
func (c *Cluster) available(p int) bool {
	return slices.ContainsFunc(c.table.Rows[p], func(cell neoproto.Cell) bool {
		n := slices.IndexFunc(c.Storages, func(n *Node) bool { return n.ID == cell.Node })
		return cell.State.Readable() && c.Storages[n].up
	})
}

// operational reports whether all partitions can be read.
func (c *Cluster) operational() bool {
	for p := range c.table.Rows {
		if !c.available(p) {
			return false
		}
	}
	return true
}

// lost does what a master does when a storage is gone.
func (c *Cluster) lost(n *Node) {
	c.broadcast(&neoproto.Nodes{Time: c.now(), Nodes: []neoproto.Node{n.entry()}})
	if changes := n.cells(neoproto.OutOfDate, func(p int, now neoproto.CellState) bool { return now.Readable() && c.available(p) }); changes != nil {
		c.change(changes)
	}
	if !c.operational() {
		c.setState(neoproto.Recovering)
	}
}

// back does what a master does when a storage is there again.
func (c *Cluster) back(n *Node) {
	c.broadcast(&neoproto.Nodes{Time: c.now(), Nodes: []neoproto.Node{n.entry()}})
	if c.state == neoproto.Recovering && c.operational() {
		c.setState(neoproto.RunningCluster)
	}
}

// CatchUp has a storage become up to date again, one partition after the other.
func (n *Node) CatchUp() {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	for _, change := range n.cells(neoproto.UpToDate, func(_ int, now neoproto.CellState) bool { return now == neoproto.OutOfDate }) {
		n.c.change([]neoproto.CellChange{change})
	}
}
