package live

import (
	"maps"
	"math"
	"slices"

	"lab.nexedi.com/kirr/neo/go/zodb"
)

// pick returns an oid for a new node: often one of the tree before, to have
// oids come back in other places.
func (w *world) pick(kind byte) zodb.Oid {
	isKind := func(oid zodb.Oid) bool {
		return (oid >= firstBucket) == (kind == 'B') && oid >= firstTree && !w.used[oid]
	}
	var again []zodb.Oid
	for _, oid := range w.known {
		if isKind(oid) {
			again = append(again, oid)
		}
	}
	oid := w.next[kind]
	if len(again) > 0 && w.chance(0.7) {
		oid = again[w.rnd.IntN(len(again))]
	} else if first := map[byte]zodb.Oid{'T': firstTree, 'B': firstBucket}[kind]; oid > first+14 && w.chance(0.8) {
		if old := first + zodb.Oid(w.rnd.IntN(14)); !w.used[old] {
			oid = old
		}
	}
	if oid == w.next[kind] {
		w.next[kind]++
	}
	w.used[oid] = true
	return oid
}

// remember makes the oids of the tree as it is candidates for pick.
func (w *world) remember(reserve bool) {
	w.used, w.known = map[zodb.Oid]bool{theRoot: true}, nil
	if w.tree == nil {
		return
	}
	oids := make(map[zodb.Oid]state)
	w.tree.flatten(oids)
	w.known = slices.Sorted(maps.Keys(oids))
	if reserve {
		for _, oid := range w.known {
			w.used[oid] = true
		}
	}
}

// newTree makes a tree of random shape over kv.
func (w *world) newTree(kv map[int64]zodb.Oid) *node {
	w.remember(false)
	if w.chance(0.15) {
		return &node{oid: theRoot, kind: 'E', kv: kv}
	}
	return w.grow(theRoot, kv, 0, keySpace, w.rnd.IntN(4))
}

func (w *world) grow(oid zodb.Oid, kv map[int64]zodb.Oid, lo, hi int64, depth int) *node {
	n := &node{oid: oid, kind: 'T'}
	for range w.rnd.IntN(3) {
		if sep := lo + 1 + w.rnd.Int64N(max(hi-lo-1, 1)); sep > lo && sep < hi && !slices.Contains(n.seps, sep) {
			n.seps = append(n.seps, sep)
		}
	}
	slices.Sort(n.seps)
	leaves := depth == 0 || w.chance(0.5)
	for i := range len(n.seps) + 1 {
		clo, chi := lo, hi
		if i > 0 {
			clo = n.seps[i-1]
		}
		if i < len(n.seps) {
			chi = n.seps[i]
		}
		sub := make(map[int64]zodb.Oid)
		for k, v := range kv {
			if (i == 0 || k >= clo) && (i == len(n.seps) || k < chi) {
				sub[k] = v
			}
		}
		switch {
		case leaves:
			n.children = append(n.children, &node{oid: w.pick('B'), kind: 'B', kv: sub})
		case w.chance(0.1):
			n.children = append(n.children, &node{oid: w.pick('T'), kind: 'E', kv: sub})
		default:
			n.children = append(n.children, w.grow(w.pick('T'), sub, clo, chi, depth-1))
		}
	}
	return n
}

// edit changes the tree a little, as real ones change and as no real one would.
func (w *world) edit() {
	w.remember(true)
	all := w.tree.places(math.MinInt64, math.MaxInt64, nil)
	p := all[w.rnd.IntN(len(all))]
	switch w.rnd.IntN(12) {
	default:
		w.editValue(all)
	case 5:
		w.split(p)
	case 6:
		w.merge(p.n)
	case 7:
		w.moveSeparator(p)
	case 8:
		if w.tree.kind == 'T' && len(w.tree.children) > 0 && len(all) < 25 { // one level more
			m := &node{oid: w.pick('T'), kind: 'T', children: w.tree.children, seps: w.tree.seps}
			w.tree.children, w.tree.seps = []*node{m}, nil
		}
	case 9:
		if c := w.tree.children; len(c) == 1 && c[0].kind == 'T' { // one level less
			w.tree.children, w.tree.seps = c[0].children, c[0].seps
		} else if len(c) == 1 {
			*w.tree = node{oid: theRoot, kind: 'E', kv: c[0].kv}
		}
	case 10:
		if p.parent != nil { // the same node under another oid
			kind := byte('T')
			if p.n.kind == 'B' {
				kind = 'B'
			}
			p.n.oid = w.pick(kind)
		}
	case 11:
		if q := all[w.rnd.IntN(len(all))]; p.parent != nil && q.parent != nil && (p.n.kind == 'B') == (q.n.kind == 'B') {
			p.n.oid, q.n.oid = q.n.oid, p.n.oid
		} else if p.n.kind != 'T' {
			p.n.kv = map[int64]zodb.Oid{}
		}
	}
}

