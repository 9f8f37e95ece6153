package changes

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/btree"
	"github.com/wcfs/wcfs/internal/zodb/record"
	"github.com/wcfs/wcfs/internal/zodb/storage/mem"
	"github.com/wcfs/wcfs/internal/zodb/zwrite/topology"
)

func TestMain(m *testing.M) {
	// A library links in a logger that never ends.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/golang/glog.(*fileSink).flushDaemon"))
}

var ctx = context.Background()

// memTxn is a transaction on a database in memory.
type memTxn struct {
	db      *mem.Storage
	head    zodb.Tid
	next    zodb.Oid
	records map[zodb.Oid][]byte
}

var _ topology.Txn = (*memTxn)(nil)

func newMemTxn() *memTxn {
	return &memTxn{db: mem.New(), next: 1, records: make(map[zodb.Oid][]byte)}
}

func (x *memTxn) New() zodb.Oid                   { x.next++; return x.next - 1 }
func (x *memTxn) Store(oid zodb.Oid, data []byte) { x.records[oid] = data }
func (x *memTxn) Delete(oid zodb.Oid)             { x.records[oid] = nil }
func (x *memTxn) meta() (user, description string) {
	return "me", fmt.Sprintf("transaction %d", x.head)
}

func (x *memTxn) Load(oid zodb.Oid) ([]byte, zodb.Tid, error) {
	if data, ok := x.records[oid]; ok {
		if data == nil {
			return nil, 0, &zodb.NoDataError{Oid: oid}
		}
		return data, 0, nil
	}
	buf, serial, err := x.db.Load(ctx, zodb.Xid{At: x.head, Oid: oid})
	if err != nil {
		return nil, 0, err
	}
	return buf.Data, serial, nil
}

// commit commits what was stored and begins the next transaction.
func (x *memTxn) commit() {
	x.head++
	user, description := x.meta()
	x.db.CommitTxn(mem.Txn{Tid: x.head, User: []byte(user), Description: []byte(description), Records: x.records})
	x.records = make(map[zodb.Oid][]byte)
}

// Objects of a world. Tables and ZBlks are below the first oid of New.
const (
	keySpace = 14 // keys are below
	theArray = zodb.Oid(100)
	theFile  = zodb.Oid(101)
	table0   = zodb.Oid(102) // and table0+1
	zblk0    = zodb.Oid(110) // and the following
)

const names = "abcdefgh"

// world makes a random history of one file.
type world struct {
	*memTxn
	rnd     *rand.Rand
	tables  [2]*topology.Writer
	trees   [2]*topology.Node
	file    bigfile.File
	notes   []string            // what each transaction did, for whoever looks at a failure
	tangles bool                // damage also links nodes at random
	last    map[zodb.Oid][]byte // what the last transaction stored
}

func newWorld(rnd *rand.Rand) *world {
	w := &world{memTxn: newMemTxn(), rnd: rnd, file: bigfile.File{BlkSize: 8, Table: table0}}
	w.next = 1000
	for i := range w.tables {
		w.tables[i] = &topology.Writer{Root: table0 + zodb.Oid(i), Values: zblkNamed, Reuse: topology.Reuse(rnd.IntN(3)), Rnd: rnd, Inline: rnd.IntN(2) == 0}
	}
	return w
}

func zblkNamed(name string) btree.Ref {
	return btree.Ref{Oid: zblk0 + zodb.Oid(strings.Index(names, name)), Class: record.ZBlk0}
}

func (w *world) chance(p float64) bool { return w.rnd.Float64() < p }

// step commits one random transaction.
func (w *world) step(t testing.TB) {
	note := ""
	did := func(format string, args ...any) { note += fmt.Sprintf(" "+format, args...) }
	for i, table := range w.tables {
		if w.chance(0.5) {
			w.editTree(i)
			if w.trees[i] == nil && !w.known(table.Root) {
				continue
			}
			require.NoError(t, table.Put(w, w.trees[i]))
			did("table %d: %s", i, w.trees[i])
		}
	}
	for _, name := range names {
		if w.chance(0.06) {
			w.Store(zblkNamed(string(name)).Oid, bigfile.EncodeBlock([]byte{byte(w.rnd.IntN(3))}))
			did("set %c", name)
		}
	}
	if w.chance(0.15) || w.head == 0 {
		did("%s", w.editFile())
	}
	if w.chance(0.05) && w.known(theArray) {
		w.Delete(theArray)
		did("array deleted")
	} else if w.chance(0.1) || w.records[theFile] != nil && w.chance(0.3) {
		w.Store(theArray, bigfile.EncodeBlock([]byte{byte(w.rnd.IntN(2))}))
		did("array")
	}
	if w.chance(0.12) {
		did("%s", w.damage())
	}
	w.notes = append(w.notes, fmt.Sprintf("%d:%s", w.head+1, note))
	w.last = w.records
	w.commit()
}

func (w *world) known(oid zodb.Oid) bool {
	_, _, err := w.Load(oid)
	return err == nil
}

