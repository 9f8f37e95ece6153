package fsck

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/arrays/catalog"
	"github.com/wcfs/wcfs/internal/arrays/changes"
	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/btree"
	"github.com/wcfs/wcfs/internal/zodb/fault"
	"github.com/wcfs/wcfs/internal/zodb/fs1"
	"github.com/wcfs/wcfs/internal/zodb/record"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// Damage is one thing that is wrong.
type Damage struct {
	fs1.Damage
	Name  string   // of the array or file, if there is one
	File  zodb.Oid // the ZBigFile, zodb.InvalidOid if it is about none
	Block int64    // -1 if it is about none
	Last  int64    // the last one of several blocks from Block on
	View  zodb.Tid // as of which the file was read, 0 if it was not
}

// Options say how to check. All functions must be set.
type Options struct {
	// Open opens the same database for reading. The caller closes it.
	Open func(ctx context.Context) (storage.Storage, error)

	AllViews bool
	Progress func(done, total int64) // bytes of the data file
	Loaded   func(n int64)           // bytes of blocks
	Found    func(Damage) error      // an error of it ends the check
}

// Summary is what was looked at, and how much of it is damaged.
type Summary struct {
	fs1.Checked
	Files, Blocks int64 // that were looked at; files that are deleted count
	Damages       int64
	Unreadable    int64 // blocks; those of each view are counted
}

// Sound reports whether nothing is wrong.
func (s *Summary) Sound() bool { return s.Damages == 0 }

// check is the state of one check.
type check struct {
	Options
	Summary
	ctx   context.Context
	store storage.Storage
	files map[zodb.Oid]string // all ZBigFiles that there ever were, with their names
}

// Check reads all of the database whose data file is at path. It tells its findings in
// the order of the data file, then ZBigFile by ZBigFile. The error is one of opening or
// reading, or of opt.Found; what is damaged is none.
func Check(ctx context.Context, path string, opt Options) (*Summary, error) {
	c := &check{Options: opt, ctx: ctx, files: make(map[zodb.Oid]string)}
	checked, err := fs1.Check(ctx, path, fs1.Checking{
		Progress: opt.Progress,
		Found: func(d fs1.Damage) error {
			return c.found(Damage{Damage: d, File: zodb.InvalidOid, Block: -1})
		},
		Record: c.record,
	})
	if checked != nil {
		c.Checked = *checked
	}
	if err != nil {
		return &c.Summary, err
	}
	return &c.Summary, c.arrays()
}

func (c *check) found(d Damage) error {
	c.Damages++
	return c.Found(d)
}

// record looks at the data of a record and returns what is wrong with it.
func (c *check) record(oid zodb.Oid, _ zodb.Tid, buf *storage.Buf) error {
	class, err := record.ClassOf(buf.Data)
	if err != nil {
		return nil // of a kind that is never served
	}
	switch class {
	case record.ZBigFile:
		c.files[oid] = ""
		_, err = bigfile.DecodeFile(buf.Data)
	case record.LOBTree, record.LOBucket, record.IOBTree, record.IOBucket:
		_, err = btree.Decode(buf.Data)
	case record.ZBlk, record.ZBlk0, record.ZBlk1, record.ZData:
		err = record.Decode(buf.Data, func(record.Class, record.Value) error { return nil })
	}
	return err
}

// arrays looks at all files as readers would.
func (c *check) arrays() error {
	store, err := c.Open(c.ctx)
	var refused *storage.OpenError
	switch {
	case errors.As(err, &refused) && refused.Reason == fault.NotADatabase && c.Damages > 0:
		return nil // that was told
	case err != nil:
		return err
	}
	defer store.Close()
	c.store = store
	head := store.Head()
	if err := c.names(head); err != nil {
		return err
	}
	for _, oid := range slices.Sorted(maps.Keys(c.files)) {
		c.Files++
		if err := c.file(oid, head); err != nil {
			return err
		}
		if !c.AllViews {
			continue
		}
		if err := c.past(oid, head); err != nil {
			return err
		}
	}
	return nil
}

