package live

import (
	"context"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"sort"
	"sync"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/record"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// A world is a random database with two files on one tree: what every view
// sees is known in full, so that everything can be checked by brute force.

// state is what one object looks like at one revision.
type state struct {
	kind     byte               // 'F' file, 'T' inner node, 'B' bucket, 'E' tree with its bucket inside, 'Z' data, 0 deleted
	blksize  int64              // F
	root     zodb.Oid           // F
	children []zodb.Oid         // T
	seps     []int64            // T
	kv       map[int64]zodb.Oid // B, E
	value    uint64             // Z
}

func (s state) equal(o state) bool {
	return s.kind == o.kind && s.blksize == o.blksize && s.root == o.root && s.value == o.value &&
		slices.Equal(s.children, o.children) && slices.Equal(s.seps, o.seps) && maps.Equal(s.kv, o.kv)
}

// encode gives the record of s as ZODB would store it.
func (s state) encode(isBucket func(zodb.Oid) bool) []byte {
	var e record.Encoder
	switch s.kind {
	case 'F':
		e.Reset(record.ZBigFile)
		e.BeginTuple(2)
		e.Int(s.blksize)
		e.Ref(s.root, record.LOBTree)
		e.EndTuple(2)
	case 'Z':
		e.Reset(record.ZBlk0)
		e.Bytes(fmt.Append(nil, s.value))
	case 'B':
		e.Reset(record.LOBucket)
		encodeBucket(&e, s.kv)
	case 'E':
		e.Reset(record.LOBTree)
		e.BeginTuple(1)
		e.BeginTuple(1)
		encodeBucket(&e, s.kv)
		e.EndTuple(1)
		e.EndTuple(1)
	case 'T':
		e.Reset(record.LOBTree)
		encodeInner(&e, s, isBucket)
	}
	return e.Record()
}

func encodeBucket(e *record.Encoder, kv map[int64]zodb.Oid) {
	e.BeginTuple(1)
	e.BeginTuple(2 * len(kv))
	for _, k := range slices.Sorted(maps.Keys(kv)) {
		e.Int(k)
		e.Ref(kv[k], record.ZBlk0)
	}
	e.EndTuple(2 * len(kv))
	e.EndTuple(1)
}

func encodeInner(e *record.Encoder, s state, isBucket func(zodb.Oid) bool) {
	if len(s.children) == 0 {
		e.None()
		return
	}
	class := func(oid zodb.Oid) record.Class {
		if isBucket(oid) {
			return record.LOBucket
		}
		return record.LOBTree
	}
	n := 2*len(s.children) - 1
	e.BeginTuple(2)
	e.BeginTuple(n)
	for i, child := range s.children {
		if i > 0 {
			e.Int(s.seps[i-1])
		}
		e.Ref(child, class(child))
	}
	e.EndTuple(n)
	e.Ref(s.children[0], class(s.children[0])) // not looked at by readers
	e.EndTuple(2)
}

// database keeps all revisions of all objects and serves them.
type database struct {
	mu   sync.Mutex
	head zodb.Tid
	tids []zodb.Tid
	revs map[zodb.Oid][]revState // ascending
}

type revState struct {
	tid zodb.Tid
	state
}

func newDatabase() *database {
	return &database{head: 10, tids: []zodb.Tid{10}, revs: make(map[zodb.Oid][]revState)}
}

func (d *database) commit(tid zodb.Tid, states map[zodb.Oid]state) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.head = tid
	d.tids = append(d.tids, tid)
	for oid, s := range states {
		d.revs[oid] = append(d.revs[oid], revState{tid, s})
	}
}

// at returns what view at sees of oid; tid is 0 if it was never there.
func (d *database) at(oid zodb.Oid, at zodb.Tid) revState {
	d.mu.Lock()
	defer d.mu.Unlock()
	revs := d.revs[oid]
	i := sort.Search(len(revs), func(i int) bool { return revs[i].tid > at })
	if i == 0 {
		return revState{}
	}
	return revs[i-1]
}

func (d *database) Load(ctx context.Context, xid zodb.Xid) (*storage.Buf, zodb.Tid, error) {
	s := d.at(xid.Oid, xid.At)
	if s.kind == 0 {
		return nil, 0, &zodb.NoDataError{Oid: xid.Oid, DeletedAt: s.tid}
	}
	data := s.encode(func(oid zodb.Oid) bool { return oid >= firstBucket && oid < firstData })
	buf := storage.NewBuf(len(data))
	copy(buf.Data, data)
	return buf, s.tid, nil
}

// kvmap returns all blocks of the tree node oid as of view at, restricted to
// the keys that its parents route to it.
func (d *database) kvmap(oid zodb.Oid, at zodb.Tid, lo, hi int64, out map[int64]zodb.Oid) {
	s := d.at(oid, at)
	switch s.kind {
	case 'B', 'E':
		for k, v := range s.kv {
			if lo <= k && k < hi {
				out[k] = v
			}
		}
	case 'T':
		for i, child := range s.children {
			clo, chi := lo, hi
			if i > 0 {
				clo = max(lo, s.seps[i-1])
			}
			if i < len(s.seps) {
				chi = min(hi, s.seps[i])
			}
			if clo < chi {
				d.kvmap(child, at, clo, chi, out)
			}
		}
	}
}

