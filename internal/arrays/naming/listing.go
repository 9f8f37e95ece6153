package naming

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/arrays/catalog"
	"github.com/wcfs/wcfs/internal/zodb/record"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// maxNames bounds how many names one object may have.
const maxNames = 1_000_000

// listing is what one object links to.
type listing struct {
	oid    zodb.Oid
	root   *directory
	homes  []home // in the order of their oids, one for each
	damage error  // hides some of it
	names  int
}

// directory is an object, or a value inside of it.
type directory struct {
	up      *directory // nil for the object itself
	name    string
	level   int // names from the object
	entries []entry
	notes   []atomic.Uint32 // what is known of the entries
}

// entry is a name in a directory: either of a directory inside of the same object, or of
// another object.
type entry struct {
	name, key string
	inside    *directory
	oid       zodb.Oid
	order     int32 // among all links of the object
	class     kind
}

// kind is what a reference tells about an object by its class.
type kind uint8

const (
	unknownKind kind = iota
	containerKind
	arrayKind
	fileKind
)

func kindOf(class record.Class) kind {
	switch {
	case class == record.ZBigArray:
		return arrayKind
	case class == record.ZBigFile:
		return fileKind
	case catalog.IsContainer(class):
		return containerKind
	}
	return unknownKind
}

// home is where a listing links to an object with the fewest names.
type home struct {
	oid zodb.Oid
	dir *directory
	at  int // in dir.entries
}

// load reads a listing. An object that is not there links to nothing.
func load(ctx context.Context, src storage.Loader, at zodb.Tid, oid zodb.Oid) (*listing, error) {
	b := building{root: &directory{}, inside: make(map[place]*directory)}
	o, err := catalog.Look(ctx, src, at, oid)
	var damage error
	if err == nil {
		damage, err = o.Links(ctx, b.link)
	}
	if err != nil && !storage.IsNoData(err) {
		return nil, fmt.Errorf("list object %s: %w", oid, err)
	}
	l := &listing{oid: oid, root: b.root, damage: damage, names: b.names}
	b.root.finish()
	l.homes = b.root.homes(nil)
	slices.SortFunc(l.homes, compareHomes)
	l.homes = slices.CompactFunc(l.homes, func(a, b home) bool { return a.oid == b.oid })
	return l, nil
}

// building puts a listing together.
type building struct {
	root   *directory
	inside map[place]*directory
	names  int
}

// place is a key in a directory.
type place struct {
	dir *directory
	key string
}

func (b *building) link(l *catalog.Link) error {
	dir := b.root
	for _, key := range l.Names[:len(l.Names)-1] {
		inside := b.inside[place{dir, key}]
		if inside == nil {
			inside = &directory{up: dir, level: dir.level + 1}
			b.inside[place{dir, key}] = inside
			if err := b.add(dir, entry{key: key, inside: inside}); err != nil {
				return err
			}
		}
		dir = inside
	}
	return b.add(dir, entry{key: l.Names[len(l.Names)-1], oid: l.Oid, class: kindOf(l.Class)})
}

func (b *building) add(dir *directory, e entry) error {
	if b.names == maxNames {
		return fmt.Errorf("it has more than %d names, which are too many; its arrays can be opened by the oids of their files, in bigfile/", maxNames)
	}
	e.order = int32(b.names)
	b.names++
	dir.entries = append(dir.entries, e)
	return nil
}

// finish gives all entries their names, and puts them in their order. Values with
// directories inside come first, then objects as they were met; one that is met again under
// the same key is left out.
func (d *directory) finish() {
	slices.SortFunc(d.entries, func(a, b entry) int {
		return cmp.Or(strings.Compare(a.key, b.key), cmp.Compare(insideFirst(a), insideFirst(b)), cmp.Compare(a.order, b.order))
	})
	kept := d.entries[:0]
	for i := 0; i < len(d.entries); {
		n := 1
		for i+n < len(d.entries) && d.entries[i+n].key == d.entries[i].key {
			n++
		}
		kept = append(kept, named(d.entries[i:i+n])...)
		i += n
	}
	d.entries = slices.Clip(kept)
	slices.SortFunc(d.entries, func(a, b entry) int { return strings.Compare(a.name, b.name) })
	d.notes = make([]atomic.Uint32, len(d.entries))
	for i := range d.entries {
		if inside := d.entries[i].inside; inside != nil {
			inside.name = d.entries[i].name
			inside.finish()
		}
	}
}

// named gives names to the entries with one key, and returns those that are left.
func named(same []entry) []entry {
	name := Encode(same[0].key)
	same[0].name = name
	if len(same) == 1 {
		return same
	}
	seen := make(map[zodb.Oid]bool)
	kept := same[:0]
	for i, e := range same {
		if e.inside == nil && seen[e.oid] {
			continue
		}
		if i > 0 {
			e.name = distinct(name, e.oid)
		}
		if e.inside == nil {
			seen[e.oid] = true
		}
		kept = append(kept, e)
	}
	return kept
}

func insideFirst(e entry) int {
	if e.inside != nil {
		return 0
	}
	return 1
}

// homes appends all links to objects that may be directories.
func (d *directory) homes(all []home) []home {
	for i := range d.entries {
		switch e := &d.entries[i]; {
		case e.inside != nil:
			all = e.inside.homes(all)
		case e.class != fileKind:
			all = append(all, home{e.oid, d, i})
		}
	}
	return all
}

func compareHomes(a, b home) int {
	return cmp.Or(cmp.Compare(a.oid, b.oid), cmp.Compare(a.dir.level, b.dir.level), cmp.Compare(a.dir.entries[a.at].order, b.dir.entries[b.at].order))
}

// home returns where the listing links to an object.
func (l *listing) home(oid zodb.Oid) (h home, ok bool) {
	i, ok := slices.BinarySearchFunc(l.homes, oid, func(h home, oid zodb.Oid) int { return cmp.Compare(h.oid, oid) })
	if ok {
		h = l.homes[i]
	}
	return h, ok
}

// find returns the position of the entry with a name.
func (d *directory) find(name string) (at int, ok bool) {
	return slices.BinarySearchFunc(d.entries, name, func(e entry, name string) int { return strings.Compare(e.name, name) })
}

// path returns the names from the object to an entry.
func (d *directory) path(at int) []string {
	names := []string{d.entries[at].name}
	for ; d.up != nil; d = d.up {
		names = append(names, d.name)
	}
	slices.Reverse(names)
	return names
}