func (w *world) editValue(all []place) {
	for range 8 {
		p := all[w.rnd.IntN(len(all))]
		lo, hi := max(p.lo, 0), min(p.hi, keySpace)
		if p.n.kind == 'T' || lo >= hi {
			continue
		}
		p.n.kv = maps.Clone(p.n.kv)
		if k := lo + w.rnd.Int64N(hi-lo); w.chance(0.25) {
			delete(p.n.kv, k)
		} else {
			p.n.kv[k] = w.data()
		}
		return
	}
}

// split moves the right part of p into a new neighbour.
func (w *world) split(p place) {
	if p.parent == nil {
		return
	}
	n, m := p.n, &node{kind: p.n.kind}
	var sep int64
	switch {
	case n.kind == 'T' && len(n.children) > 1:
		j := 1 + w.rnd.IntN(len(n.children)-1)
		m.oid, m.children, m.seps, sep = w.pick('T'), slices.Clone(n.children[j:]), slices.Clone(n.seps[j:]), n.seps[j-1]
		n.children, n.seps = n.children[:j], n.seps[:j-1]
	case n.kind == 'B' && min(p.hi, keySpace)-max(p.lo, 0) >= 2:
		lo, hi := max(p.lo, 0), min(p.hi, keySpace)
		sep = lo + 1 + w.rnd.Int64N(hi-lo-1)
		m.oid, m.kv = w.pick('B'), make(map[int64]zodb.Oid)
		kv := make(map[int64]zodb.Oid)
		for k, v := range n.kv {
			if k >= sep {
				m.kv[k] = v
			} else {
				kv[k] = v
			}
		}
		n.kv = kv
	default:
		return
	}
	i := slices.Index(p.parent.children, n)
	p.parent.children = slices.Insert(p.parent.children, i+1, m)
	p.parent.seps = slices.Insert(p.parent.seps, i, sep)
}

// merge puts two neighbouring children of n together under either oid.
func (w *world) merge(n *node) {
	if len(n.children) < 2 {
		return
	}
	i := w.rnd.IntN(len(n.children) - 1)
	a, b := n.children[i], n.children[i+1]
	if a.kind != b.kind || a.kind == 'T' && (len(a.children) == 0 || len(b.children) == 0) {
		return
	}
	m := &node{oid: a.oid, kind: a.kind}
	if w.chance(0.5) {
		m.oid = b.oid
	}
	if a.kind == 'T' {
		m.children = slices.Concat(a.children, b.children)
		m.seps = slices.Concat(a.seps, []int64{n.seps[i]}, b.seps)
	} else {
		m.kv = maps.Clone(a.kv)
		maps.Copy(m.kv, b.kv)
	}
	n.children = slices.Replace(n.children, i, i+2, m)
	n.seps = slices.Delete(n.seps, i, i+1)
}

// moveSeparator moves keys, or a child, from one child of p to its neighbour.
func (w *world) moveSeparator(p place) {
	n := p.n
	if len(n.children) < 2 {
		return
	}
	i := w.rnd.IntN(len(n.children) - 1)
	a, b := n.children[i], n.children[i+1]
	if a.kind == 'T' && b.kind == 'T' && len(a.children) > 1 && len(b.children) > 0 {
		last := len(a.children) - 1
		b.children = slices.Insert(b.children, 0, a.children[last])
		b.seps = slices.Insert(b.seps, 0, n.seps[i])
		n.seps[i] = a.seps[last-1]
		a.children, a.seps = a.children[:last], a.seps[:last-1]
		return
	}
	lo, hi := max(p.lo, 0), min(p.hi, keySpace)
	if i > 0 {
		lo = n.seps[i-1]
	}
	if i+1 < len(n.seps) {
		hi = n.seps[i+1]
	}
	if a.kind == 'T' || b.kind == 'T' || hi-lo < 2 {
		return
	}
	all := maps.Clone(a.kv)
	maps.Copy(all, b.kv)
	n.seps[i] = lo + 1 + w.rnd.Int64N(hi-lo-1)
	a.kv, b.kv = make(map[int64]zodb.Oid), make(map[int64]zodb.Oid)
	for k, v := range all {
		if k < n.seps[i] {
			a.kv[k] = v
		} else {
			b.kv[k] = v
		}
	}
}

