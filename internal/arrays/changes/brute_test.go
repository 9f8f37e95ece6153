package changes

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/btree"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// view is everything about a file at one view, found in the simplest way.
type view struct {
	file    *bigfile.File
	unread  bool // the ZBigFile cannot be read
	array   []byte
	blocks  map[int64]zodb.Oid
	unknown map[int64]bool // blocks that cannot be looked up
}

// viewAt looks every block below nblk up.
func viewAt(t testing.TB, db storage.Loader, array, file zodb.Oid, at zodb.Tid, nblk int64) *view {
	v := &view{blocks: make(map[int64]zodb.Oid), unknown: make(map[int64]bool)}
	if buf, _, err := db.Load(ctx, zodb.Xid{At: at, Oid: array}); err == nil {
		v.array = buf.Data
	}
	direct := bigfile.Direct{Direct: btree.Direct{Loader: db}}
	src := once{direct, make(map[zodb.Oid]loaded)}
	f, _, err := direct.File(ctx, zodb.Xid{At: at, Oid: file})
	var other *bigfile.NotBigFileError
	var corrupt *storage.CorruptError
	switch {
	case storage.IsNoData(err) || errors.As(err, &other):
		return v
	case errors.As(err, &corrupt):
		v.unread = true
		return v
	}
	require.NoError(t, err)
	v.file = f
	root, _, _ := src.Node(ctx, zodb.Xid{At: at, Oid: f.Table})
	for blk := range nblk {
		if root != nil && root.Family() == btree.IO { // no table of blocks, though it can be looked up in
			v.unknown[blk] = true
			continue
		}
		found, err := btree.Lookup(ctx, src, f.Table, at, blk)
		if err == nil {
			err = btree.MissingError(found.Path, at)
		}
		switch {
		case errors.As(err, &corrupt):
			v.unknown[blk] = true
		case found.OK:
			v.blocks[blk] = found.Value
		default:
			require.NoError(t, err)
		}
	}
	return v
}

func (v *view) size() (size int64) {
	for blk := range v.blocks {
		size = max(size, (blk+1)*v.file.BlkSize)
	}
	return size
}

func (v *view) damaged() bool { return v.unread || len(v.unknown) > 0 }

// compare returns the change from view a to b, given the objects stored between.
// Damage is any error.
func compare(a, b *view, oids map[zodb.Oid]bool) *Change {
	c := &Change{OldSize: a.size(), NewSize: b.size()}
	switch {
	case a.unread || b.unread:
	case a.file == nil && b.file != nil:
		c.Events |= Created
	case a.file != nil && b.file == nil:
		c.Events |= Deleted
	case a.file != nil && *a.file != *b.file:
		c.Events |= Recreated
	}
	born := a.array == nil && c.Events&Created != 0
	died := b.array == nil && c.Events&Deleted != 0
	if !bytes.Equal(a.array, b.array) && !born && !died {
		c.Events |= Metadata
	}
	if b.damaged() && !a.damaged() {
		c.Events |= Damaged
	}
	if a.damaged() || b.damaged() {
		c.Damage = errors.New("damaged")
	}
	for _, f := range []*bigfile.File{a.file, b.file} {
		if f != nil {
			c.BlkSize = f.BlkSize
		}
	}
	changed := make(map[int64]bool)
	if a.file != nil && b.file != nil && a.file.BlkSize != b.file.BlkSize {
		for blk := range a.blocks { // byte by byte
			for pos := blk * a.file.BlkSize; pos < (blk+1)*a.file.BlkSize; pos++ {
				changed[pos/b.file.BlkSize] = true
			}
		}
		for blk := range b.blocks {
			changed[blk] = true
		}
	} else {
		for blk, zblk := range a.blocks {
			if other, ok := b.blocks[blk]; !ok || other != zblk || oids[zblk] {
				changed[blk] = true
			}
		}
		for blk := range b.blocks {
			if _, ok := a.blocks[blk]; !ok {
				changed[blk] = true
			}
		}
	}
	c.NBlocks = int64(len(changed))
	for blk := range changed {
		c.Blocks = append(c.Blocks, Range{blk, blk})
	}
	c.setBlocks(c.Blocks)
	return c
}

// requireSame compares a change with what brute force found. The damage that
// it names is not compared.
func requireSame(t testing.TB, want, got *Change, msg ...any) {
	t.Helper()
	w, g := *want, *got
	require.Equal(t, w.Damage != nil, g.Damage != nil, msg...)
	w.Damage, g.Damage = nil, nil
	if len(w.Blocks) == 0 && len(g.Blocks) == 0 {
		w.Blocks, g.Blocks = nil, nil
	}
	require.Equal(t, w, g, msg...)
}

// collect returns what Log gives.
func collect(t testing.TB, db Database, array, file zodb.Oid, lo, hi zodb.Tid) (changes []*Change) {
	t.Helper()
	require.NoError(t, Log(ctx, db, array, file, lo, hi, func(c *Change) error {
		changes = append(changes, c)
		return nil
	}))
	return changes
}

// blocksOf returns the blocks of a change one by one.
func blocksOf(c *Change) (blks []int64) {
	for _, r := range c.Blocks {
		for blk := r.Lo; blk <= r.Hi; blk++ {
			blks = append(blks, blk)
		}
	}
	return blks
}

// requireCovers requires that c has all blks.
func requireCovers(t testing.TB, c *Change, blks []int64, msg ...any) {
	t.Helper()
	have := blocksOf(c)
	for _, blk := range blks {
		if !slices.Contains(have, blk) {
			require.Fail(t, "block is missing", "#%d not in %v; %v", blk, c.Blocks, msg)
		}
	}
}

// once is a source for one view that loads each node once.
type once struct {
	src   btree.Source
	nodes map[zodb.Oid]loaded
}

type loaded struct {
	n      *btree.Node
	serial zodb.Tid
	err    error
}

func (o once) Node(ctx context.Context, xid zodb.Xid) (*btree.Node, zodb.Tid, error) {
	l, ok := o.nodes[xid.Oid]
	if !ok {
		l.n, l.serial, l.err = o.src.Node(ctx, xid)
		o.nodes[xid.Oid] = l
	}
	return l.n, l.serial, l.err
}
