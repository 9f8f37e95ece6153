package btree

import (
	"slices"

	"lab.nexedi.com/kirr/neo/go/zodb"
)

// Keys is the keys Lo <= key <= Hi.
type Keys struct{ Lo, Hi int64 }

// Has reports whether key is one of them.
func (k Keys) Has(key int64) bool { return k.Lo <= key && key <= k.Hi }

// Differences returns the keys within that two versions of a node may route to different
// values or children: single keys if both are leaves, else ranges, which are disjoint.
func Differences(a, b *Node, within Keys) (keys []int64, ranges []Keys) {
	switch {
	case a == b:
		return nil, nil
	case a.Leaf() && b.Leaf():
		return differentKeys(a, b, within), nil
	case a.Leaf() != b.Leaf():
		return nil, []Keys{within}
	}
	return nil, differentRoutes(a, b, within)
}

// differentKeys returns the keys that leaves a and b map to different values, or that
// only one of them has.
func differentKeys(a, b *Node, within Keys) (keys []int64) {
	ak, bk := a.Keys(), b.Keys()
	i, _ := slices.BinarySearch(ak, within.Lo)
	j, _ := slices.BinarySearch(bk, within.Lo)
	for i < len(ak) && ak[i] <= within.Hi || j < len(bk) && bk[j] <= within.Hi {
		switch {
		case j == len(bk) || i < len(ak) && ak[i] < bk[j]:
			keys = append(keys, ak[i])
			i++
		case i == len(ak) || bk[j] < ak[i]:
			keys = append(keys, bk[j])
			j++
		default:
			if a.Oids()[i] != b.Oids()[j] {
				keys = append(keys, ak[i])
			}
			i++
			j++
		}
	}
	return keys
}

// differentRoutes returns the keys that inner node a gives to a child other than the one
// inner node b gives them to, or to one with other keys. Both cover all keys, so these
// are all the keys of routes that only b has, too.
func differentRoutes(a, b *Node, within Keys) (ranges []Keys) {
	type route struct {
		Keys
		child zodb.Oid
	}
	same := make(map[route]struct{}, len(b.Oids()))
	for i := range b.Oids() {
		child, lo, hi := b.Child(i, within.Lo, within.Hi)
		same[route{Keys{lo, hi}, child}] = struct{}{}
	}
	for i := range a.Oids() {
		child, lo, hi := a.Child(i, within.Lo, within.Hi)
		if _, ok := same[route{Keys{lo, hi}, child}]; !ok && lo <= hi {
			ranges = append(ranges, Keys{lo, hi})
		}
	}
	return ranges
}