// oracle answers by brute force, and remembers full maps.
type oracle struct {
	db   *database
	full map[fileAt]fullMap
}

type fileAt struct {
	oid zodb.Oid
	at  zodb.Tid
}

type fullMap struct {
	exists  bool
	blksize int64
	root    zodb.Oid
	blks    map[int64]zodb.Oid
}

func (o *oracle) at(oid zodb.Oid, at zodb.Tid) fullMap {
	key := fileAt{oid, at}
	m, ok := o.full[key]
	if !ok {
		if s := o.db.at(oid, at); s.kind == 'F' {
			m = fullMap{true, s.blksize, s.root, make(map[int64]zodb.Oid)}
			o.db.kvmap(s.root, at, math.MinInt64, math.MaxInt64, m.blks)
		}
		o.full[key] = m
	}
	return m
}

// before returns the view just before tid.
func (o *oracle) before(tid zodb.Tid) zodb.Tid {
	i, _ := slices.BinarySearch(o.db.tids, tid)
	if i == 0 {
		return 0
	}
	return o.db.tids[i-1]
}

// changed reports whether transaction tid changed the block.
func (o *oracle) changed(oid zodb.Oid, blk int64, tid zodb.Tid) bool {
	now, was := o.at(oid, tid), o.at(oid, o.before(tid))
	nz, nok := now.blks[blk]
	wz, wok := was.blks[blk]
	if now.exists != was.exists || now.blksize != was.blksize || now.root != was.root || nok != wok || nz != wz {
		return true
	}
	return nok && o.db.at(nz, tid).tid == tid
}

// rev returns the revision of the block as of view at.
func (o *oracle) rev(oid zodb.Oid, blk int64, at zodb.Tid) zodb.Tid {
	for i := len(o.db.tids) - 1; i >= 0; i-- {
		if tid := o.db.tids[i]; tid <= at && o.changed(oid, blk, tid) {
			return tid
		}
	}
	return 0
}

// size returns the number of blocks up to the last.
func (o *oracle) size(oid zodb.Oid, at zodb.Tid) int64 {
	last := int64(-1)
	for k := range o.at(oid, at).blks {
		last = max(last, k)
	}
	return last + 1
}

// Oids of the world, by kind.
const (
	file0, file1 zodb.Oid = 1, 2
	theRoot      zodb.Oid = 3
	firstTree    zodb.Oid = 1000
	firstBucket  zodb.Oid = 2000
	firstData    zodb.Oid = 3000

	keySpace  = 12 // keys are 0..keySpace-1
	dataCount = 8  // ZBlks, shared by keys
)

// node is a node of the tree as it is now.
type node struct {
	oid      zodb.Oid
	kind     byte
	children []*node
	seps     []int64
	kv       map[int64]zodb.Oid
}

func (n *node) clone() *node {
	c := &node{oid: n.oid, kind: n.kind, seps: slices.Clone(n.seps), kv: maps.Clone(n.kv)}
	for _, child := range n.children {
		c.children = append(c.children, child.clone())
	}
	return c
}

func (n *node) flatten(out map[zodb.Oid]state) {
	s := state{kind: n.kind, kv: n.kv}
	if n.kind == 'T' {
		s.seps, s.kv = n.seps, nil
		for _, child := range n.children {
			s.children = append(s.children, child.oid)
			child.flatten(out)
		}
	}
	out[n.oid] = s
}

// place is a node with the keys routed to it, [lo, hi).
type place struct {
	n      *node
	parent *node
	lo, hi int64
}

func (n *node) places(lo, hi int64, parent *node) []place {
	all := []place{{n, parent, lo, hi}}
	for i, child := range n.children {
		clo, chi := lo, hi
		if i > 0 {
			clo = n.seps[i-1]
		}
		if i < len(n.seps) {
			chi = n.seps[i]
		}
		all = append(all, child.places(clo, chi, n)...)
	}
	return all
}

// world makes random transactions.
type world struct {
	db    *database
	rnd   *rand.Rand
	tree  *node // nil: the tree is not there
	past  []*node
	used  map[zodb.Oid]bool
	known []zodb.Oid // oids of the tree before, wanted again
	next  map[byte]zodb.Oid
}

func newWorld(seed uint64) *world {
	w := &world{db: newDatabase(), rnd: rand.New(rand.NewPCG(seed, 1)), next: map[byte]zodb.Oid{'T': firstTree, 'B': firstBucket}}
	states := map[zodb.Oid]state{file0: {kind: 'F', blksize: 1, root: theRoot}, theRoot: {kind: 'T'}}
	for i := range zodb.Oid(dataCount) {
		states[firstData+i] = state{kind: 'Z', value: uint64(i)}
	}
	w.db.commit(11, states)
	return w
}

func (w *world) chance(p float64) bool { return w.rnd.Float64() < p }
func (w *world) data() zodb.Oid        { return firstData + zodb.Oid(w.rnd.IntN(dataCount)) }
