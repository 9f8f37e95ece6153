package changes

import (
	"context"
	"errors"
	"math"

	"lab.nexedi.com/kirr/go123/xerr"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/btree"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// state is a file as of one view.
type state struct {
	loader storage.Loader
	src    bigfile.Source
	array  zodb.Oid // 0: none
	oid    zodb.Oid // of the ZBigFile

	at      zodb.Tid
	file    *bigfile.File // nil: does not exist, or cannot be read
	fileErr error         // why it cannot be read
	size    int64         // bytes
	sizeErr error         // size is not what reading would find, and why
	table
}

// table is the nodes of a block table and what they lead to, as of one view.
type table struct {
	nodes map[zodb.Oid]place
	bad   map[zodb.Oid]error // nodes with something unknown below, and why
	links links

	tangled bool // it has nodes that are linked more than once, or too deep
}

// place is where a node is in its tree.
type place struct {
	keys   Range    // that are routed to it
	parent zodb.Oid // InvalidOid for the root
}

func newTable() table {
	return table{nodes: make(map[zodb.Oid]place), bad: make(map[zodb.Oid]error), links: newLinks()}
}

// newState returns the file as of a view at which nothing exists.
func newState(loader storage.Loader, array, file zodb.Oid) *state {
	return &state{
		loader: loader,
		src:    bigfile.Direct{Direct: btree.Direct{Loader: loader}},
		array:  array,
		oid:    file,
		table:  newTable(),
	}
}

// load makes s, which is new, the file as of view at.
func (s *state) load(ctx context.Context, at zodb.Tid) (err error) {
	defer xerr.Contextf(&err, "block table of %s", s.oid)
	_, err = s.advance(ctx, at, []zodb.Oid{s.oid})
	return err
}

// concerns reports whether s may be another one once the object changed.
func (s *state) concerns(oid zodb.Oid) bool {
	_, node := s.nodes[oid]
	return oid == s.oid || node || s.array != 0 && oid == s.array || s.links.has(oid) || s.tangled
}

// damage returns why some of s could not be read, nil if all could. Of several
// nodes it names the one with the lowest oid, so that it is always the same.
func (s *state) damage() error {
	switch {
	case s.fileErr != nil:
		return s.fileErr
	case len(s.bad) == 0:
		return s.sizeErr
	}
	first := zodb.InvalidOid
	for oid := range s.bad {
		first = min(first, oid)
	}
	return s.bad[first]
}

// span returns the blocks that can be read.
func span(f *bigfile.File) Range {
	if f == nil {
		return Range{0, -1}
	}
	return Range{0, math.MaxInt64/f.BlkSize - 1}
}

// loadFile loads the ZBigFile as of view at.
func (s *state) loadFile(ctx context.Context, at zodb.Tid) (f *bigfile.File, damaged, err error) {
	f, _, err = s.src.File(ctx, zodb.Xid{At: at, Oid: s.oid})
	var other *bigfile.NotBigFileError
	switch {
	case storage.IsNoData(err) || errors.As(err, &other):
		return nil, nil, nil
	case damage(err):
		return nil, err, nil
	case err != nil:
		return nil, nil, err
	}
	return f, nil, nil
}

// measure sets the size. Nodes that cannot be read count as empty.
func (s *state) measure(ctx context.Context) error {
	s.size, s.sizeErr = 0, nil
	if s.file == nil {
		return nil
	}
	size, _, err := bigfile.Size(ctx, readable{s.src}, s.file, s.at)
	if errors.Is(err, bigfile.ErrTooBig) || damage(err) {
		s.size, s.sizeErr = (s.links.last()+1)*s.file.BlkSize, err
		return nil
	}
	s.size = size
	return err
}

// readable is a Source that shows nodes which cannot be read as empty.
type readable struct{ src btree.Source }

func (r readable) Node(ctx context.Context, xid zodb.Xid) (*btree.Node, zodb.Tid, error) {
	n, serial, err := r.src.Node(ctx, xid)
	if damage(err) {
		return btree.Empty, serial, nil
	}
	return n, serial, err
}