// names finds what files are called.
func (c *check) names(head zodb.Tid) error {
	err := catalog.Walk(c.ctx, c.store, head, func(e *catalog.Entry) error {
		if _, ok := c.files[e.File]; ok && e.Path != "" {
			c.files[e.File] = e.Path
		}
		return nil
	})
	var damage *storage.CorruptError
	if errors.As(err, &damage) {
		return c.found(Damage{Damage: fs1.Damage{Pos: -1, Oid: damage.Oid, Tid: damage.Tid, What: "record: " + damage.Err.Error(),
			Means: "arrays are not found by their names"}, File: zodb.InvalidOid, Block: -1, View: head})
	}
	return err
}

// file looks at all blocks of a file as of a view.
func (c *check) file(oid zodb.Oid, at zodb.Tid) error {
	f, _, err := bigfile.Direct{Direct: btree.Direct{Loader: c.store}}.File(c.ctx, zodb.Xid{At: at, Oid: oid})
	if storage.IsNoData(err) {
		return nil // it was deleted, or is not created yet
	}
	if err != nil {
		return c.unreadable(oid, at, err, -1, -1, "the file cannot be read")
	}
	w := &walk{check: c, oid: oid, file: f, at: at}
	return w.node(f.Table, 0, maxBlock(f), 0)
}

// maxBlock returns the last block that a file can have.
func maxBlock(f *bigfile.File) int64 { return (1<<63-1)/f.BlkSize - 1 }

// unreadable tells that blocks of a file cannot be read, if err is damage.
func (c *check) unreadable(oid zodb.Oid, at zodb.Tid, err error, first, last int64, means string) error {
	d := Damage{Damage: fs1.Damage{Pos: -1, Oid: oid, Means: means}, Name: c.files[oid], File: oid, Block: first, Last: last, View: at}
	var damage *storage.CorruptError
	var packed *storage.PackedError
	var other *bigfile.NotBigFileError
	var missing *changes.MissingError
	switch {
	case c.ctx.Err() != nil:
		return c.ctx.Err()
	case errors.As(err, &damage) && damage.Oid != zodb.InvalidOid:
		d.Oid, d.Tid, d.What = damage.Oid, damage.Tid, damage.Err.Error()
	case errors.As(err, &other):
		return nil // the object has become something else
	case errors.As(err, &packed), errors.As(err, &missing), errors.As(err, &damage), errors.Is(err, bigfile.ErrTooBig), storage.IsNoData(err):
		d.What = err.Error()
	default:
		return err
	}
	return c.found(d)
}

// walk goes through the block table of a file.
type walk struct {
	*check
	oid  zodb.Oid
	file *bigfile.File
	at   zodb.Tid
}

// node looks at what a node maps of the blocks from lo to hi. It goes on with the
// other nodes when one cannot be read.
func (w *walk) node(oid zodb.Oid, lo, hi int64, depth int) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	n, _, err := btree.Load(w.ctx, w.store, zodb.Xid{At: w.at, Oid: oid})
	if err == nil && depth > btree.MaxDepth {
		err = &storage.CorruptError{Oid: oid, Tid: w.at, Err: errors.New("the block table is too deep: a node of it may be below itself")}
	}
	if err != nil {
		if storage.IsNoData(err) {
			err = &storage.CorruptError{Oid: oid, Tid: w.at, Err: fmt.Errorf("it is referred to and does not exist: %w", err)}
		}
		return w.unreadable(w.oid, w.at, err, lo, hi, "EIO for what is read of these blocks")
	}
	if !n.Leaf() {
		for i := range n.Oids() {
			child, clo, chi := n.Child(i, lo, hi)
			if clo > chi {
				continue
			}
			if err := w.node(child, clo, chi, depth+1); err != nil {
				return err
			}
		}
		return nil
	}
	for i, blk := range n.Keys() {
		if blk < lo || blk > hi {
			continue
		}
		if err := w.block(blk, n.Oids()[i]); err != nil {
			return err
		}
	}
	return nil
}

// block loads a block.
func (w *walk) block(blk int64, zblk zodb.Oid) error {
	w.Blocks++
	block, err := bigfile.LoadBlock(w.ctx, w.store, zblk, w.at, w.file.BlkSize)
	if err != nil {
		w.Unreadable++
		return w.unreadable(w.oid, w.at, err, blk, blk, "EIO for who reads the block")
	}
	w.Loaded(int64(len(block.Data)))
	block.Release()
	return nil
}
