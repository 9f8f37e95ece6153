package catalog

import (
	"cmp"
	"slices"
	"strings"
)

// maxNear is how many names are suggested.
const maxNear = 3

// nearNames collects the paths that a wrong name may have meant.
type nearNames struct {
	name string // in lower case
	near []nearName
}

type nearName struct {
	path  string
	score int // the lower, the nearer
}

// add considers a path: one that differs in case only is nearest, then one that
// ends with the name, then one that begins with it, then those with few
// differences.
func (n *nearNames) add(path string) {
	score, ok := nearness(n.name, strings.ToLower(path))
	if !ok {
		return
	}
	at, _ := slices.BinarySearchFunc(n.near, score+1, func(a nearName, score int) int { return cmp.Compare(a.score, score) })
	n.near = slices.Insert(n.near, at, nearName{path, score})
	n.near = n.near[:min(len(n.near), maxNear)]
}

func (n *nearNames) best() (paths []string) {
	for _, near := range n.near {
		paths = append(paths, near.path)
	}
	return paths
}

// nearness tells how near a path is to a name, both in lower case.
func nearness(name, path string) (score int, ok bool) {
	switch {
	case name == path:
		return 0, true
	case name != "" && strings.HasSuffix(path, "/"+name):
		return 1, true
	}
	if len(name) > 1 && strings.HasPrefix(path, name) {
		return 2, true
	}
	base := path[strings.LastIndexByte(path, '/')+1:]
	limit := max(1, len(name)/3)
	d := min(distance(name, path, limit), distance(name, base, limit))
	return 3 + d, d <= limit && d < len(name)
}

// distance returns how many characters have to be put in, left out, replaced, or
// swapped with their neighbour, to get from a to b. Beyond limit it is not exact,
// but is still beyond.
func distance(a, b string, limit int) int {
	const maxLen = 200 // bounds the time
	if len(a) > maxLen || len(b) > maxLen || len(a)-len(b) > 4*limit || len(b)-len(a) > 4*limit {
		return limit + 1
	}
	x, y := []rune(a), []rune(b)
	before := make([]int, len(y)+1) // distances of x[:i-2] to each y[:j]
	last := make([]int, len(y)+1)   // of x[:i-1]
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(x); i++ {
		row := make([]int, len(y)+1)
		row[0] = i
		for j := 1; j <= len(y); j++ {
			cost := 1
			if x[i-1] == y[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(y)]
}
