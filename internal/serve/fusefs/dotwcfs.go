package fusefs

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// dotwcfsNode is .wcfs/, about the server itself.
type dotwcfsNode struct {
	fs.Inode
	readOnlyDir
	tree *FS
}

func (n *dotwcfsNode) OnAdd(ctx context.Context) {
	opt := &n.tree.opt
	timeout := fmt.Sprintf("%.1f", opt.PinTimeout.Seconds())
	n.tree.addStatic(ctx, &n.Inode, "zurl", &staticFile{tree: n.tree, content: []byte(opt.ZURL), onOpen: opt.OnClient}, fuse.S_IFREG)
	n.tree.addStatic(ctx, &n.Inode, "pintimeout", &staticFile{tree: n.tree, content: []byte(timeout)}, fuse.S_IFREG)
	if opt.Debug {
		n.tree.addStatic(ctx, &n.Inode, "debug", &debugNode{tree: n.tree}, fuse.S_IFDIR)
	}
	n.tree.addStatic(ctx, &n.Inode, "stats", &dynamicFile{tree: n.tree, content: n.tree.stats}, fuse.S_IFREG)
	if opt.Reach != nil {
		reach := func() []byte { return []byte(opt.Reach().String() + "\n") }
		n.tree.addStatic(ctx, &n.Inode, "storage", &dynamicFile{tree: n.tree, content: reach}, fuse.S_IFREG)
	}
	for _, node := range []*snapshotNode{
		{name: "metrics", text: opt.Observer.Text, step: metricsStep},
		{name: "clients", text: n.tree.clients, own: true},
	} {
		node.tree = n.tree
		n.tree.addStatic(ctx, &n.Inode, node.name, node, fuse.S_IFREG)
	}
	n.tree.addStatic(ctx, &n.Inode, traceName, &traceNode{tree: n.tree}, fuse.S_IFREG)
}

func (n *dotwcfsNode) attr(out *fuse.Attr) time.Duration {
	n.tree.access.dir(out)
	return 0
}

func (n *dotwcfsNode) Getattr(ctx context.Context, fh fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	return getattr(n, out)
}

func (n *dotwcfsNode) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return lookupStatic(&n.Inode, name, out)
}

// staticFile is a small file that never changes.
type staticFile struct {
	fs.Inode
	readOnlyFile
	tree    *FS
	content []byte
	onOpen  func(delta int) // called at open and close; may be nil
}

func (n *staticFile) attr(out *fuse.Attr) time.Duration {
	n.tree.access.file(out)
	out.Size = uint64(len(n.content))
	return 0
}

func (n *staticFile) Getattr(ctx context.Context, fh fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	return getattr(n, out)
}

func (n *staticFile) Open(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	if writing(flags) {
		return nil, 0, syscall.EROFS
	}
	// A page that could not be read since the server has died is EIO, and not the
	// error of the connection that whoever looks for a dead server knows.
	if n.onOpen == nil {
		return nil, fuse.FOPEN_DIRECT_IO, 0
	}
	n.onOpen(+1)
	return openHandle{n.onOpen}, fuse.FOPEN_DIRECT_IO, 0
}

// openHandle tells when it is closed. The FUSE library passes RELEASE on only
// for opens that have a handle.
type openHandle struct{ onOpen func(delta int) }

func (h openHandle) Release(ctx context.Context) syscall.Errno {
	h.onOpen(-1)
	return 0
}

func (n *staticFile) Read(ctx context.Context, fh fs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	return fuse.ReadResultData(clamp(n.content, len(dest), off)), 0
}

// dynamicFile is a small file whose content is made at every READ. The kernel
// caches nothing of it and passes on any offset and length.
type dynamicFile struct {
	fs.Inode
	readOnlyFile
	tree    *FS
	content func() []byte
}

func (n *dynamicFile) attr(out *fuse.Attr) time.Duration {
	n.tree.access.file(out)
	out.Size = uint64(len(n.content()))
	return changing
}

func (n *dynamicFile) Getattr(ctx context.Context, fh fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	return getattr(n, out)
}

func (n *dynamicFile) Open(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	if writing(flags) {
		return nil, 0, syscall.EROFS
	}
	return nil, fuse.FOPEN_DIRECT_IO, 0
}

func (n *dynamicFile) Read(ctx context.Context, fh fs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	return fuse.ReadResultData(clamp(n.content(), len(dest), off)), 0
}

// clamp returns what READ of n bytes at off gets of content. A reply longer
// than asked would make the kernel report EIO (fuse_dev_do_write of Linux).
func clamp(content []byte, n int, off int64) []byte {
	if off < 0 || off >= int64(len(content)) {
		return nil
	}
	content = content[off:]
	return content[:min(n, len(content))]
}
