package transfer

import (
	"context"
	"fmt"
	"io"
	"math"

	"golang.org/x/sync/errgroup"
	"lab.nexedi.com/kirr/go123/xerr"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/btree"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// Blocks that are loaded ahead of what is being written: a few, and fewer if
// they are big.
const (
	maxAhead      = 8
	maxAheadBytes = 32 << 20
)

// Copy writes the bytes [off, off+n) of the ZBigFile file as of view at to w, in
// order. Holes and what is behind the end of the file are zeros. progress, if
// not nil, is told how many more bytes are written.
//
// Errors are those of storage.Loader, *bigfile.NotBigFileError,
// *storage.CorruptError, and those of w, all wrapped.
func Copy(ctx context.Context, src storage.Loader, at zodb.Tid, file zodb.Oid, off, n int64, w io.Writer, progress func(int64)) (err error) {
	if off < 0 || n < 0 || off > math.MaxInt64-n {
		return fmt.Errorf("read %d bytes at %d of file %s: there is no such range", n, off, file)
	}
	defer xerr.Contextf(&err, "read file %s", file)
	f, _, err := bigfile.Direct{Direct: btree.Direct{Loader: src}}.File(ctx, zodb.Xid{At: at, Oid: file})
	if err != nil {
		return err
	}
	if progress == nil {
		progress = func(int64) {}
	}
	g, ctx := errgroup.WithContext(ctx)
	ahead := min(maxAhead, max(1, maxAheadBytes/f.BlkSize))
	l := &lookahead{src: src, at: at, file: f, group: g, loads: make(chan *load, ahead)}
	out := &copier{w: w, pos: off, end: off + n, blksize: f.BlkSize, progress: progress}
	g.Go(func() error { return l.run(ctx, off, n) })
	g.Go(func() error { return out.run(ctx, l.loads) })
	return g.Wait()
}

// load is one block on its way into memory.
type load struct {
	blk   int64
	done  chan struct{} // closed when the block is there
	block *bigfile.Block
}

// lookahead loads the blocks of a range. The channel bounds how many are on
// their way or wait to be written.
type lookahead struct {
	src   storage.Loader
	at    zodb.Tid
	file  *bigfile.File
	group *errgroup.Group
	loads chan *load // ascending; closed behind the last one, but not after an error
}

func (l *lookahead) run(ctx context.Context, off, n int64) error {
	if n == 0 {
		close(l.loads)
		return nil
	}
	first, last := off/l.file.BlkSize, (off+n-1)/l.file.BlkSize
	err := btree.Items(ctx, strictNodes{l.src}, l.file.Table, l.at, first, last, func(blk int64, zblk zodb.Oid) error {
		ld := &load{blk: blk, done: make(chan struct{})}
		select {
		case l.loads <- ld:
		case <-ctx.Done():
			return ctx.Err()
		}
		l.group.Go(func() (err error) {
			ld.block, err = bigfile.LoadBlock(ctx, l.src, zblk, l.at, l.file.BlkSize)
			if err == nil {
				close(ld.done)
			}
			return err
		})
		return nil
	})
	if err == nil {
		close(l.loads)
	}
	return err
}

// strictNodes gives nodes of block tables. One that does not exist is an error
// and no empty one: that would give zeros for what was packed away.
type strictNodes struct{ src storage.Loader }

func (s strictNodes) Node(ctx context.Context, xid zodb.Xid) (*btree.Node, zodb.Tid, error) {
	node, serial, err := btree.Load(ctx, s.src, xid)
	if err != nil && storage.IsNoData(err) {
		err = btree.MissingError([]btree.Step{{Oid: xid.Oid, Missing: true}}, xid.At)
	}
	return node, serial, err
}

// copier writes blocks, and zeros between them.
type copier struct {
	w        io.Writer
	pos, end int64 // in the file, what is left to write
	blksize  int64
	progress func(int64)
	hole     []byte // zeros; nil until needed
}

func (c *copier) run(ctx context.Context, loads <-chan *load) error {
	for {
		ld, err := next(ctx, loads)
		if err != nil {
			return err
		}
		if ld == nil {
			return c.zeros(ctx, c.end)
		}
		err = c.block(ctx, ld)
		ld.block.Release()
		if err != nil {
			return err
		}
	}
}

// next waits for the next block, nil behind the last one.
func next(ctx context.Context, loads <-chan *load) (*load, error) {
	select {
	case ld, ok := <-loads:
		if !ok {
			return nil, nil
		}
		select {
		case <-ld.done:
			return ld, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// block writes what is wanted of a block, and the zeros before it.
func (c *copier) block(ctx context.Context, ld *load) error {
	start := ld.blk * c.blksize
	if err := c.zeros(ctx, start); err != nil {
		return err
	}
	data := ld.block.Data
	data = data[min(c.pos-start, int64(len(data))):]
	data = data[:min(c.end-c.pos, int64(len(data)))]
	return c.write(data)
}

// zeros writes zeros up to position to, if it is not there yet.
func (c *copier) zeros(ctx context.Context, to int64) error {
	for c.pos < to {
		if err := ctx.Err(); err != nil {
			return err
		}
		if c.hole == nil {
			c.hole = make([]byte, min(c.end-c.pos, 256<<10))
		}
		if err := c.write(c.hole[:min(to-c.pos, int64(len(c.hole)))]); err != nil {
			return err
		}
	}
	return nil
}

func (c *copier) write(data []byte) error {
	n, err := c.w.Write(data)
	if err == nil && n < len(data) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return fmt.Errorf("write: %w", err)
	}
	c.pos += int64(n)
	c.progress(int64(n))
	return nil
}
