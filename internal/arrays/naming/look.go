package naming

import (
	"context"
	"fmt"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/arrays/catalog"
	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// Notes on an entry: facts that take a load to find out.
const (
	isKnown = 1 << iota
	isDir
	hasNPY
	hasJSON
)

// known reports whether nothing has to be loaded to know what an entry is.
func (d *directory) known(pos int) bool {
	e := &d.entries[pos]
	return e.inside != nil || e.class == containerKind || e.class == fileKind || d.notes[pos].Load() != 0
}

// look returns what the object of an entry is. Errors are those that do not concern the
// object alone.
func (t *Tree) look(ctx context.Context, at zodb.Tid, dir *directory, pos int) (note uint32, err error) {
	e := &dir.entries[pos]
	switch {
	case e.class == containerKind:
		return isDir, nil
	case e.class == fileKind:
		return hasJSON, nil
	}
	if note = dir.notes[pos].Load(); note != 0 {
		return note, nil
	}
	o, err := catalog.Look(ctx, t.src, at, e.oid)
	switch missing := err != nil && storage.IsNoData(err); {
	case err == nil:
		note = noteOf(o)
	case !missing && !bigfile.IsDamage(err):
		return 0, fmt.Errorf("look at object %s: %w", e.oid, err)
	case e.class == arrayKind:
		note = hasJSON // with the reason
	case !missing:
		note = isDir // to get the error from
	}
	note |= isKnown
	dir.notes[pos].Store(note)
	return note, nil
}

func noteOf(o *catalog.Object) (note uint32) {
	if o.Leads() {
		note |= isDir
	}
	if e := o.Entry(); e != nil {
		note |= hasJSON
		if _, err := header(e); err == nil {
			note |= hasNPY
		}
	}
	return note
}
