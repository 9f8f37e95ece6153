// Package past serves files as they were at a past view.
//
// # Nouns
//
// A View is the database as of one tid, a File one ZBigFile in it. Both are
// immutable: size, block size and every byte stay what they are, so there is
// nothing to lock, to invalidate or to wait for. All views share the node cache
// they are given; blocks are held only while a request needs them.
//
// # Ownership
//
// A View owns nothing that must be closed. Its loads run in goroutines of the
// bigfile.Loader it was made with.
package past

import (
	"context"
	"fmt"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/core/form"
	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/btree"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// Kept gives content that somebody has in memory already, zeros at the end of
// blocks included. The caller must release it.
type Kept interface {
	// Block returns the content of a block as of view at, or nil.
	Block(ctx context.Context, oid zodb.Oid, blk int64, at zodb.Tid) *storage.Buf

	// Settle makes Next find all that is there.
	Settle(ctx context.Context, oid zodb.Oid, at zodb.Tid) error

	// Next returns, one after another, the blocks whose revision is at: the
	// first after seq, and the seq to ask with the next time; nil content if
	// there is no more.
	Next(oid zodb.Oid, at zodb.Tid, seq uint64) (blk int64, buf *storage.Buf, next uint64)
}

// View is the database as of one tid.
type View struct {
	at     zodb.Tid
	source bigfile.Source
	data   storage.Loader
	loader *bigfile.Loader
	kept   Kept
}

// NewView returns the view at. Nodes come from source, and blocks from kept or
// else from data.
func NewView(at zodb.Tid, source bigfile.Source, data storage.Loader, loader *bigfile.Loader, kept Kept) *View {
	return &View{at: at, source: source, data: data, loader: loader, kept: kept}
}

// At returns the tid of the view.
func (v *View) At() zodb.Tid { return v.at }

// File is one ZBigFile at a view.
type File struct {
	view  *View
	oid   zodb.Oid
	obj   *bigfile.File
	rev   zodb.Tid
	size  int64
	loads *loads
	store keptStore

	header form.Header // of an array

	ahead  *bigfile.Ahead[int64, *bigfile.Block]
	window bigfile.Window[int64]
}

// Open opens the file oid. Errors are those of storage.Loader, and
// *bigfile.NotBigFileError when the object is something else.
func (v *View) Open(ctx context.Context, oid zodb.Oid) (*File, error) {
	obj, rev, err := v.source.File(ctx, zodb.Xid{At: v.at, Oid: oid})
	if err != nil {
		return nil, fmt.Errorf("bigfopen %s @%s: %w", oid, v.at, err)
	}
	size, path, err := bigfile.Size(ctx, v.source, obj, v.at)
	if err == nil {
		err = btree.MissingError(path, v.at)
	}
	if err != nil {
		return nil, fmt.Errorf("bigfopen %s @%s: size: %w", oid, v.at, err)
	}
	f := &File{view: v, oid: oid, obj: obj, rev: rev, size: size}
	f.loadFromView()
	return f, nil
}

// OpenArray opens an array: its items, with the header before them.
func (v *View) OpenArray(ctx context.Context, array *form.Form) (*File, error) {
	f, err := v.Open(ctx, array.File)
	if err != nil {
		return nil, err
	}
	f.size, f.header, f.rev = array.Items, array.Header, array.Rev
	f.loadFromView()
	return f, nil
}

// loadFromView makes the blocks of f come from its view.
func (f *File) loadFromView() {
	f.loadFrom(f.loadBlk)
	f.loads.Together(f.view.data, f.obj.BlkSize, f.beginBlks)
}

// loadFrom makes the blocks of f come from load.
func (f *File) loadFrom(load func(ctx context.Context, blk int64) (*bigfile.Block, error)) {
	f.loads = bigfile.NewLoads(f.view.loader, load)
	f.ahead = bigfile.NewAhead(f.loads)
	f.window = bigfile.Window[int64]{BlkSize: f.obj.BlkSize, End: f.size / f.obj.BlkSize, Key: func(blk int64) int64 { return blk }}
}

// Oid returns which object it is.
func (f *File) Oid() zodb.Oid { return f.oid }

// At returns the view.
func (f *File) At() zodb.Tid { return f.view.at }

// Size returns the size in bytes, without the header. The size of a file is a multiple of
// BlkSize.
func (f *File) Size() int64 { return f.size }

// BlkSize returns the size of a block in bytes.
func (f *File) BlkSize() int64 { return f.obj.BlkSize }

// Rev returns the revision of the ZBigFile object, not of its data.
func (f *File) Rev() zodb.Tid { return f.rev }

// loadBlk loads one block.
func (f *File) loadBlk(ctx context.Context, blk int64) (*bigfile.Block, error) {
	place := f.find(ctx, blk)
	return place.Load(ctx, f.view.data)
}

// beginBlks is loadBlk of several blocks, whose objects are loaded together.
func (f *File) beginBlks(ctx context.Context, blks []int64) []bigfile.Begun[*bigfile.Block] {
	places := make([]bigfile.Place, len(blks))
	for i, blk := range blks {
		places[i] = f.find(ctx, blk)
	}
	return bigfile.BeginBlocks(ctx, f.view.data, places)
}

// find finds the place of a block; a hole has no data.
func (f *File) find(ctx context.Context, blk int64) bigfile.Place {
	if buf := f.view.kept.Block(ctx, f.oid, blk, f.view.at); buf != nil {
		f.view.loader.Count(bigfile.FromKept)
		return bigfile.Place{Block: bigfile.NewBlock(buf, 0)}
	}
	found, err := btree.Lookup(ctx, f.view.source, f.obj.Table, f.view.at, blk)
	if err == nil {
		err = btree.MissingError(found.Path, f.view.at)
	}
	if err != nil {
		return bigfile.Place{Err: err}
	}
	f.view.loader.Count(bigfile.FromDatabase)
	if !found.OK {
		return bigfile.Place{Block: &bigfile.Block{}}
	}
	return bigfile.Place{ZBlk: found.Value, At: f.view.at, BlkSize: f.obj.BlkSize}
}
