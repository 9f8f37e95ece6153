package fusefs

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/core/live"
	"github.com/wcfs/wcfs/internal/serve/observe"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// headDirNode is head/bigfile/.
type headDirNode struct {
	fs.Inode
	readOnlyDir
	tree *FS

	mu sync.Mutex // adding and replacing children
}

func (n *headDirNode) attr(out *fuse.Attr) time.Duration {
	n.tree.access.dir(out)
	return 0
}

func (n *headDirNode) Getattr(ctx context.Context, fh fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	return getattr(n, out)
}

// Lookup finds the file of an oid, or opens it. Its node stays for good: there
// must never be two page caches of one file.
func (n *headDirNode) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	if child := n.GetChild(name); child != nil && child.Operations().(*headFileNode).file.Fenced() == nil {
		return entry(child, out)
	}
	oid, ok := storage.ParseID(name)
	if !ok {
		return nil, n.tree.errno(errNoName)
	}
	longer, cancel := n.tree.patient(ctx)
	defer cancel()
	file, err := n.tree.opt.Head.Open(longer, zodb.Oid(oid))
	if err != nil {
		return nil, n.tree.errno(fmt.Errorf("/head/bigfile: lookup %q: %w", name, err))
	}
	return entry(n.childOf(ctx, name, file), out)
}

// childOf returns the node of file, which it makes if it is not there.
func (n *headDirNode) childOf(ctx context.Context, name string, file *live.File) *fs.Inode {
	n.mu.Lock()
	defer n.mu.Unlock()
	if child := n.GetChild(name); child != nil {
		node := child.Operations().(*headFileNode)
		if node.file == file {
			return child
		}
		n.RmChild(name)
		child.ForgetPersistent()
	}
	gone := func() error {
		if e := n.NotifyEntry(name); e != 0 && !errors.Is(e, syscall.ENOENT) {
			return fmt.Errorf("/head/bigfile: invalidate entry %s: %w", name, e)
		}
		return nil
	}
	node := &headFileNode{tree: n.tree, file: file, path: "/head/bigfile/" + name, gone: gone}
	child := n.NewPersistentInode(ctx, node, n.tree.numbered(&n.Inode, name, fuse.S_IFREG))
	file.Attach(node)
	n.AddChild(name, child, true)
	return child
}

// headFileNode is a ZBigFile, or an array, at the newest view.
type headFileNode struct {
	fs.Inode
	readOnlyFile
	tree   *FS
	file   *live.File
	before int64        // bytes of the header of an array, which the data stands behind
	path   string       // from the root of the mount, for messages
	gone   func() error // makes the kernel look the name up anew; nil: it always does
}

func (n *headFileNode) attr(out *fuse.Attr) time.Duration {
	a := n.file.Attr(n.tree.ctx)
	n.tree.access.file(out)
	out.Size = uint64(n.before + a.Size)
	out.Blksize = uint32(a.BlkSize)
	setTime(out, a.Rev)
	return 0
}

func (n *headFileNode) Getattr(ctx context.Context, fh fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	return getattr(n, out)
}

// Open lets the kernel keep what it has cached of the file: the server itself
// invalidates what changes.
func (n *headFileNode) Open(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	if writing(flags) {
		return nil, 0, syscall.EROFS
	}
	return nil, fuse.FOPEN_KEEP_CACHE, 0
}

// Read answers with slices of the loaded blocks: dest, the buffer of the FUSE
// library, is not used.
func (n *headFileNode) Read(ctx context.Context, fh fs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	off, direct := untag(off)
	reply, err := n.file.Read(n.tree.ctx, live.Request{Off: off - n.before, N: len(dest), Direct: direct, Thread: caller(ctx), Interrupted: ctx.Done()})
	if err != nil {
		return nil, n.tree.errno(fmt.Errorf("%s: %w", n.path, err))
	}
	n.tree.opt.Observer.ReadBytes(observe.HeadView, reply.Size())
	return readResult{reply}, 0
}

// notified gives what the kernel said to a notification the form of an error.
// An inode that the kernel does not know has nothing in its cache.
func (n *headFileNode) notified(what string, off, size int64, e syscall.Errno) error {
	if e == 0 || e == syscall.ENOENT {
		return nil
	}
	return fmt.Errorf("%s: %s [%d +%d): %w", n.path, what, off, size, e)
}

// Store implements live.Kernel.
func (n *headFileNode) Store(off int64, data []byte) error {
	return n.notified("store", off, int64(len(data)), n.WriteCache(n.before+off, data))
}

// Invalidate implements live.Kernel.
func (n *headFileNode) Invalidate(off, size int64) error {
	if size > math.MaxInt64-off-n.before {
		size = 0 // for the kernel this is "up to the end"
	}
	return n.notified("invalidate", off, size, n.NotifyContent(n.before+off, size))
}

// InvalidateAttr implements live.Kernel.
func (n *headFileNode) InvalidateAttr() error {
	return n.notified("invalidate attributes", 0, 0, n.NotifyContent(-1, 0))
}

// Extend implements live.Kernel: a store moves the end (fuse_notify_store of Linux). A
// page that it does not fill from its beginning does not become up to date.
func (n *headFileNode) Extend(size int64) error {
	return n.notified("extend", size-1, 1, n.WriteCache(n.before+size-1, []byte{0}))
}

// Retrieve implements live.Kernel.
func (n *headFileNode) Retrieve(off int64, dest []byte) (int, error) {
	size, e := n.ReadCache(n.before+off, dest)
	return size, n.notified("retrieve", off, int64(len(dest)), e)
}

// Gone implements live.Kernel.
func (n *headFileNode) Gone() error {
	if n.gone == nil {
		return nil
	}
	return n.gone()
}

var _ live.Kernel = (*headFileNode)(nil)