// editFile changes the ZBigFile object.
func (w *world) editFile() string {
	switch w.rnd.IntN(7) {
	case 0:
		w.file.BlkSize = []int64{3, 8, 16}[w.rnd.IntN(3)]
	case 1:
		w.file.Table = table0 + zodb.Oid(w.rnd.IntN(2))
	case 2:
		w.Delete(theFile)
		return "file deleted"
	case 3:
		w.Store(theFile, []byte("no record"))
		return "file damaged"
	case 4:
		w.Store(theFile, btree.EncodeEmpty(btree.LO))
		return "file of another class"
	}
	w.Store(theFile, bigfile.EncodeFile(&w.file))
	return fmt.Sprintf("file %+v", w.file)
}

// damage makes a node that the file depends on unreadable in one of many ways.
func (w *world) damage() string {
	path := []btree.Step{{Oid: w.file.Table}}
	if f, err := btree.Lookup(ctx, btree.Direct{Loader: w.db}, w.file.Table, w.head, w.rnd.Int64N(keySpace)); err == nil {
		path = f.Path
	}
	oid := path[w.rnd.IntN(len(path))].Oid
	if w.tangles && w.chance(0.7) {
		return w.tangle(oid, path)
	}
	switch w.rnd.IntN(4) {
	case 0:
		w.Delete(oid)
	case 1:
		w.Store(oid, []byte("no record"))
	case 2:
		w.Store(oid, bigfile.EncodeFile(&w.file))
	case 3:
		w.Store(oid, btree.EncodeEmpty(btree.IO))
	}
	return fmt.Sprintf("damaged %s", oid)
}

// editTree makes another tree of table i.
func (w *world) editTree(i int) {
	switch tree := w.trees[i]; {
	case tree == nil || w.chance(0.15):
		w.trees[i] = w.grow(0, keySpace, w.rnd.IntN(4))
	case w.chance(0.03):
		w.trees[i] = nil
	case w.chance(0.1) && len(tree.Children) > 0: // one level more
		w.trees[i] = &topology.Node{Children: []*topology.Node{{Seps: tree.Seps, Children: tree.Children}}}
	default:
		w.trees[i] = w.edit(tree, 0, keySpace)
	}
}

// grow makes a tree, or a bucket if depth is negative, for keys lo <= key < hi.
func (w *world) grow(lo, hi int64, depth int) *topology.Node {
	n := &topology.Node{Bucket: depth < 0}
	if n.Bucket {
		for key := lo; key < hi; key++ {
			if w.chance(0.5) {
				n.Items = append(n.Items, topology.Item{Key: key, Value: w.name()})
			}
		}
		return n
	}
	if depth > 0 && w.chance(0.3) {
		depth = 0
	}
	seps := make(map[int64]bool)
	for range w.rnd.IntN(4) {
		if hi-lo > 1 {
			seps[lo+1+w.rnd.Int64N(hi-lo-1)] = true
		}
	}
	n.Seps = slices.Sorted(maps.Keys(seps))
	for i := range len(n.Seps) + 1 {
		clo, chi := childKeys(n, i, lo, hi)
		n.Children = append(n.Children, w.grow(clo, chi, depth-1))
	}
	return n
}

func (w *world) name() string { return string(names[w.rnd.IntN(len(names))]) }

// edit returns n with one bucket or node changed.
func (w *world) edit(n *topology.Node, lo, hi int64) *topology.Node {
	if n.Bucket || len(n.Children) == 0 || w.chance(0.1) {
		if n.Bucket {
			return w.grow(lo, hi, -1)
		}
		return w.grow(lo, hi, w.rnd.IntN(3))
	}
	m := &topology.Node{Seps: n.Seps, Children: slices.Clone(n.Children)}
	i := w.rnd.IntN(len(m.Children))
	clo, chi := childKeys(n, i, lo, hi)
	child := w.edit(m.Children[i], clo, chi)
	if child.Bucket == m.Children[i].Bucket {
		m.Children[i] = child
	}
	return m
}

// childKeys returns which of keys lo <= key < hi child i of n has.
func childKeys(n *topology.Node, i int, lo, hi int64) (clo, chi int64) {
	if i > 0 {
		lo = n.Seps[i-1]
	}
	if i < len(n.Seps) {
		hi = n.Seps[i]
	}
	return lo, hi
}

// tangle makes a node link others that there are, or were, without regard to what
// links them.
func (w *world) tangle(oid zodb.Oid, path []btree.Step) string {
	var kids []zodb.Oid
	var seps []int64
	for key := range int64(keySpace) {
		if w.chance(0.2) || len(kids) == 0 {
			if len(kids) > 0 {
				seps = append(seps, key)
			}
			kid := path[w.rnd.IntN(len(path))].Oid
			if w.chance(0.7) {
				kid = 1000 + zodb.Oid(w.rnd.IntN(int(w.next-1000)+1))
			}
			kids = append(kids, kid)
		}
	}
	w.Store(oid, btree.EncodeTree(btree.LO, true, kids, seps, kids[0]))
	return fmt.Sprintf("%s links %v", oid, kids)
}
