package fusefs

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/wcfs/wcfs/internal/bigfile"
	"github.com/wcfs/wcfs/internal/rev"
)

// fileNode is a ZBigFile as a plain file.
type fileNode struct {
	fs.Inode
	readOnlyFile
	tree *FS
	file *rev.File
	path string // from the root of the mount, for messages
}

func (n *fileNode) attr(out *fuse.Attr) time.Duration {
	out.Mode = fuse.S_IFREG | 0o444
	out.Size = uint64(n.file.Size())
	out.Blksize = uint32(n.file.BlkSize())
	setTime(out, n.file.Rev())
	return 0
}

func (n *fileNode) Getattr(ctx context.Context, fh fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	return getattr(n, out)
}

// Open lets the kernel keep what it has cached of the file: the server itself
// invalidates what changes.
func (n *fileNode) Open(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	if writing(flags) {
		return nil, 0, syscall.EROFS
	}
	return nil, fuse.FOPEN_KEEP_CACHE, 0
}

// Read answers with slices of the loaded blocks: dest, the buffer of the FUSE
// library, is not used.
func (n *fileNode) Read(ctx context.Context, fh fs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	reply, err := n.file.Read(n.tree.ctx, n, off, len(dest))
	if err != nil {
		return nil, errno(fmt.Errorf("%s: %w", n.path, err))
	}
	return readResult{reply}, 0
}

// Store puts data into the page cache of the file.
func (n *fileNode) Store(off int64, data []byte) error {
	if e := n.WriteCache(off, data); e != 0 {
		return fmt.Errorf("%s: store [%d +%d): %w", n.path, off, len(data), e)
	}
	return nil
}

// readResult hands a reply to the FUSE library, which writes the slices with
// one writev(2) and calls Done after it. Without Slices it would call Done
// before the bytes are written when splicing is disabled.
type readResult struct{ reply *bigfile.Reply }

func (r readResult) Size() int                       { return r.reply.Size() }
func (r readResult) Slices() ([][]byte, fuse.Status) { return r.reply.Slices(), fuse.OK }
func (r readResult) Done()                           { r.reply.Release() }
func (r readResult) Bytes(buf []byte) ([]byte, fuse.Status) {
	buf = buf[:0]
	for _, piece := range r.reply.Slices() {
		buf = append(buf, piece...)
	}
	return buf, fuse.OK
}
