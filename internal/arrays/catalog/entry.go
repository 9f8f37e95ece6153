package catalog

import (
	"context"
	"errors"
	"fmt"
	"math"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/arrays/ndarray"
	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/btree"
	"github.com/wcfs/wcfs/internal/zodb/pickle"
	"github.com/wcfs/wcfs/internal/zodb/record"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// Entry tells one array, or one file that is no array's own, as of a view.
type Entry struct {
	Path  string   // from the root object, or the oid if the entry was found by that
	Oid   zodb.Oid // of the ZBigArray or ZBigFile
	Class record.Class

	// Array is what the record of an array says, nil for a file. It is also nil
	// if that is not understood; then ArrayErr says why, and the file may be
	// fine.
	Array    *ndarray.Array
	ArrayErr error

	File    zodb.Oid // the ZBigFile that has the data
	BlkSize int64    // bytes of a block
	Size    int64    // bytes of the file: up to the end of its last stored block
	Blocks  int64    // stored blocks; set by Walk and Measure
	Rev     zodb.Tid // last change of data or objects; set by Walk and Measure

	// Err says why the file cannot be read, if it cannot. Fields that could
	// be found out before that are set.
	Err error
}

// newEntry returns the entry of an array or file, without what its file tells.
func newEntry(path string, o *object) *Entry {
	e := &Entry{Path: path, Oid: o.oid, Class: o.class, File: o.oid, Rev: o.serial}
	if o.kind == fileKind {
		return e
	}
	e.Array, e.ArrayErr = ndarray.DecodeArray(o.state)
	if e.ArrayErr != nil {
		e.Array = nil
	}
	ref, ok := attribute(o.state, zfileAttr).(pickle.Ref)
	if !ok {
		e.Err = &storage.CorruptError{Oid: o.oid, Tid: o.serial, Err: errors.New("the array has no file: " + zfileAttr + " is no reference")}
	}
	e.File = ref.Oid
	return e
}

// Measure sets Blocks and Rev. It looks at every block of the file, though not at
// its data if the loader is a storage.Serialer; else it loads all of the file.
// Errors are those of storage.Loader, *storage.CorruptError and
// *bigfile.NotBigFileError.
func (e *Entry) Measure(ctx context.Context, src storage.Loader, at zodb.Tid) error {
	return reader{src, at}.measure(ctx, e, true)
}

// measure sets what the file tells: its sizes, and if that is wanted what its
// blocks tell.
func (r reader) measure(ctx context.Context, e *Entry, blocks bool) error {
	m := measurer{reader: r, rev: e.Rev}
	f, serial, err := bigfile.Direct{Direct: btree.Direct{Loader: r.src}}.File(ctx, zodb.Xid{At: r.at, Oid: e.File})
	if err != nil {
		return fmt.Errorf("file %s: %w", e.File, err)
	}
	m.seen(serial)
	e.BlkSize = f.BlkSize
	size, _, err := bigfile.Size(ctx, &m, f, r.at)
	if err != nil {
		return fmt.Errorf("file %s: %w", e.File, err)
	}
	e.Size = size
	if !blocks {
		return nil
	}
	if err := m.blocks(ctx, f); err != nil {
		return fmt.Errorf("file %s: %w", e.File, err)
	}
	e.Blocks, e.Rev = m.count, m.rev
	return nil
}

// measurer goes through a block table and its blocks. It is a btree.Source that
// notes serials, and does not take missing nodes for empty ones.
type measurer struct {
	reader
	count int64    // blocks
	rev   zodb.Tid // newest serial
}

func (m *measurer) seen(serial zodb.Tid) { m.rev = max(m.rev, serial) }

// Node implements btree.Source.
func (m *measurer) Node(ctx context.Context, xid zodb.Xid) (*btree.Node, zodb.Tid, error) {
	n, serial, err := btree.Load(ctx, m.src, xid)
	if err != nil && storage.IsNoData(err) {
		err = btree.MissingError([]btree.Step{{Oid: xid.Oid, Missing: true}}, xid.At)
	}
	m.seen(serial)
	return n, serial, err
}

func (m *measurer) blocks(ctx context.Context, f *bigfile.File) error {
	return btree.Items(ctx, m, f.Table, m.at, 0, math.MaxInt64, func(blk int64, zblk zodb.Oid) error {
		serial, err := storage.Serial(ctx, m.src, zodb.Xid{At: m.at, Oid: zblk})
		if err != nil {
			return fmt.Errorf("block #%d: %w", blk, err)
		}
		m.count++
		m.seen(serial)
		return nil
	})
}