// step commits one random transaction and returns it.
func (w *world) step() (zodb.Tid, []zodb.Oid) {
	w.changeTree()
	states := make(map[zodb.Oid]state)
	tree := make(map[zodb.Oid]state)
	if w.tree != nil {
		w.tree.flatten(tree)
	} else if w.chance(0.5) {
		tree[theRoot] = state{kind: 'T'}
	} else {
		tree[theRoot] = state{} // deleted
	}
	now := func(oid zodb.Oid) state { return w.db.at(oid, w.db.head).state }
	for oid, s := range tree {
		if !s.equal(now(oid)) || w.chance(0.03) { // sometimes stored again as it is
			states[oid] = s
		}
	}
	w.changeRest(states, tree)
	w.changeFiles(states)
	tid := w.db.head + 1 + zodb.Tid(w.rnd.IntN(2))
	w.db.commit(tid, states)
	return tid, slices.Sorted(maps.Keys(states))
}

func (w *world) changeTree() {
	x := w.rnd.Float64()
	switch {
	case w.tree == nil:
		if x < 0.7 {
			kv := make(map[int64]zodb.Oid)
			for k := range int64(keySpace) {
				if w.chance(0.5) {
					kv[k] = w.data()
				}
			}
			w.tree = w.newTree(kv)
		}
	case x < 0.6:
		w.tree = w.tree.clone()
		w.edit()
		if w.chance(0.4) {
			w.edit()
		}
	case x < 0.72:
		kv := make(map[int64]zodb.Oid)
		w.db.kvmap(theRoot, w.db.head, math.MinInt64, math.MaxInt64, kv)
		for k := range int64(keySpace) {
			if w.chance(0.1) {
				kv[k] = w.data()
			} else if w.chance(0.05) {
				delete(kv, k)
			}
		}
		w.tree = w.newTree(kv)
	case x < 0.75:
		w.tree = nil
	case x < 0.81 && len(w.past) > 0: // an old tree is linked again
		w.tree = w.past[w.rnd.IntN(len(w.past))].clone()
	}
	if w.tree != nil {
		w.past = append(w.past, w.tree.clone())
		w.past = w.past[max(0, len(w.past)-6):]
	}
}

// changeRest changes data, and nodes that are not linked anywhere.
func (w *world) changeRest(states, tree map[zodb.Oid]state) {
	if w.chance(0.6) {
		for i := range zodb.Oid(dataCount) {
			if w.chance(0.15) {
				states[firstData+i] = state{kind: 'Z', value: w.rnd.Uint64()}
			}
		}
	}
	garbage := firstBucket + zodb.Oid(w.rnd.IntN(14))
	if _, linked := tree[garbage]; !linked && w.chance(0.15) {
		kv := make(map[int64]zodb.Oid)
		for k := range int64(keySpace) {
			if w.chance(0.3) {
				kv[k] = w.data()
			}
		}
		states[garbage] = state{kind: 'B', kv: kv}
	}
}

// changeFiles creates, deletes and changes the ZBigFile objects, and stores one
// again as it is.
func (w *world) changeFiles(states map[zodb.Oid]state) {
	now := w.db.at(file0, w.db.head).state
	exists := now.kind == 'F'
	switch y := w.rnd.Float64(); {
	case y < 0.004 && exists:
		states[file0] = state{}
	case y < 0.006 && exists:
		now.blksize++
		states[file0] = now
	case y < 0.02 && exists:
		states[file0] = now
	case y < 0.04 && exists && w.tree != nil: // another block table
		nodes := make(map[zodb.Oid]state)
		w.tree.flatten(nodes)
		oids := slices.Sorted(maps.Keys(nodes))
		now.root = oids[w.rnd.IntN(len(oids))]
		states[file0] = now
	case y < 0.08 && exists:
		now.root = theRoot
		states[file0] = now
	case !exists && y < 0.3:
		states[file0] = state{kind: 'F', blksize: 1, root: theRoot}
	}
	if w.db.at(file1, w.db.head).kind == 0 && w.chance(0.02) {
		states[file1] = state{kind: 'F', blksize: 1, root: theRoot}
	}
}
