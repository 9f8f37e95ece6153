package live

import (
	"context"
	"sort"
	"sync"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/btree"
	"github.com/wcfs/wcfs/internal/zodb/record"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// grid is a database with one big regular file. Records are made when they are
// loaded, so that it takes no memory. Leaf j has blocks 64*j..64*j+63.
type grid struct {
	blocks int64
	mu     sync.Mutex
	leaves map[zodb.Oid][]zodb.Tid // when leaves were stored again; the first block shows another ZBlk then

	held          zodb.Oid // its next load waits
	arrived, pass chan struct{}
}

const (
	gridFile  zodb.Oid = 1
	gridRoot  zodb.Oid = 2
	gridInner zodb.Oid = 1000
	gridLeaf  zodb.Oid = 1 << 20
	gridZBlk  zodb.Oid = 1 << 32

	gridStart zodb.Tid = 1000
)

const (
	keysPerLeaf  = 64
	leavesPerOne = 128 // inner node
)

func (g *grid) load(xid zodb.Xid) ([]byte, zodb.Tid) {
	switch oid := xid.Oid; {
	case oid == gridFile:
		return bigfile.EncodeFile(&bigfile.File{BlkSize: 2 << 20, Table: gridRoot}), gridStart
	case oid == gridRoot:
		return g.inner(gridInner, (g.blocks-1)/(keysPerLeaf*leavesPerOne)+1, 0, keysPerLeaf*leavesPerOne), gridStart
	case oid < gridLeaf:
		first := int64(oid-gridInner) * leavesPerOne
		n := min(leavesPerOne, (g.blocks-1)/keysPerLeaf+1-first)
		return g.inner(gridLeaf+zodb.Oid(first), n, first*keysPerLeaf, keysPerLeaf), gridStart
	default:
		return g.leaf(xid)
	}
}

func (g *grid) inner(child zodb.Oid, n, first, step int64) []byte {
	var children []zodb.Oid
	var seps []int64
	for i := range n {
		children = append(children, child+zodb.Oid(i))
		if i > 0 {
			seps = append(seps, first+i*step)
		}
	}
	return btree.EncodeTree(btree.LO, child == gridInner, children, seps, 0)
}

func (g *grid) leaf(xid zodb.Xid) ([]byte, zodb.Tid) {
	g.mu.Lock()
	tids := g.leaves[xid.Oid]
	version := sort.Search(len(tids), func(i int) bool { return tids[i] > xid.At })
	serial := gridStart
	if version > 0 {
		serial = tids[version-1]
	}
	g.mu.Unlock()
	var keys []int64
	var values []btree.Ref
	for blk := int64(xid.Oid-gridLeaf) * keysPerLeaf; len(keys) < keysPerLeaf; blk++ {
		zblk := gridZBlk + zodb.Oid(blk)
		if len(keys) == 0 {
			zblk += zodb.Oid(version) << 32
		}
		keys, values = append(keys, blk), append(values, btree.Ref{Oid: zblk, Class: record.ZBlk0})
	}
	return btree.EncodeBucket(btree.LO, keys, values, 0), serial
}

func (g *grid) Load(_ context.Context, xid zodb.Xid) (*storage.Buf, zodb.Tid, error) {
	g.mu.Lock()
	held := g.held == xid.Oid
	if held {
		g.held = 0
	}
	g.mu.Unlock()
	if held {
		close(g.arrived)
		<-g.pass
	}
	data, serial := g.load(xid)
	buf := storage.NewBuf(len(data))
	copy(buf.Data, data)
	return buf, serial, nil
}

// holdLoad makes the next load of oid wait. arrived is closed when it does, and
// pass has to be closed to let it go on.
func (g *grid) holdLoad(oid zodb.Oid) (arrived, pass chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.held, g.arrived, g.pass = oid, make(chan struct{}), make(chan struct{})
	return g.arrived, g.pass
}

// Serial tells the serial of ZBlks: they never change.
func (g *grid) Serial(context.Context, zodb.Xid) (zodb.Tid, error) { return gridStart - 1, nil }

// store stores a leaf again.
func (g *grid) store(oid zodb.Oid, tid zodb.Tid) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.leaves[oid] = append(g.leaves[oid], tid)
}
