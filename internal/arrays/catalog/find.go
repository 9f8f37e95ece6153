package catalog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/pickle"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// Find returns the array or file of that name as of view at. The name is a path
// from the root object, any one and not only that of Walk; or if no path is
// equal to it an oid, as 16 hexadecimal digits or as Python shows it: 0x2a. An oid
// also finds what no path leads to, and the entry has the oid for its path then.
//
// Blocks and Rev of the entry are not known; Measure finds them out. An array
// whose record is not understood is found: see Entry.ArrayErr.
//
// Errors: *NotFoundError, *WrongKindError, those of storage.Loader,
// *storage.CorruptError, *bigfile.NotBigFileError for the file of an array.
func Find(ctx context.Context, src storage.Loader, at zodb.Tid, name string) (*Entry, error) {
	r := reader{src, at}
	label := name
	o, err := r.resolve(ctx, name)
	if err == nil && o == nil {
		oid, ok := ParseOid(name)
		if !ok {
			return nil, r.notFound(ctx, name)
		}
		label = oid.String()
		o, err = r.object(ctx, oid)
		if err != nil && storage.IsNoData(err) {
			return nil, &NotFoundError{Name: name}
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if o.kind != arrayKind && o.kind != fileKind {
		return nil, &WrongKindError{Name: name, Oid: o.oid, Is: "an object of class " + o.class.String()}
	}
	e := newEntry(label, o)
	err = e.Err
	if err == nil {
		err = r.measure(ctx, e, false)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return e, nil
}

// ParseOid parses both text forms of an oid: 16 digits, and as Python shows it.
func ParseOid(text string) (zodb.Oid, bool) {
	if id, ok := storage.ParseID(text); ok {
		return zodb.Oid(id), true
	}
	digits, ok := strings.CutPrefix(text, "0x")
	if !ok {
		return 0, false
	}
	id, err := strconv.ParseUint(digits, 16, 64)
	return zodb.Oid(id), err == nil
}

// resolve returns the object that a path leads to, nil if there is no such path.
// If something on the way cannot be read the error says so, unless another way
// leads there.
func (r reader) resolve(ctx context.Context, name string) (*object, error) {
	p := resolving{reader: r, ctx: ctx, tried: make(map[place]bool)}
	o, err := p.from(place{oid: rootOid, rest: name})
	if err == nil && o == nil && p.trouble != nil {
		return nil, p.trouble
	}
	return o, err
}

// place is where one may be on the way: at an object, and there, or with that
// much of the name still to go. The rest of the name may be empty, because
// keys may.
type place struct {
	oid   zodb.Oid
	rest  string
	there bool
}

// resolving follows a name. A name may be cut into keys in several ways, which are
// tried one after another, those with long keys first.
type resolving struct {
	reader
	ctx     context.Context
	tried   map[place]bool
	trouble error // the first thing that could not be read
}

// from returns the object that is reached from a place, nil if there is none.
func (p *resolving) from(at place) (*object, error) {
	if p.tried[at] {
		return nil, nil
	}
	p.tried[at] = true
	o, err := p.object(p.ctx, at.oid)
	if err != nil {
		if endsWalk(p.ctx, err) {
			return nil, err
		}
		if !(at.oid == rootOid && storage.IsNoData(err)) {
			p.note(err)
		}
		return nil, nil
	}
	if at.there {
		return o, nil
	}
	if o.kind == dataKind || o.kind == fileKind {
		return nil, nil
	}
	m := matching{p: p, rest: at.rest, nodes: make(map[zodb.Oid]bool)}
	if err := p.links(p.ctx, o, &m); err != nil {
		return nil, err
	}
	slices.SortStableFunc(m.next, func(a, b place) int { return cmp.Compare(len(a.rest), len(b.rest)) })
	for _, next := range m.next {
		if o, err := p.from(next); o != nil || err != nil {
			return o, err
		}
	}
	return nil, nil
}

func (p *resolving) note(err error) {
	if p.trouble == nil {
		p.trouble = err
	}
}

// matching collects the links of one object that lead on.
type matching struct {
	p     *resolving
	rest  string
	nodes map[zodb.Oid]bool // seen nodes of a tree
	next  []place
}

// link implements visitor.
func (m *matching) link(names []string, ref pickle.Ref) error {
	rest := m.rest
	for i, name := range names {
		after, ok := strings.CutPrefix(rest, name)
		switch {
		case !ok:
			return nil
		case after == "" && i == len(names)-1:
			m.next = append(m.next, place{oid: ref.Oid, there: true})
			return nil
		}
		if rest, ok = strings.CutPrefix(after, "/"); !ok {
			return nil
		}
	}
	m.next = append(m.next, place{oid: ref.Oid, rest: rest})
	return nil
}

// node implements visitor.
func (m *matching) node(oid zodb.Oid) bool {
	if m.nodes[oid] {
		return false
	}
	m.nodes[oid] = true
	return true
}

// lost implements visitor.
func (m *matching) lost(_ zodb.Oid, err error) error {
	m.p.note(err)
	return nil
}

// maxNearObjects bounds how many objects are looked at for names that may have
// been meant: about a second of work.
const maxNearObjects = 20_000

var errEnough = errors.New("enough objects")

// notFound returns the error for a name that leads nowhere.
func (r reader) notFound(ctx context.Context, name string) error {
	near := nearNames{name: strings.ToLower(name)}
	var w *walk
	w = newWalk(ctx, r, func(e *Entry) error {
		if e.File != 0 {
			near.add(e.Path)
		}
		if w.objects > maxNearObjects {
			return errEnough
		}
		return nil
	})
	if err := w.run(); err != nil && endsWalk(ctx, err) {
		return fmt.Errorf("%s: %w", name, err)
	}
	return &NotFoundError{Name: name, Near: near.best()}
}
