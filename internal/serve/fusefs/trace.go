package fusefs

import (
	"context"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/wcfs/wcfs/internal/serve/observe"
)

// traceName is the file below .wcfs/ that has a line for every request that is
// answered, and for what else happens. Nobody waits for a reader who is slow. Requests
// about the file itself are not told.
const traceName = "trace"

// traceNode is .wcfs/trace. Every open of it has what happens from its first READ on,
// and ends where that ends now: whoever reads files to their ends ends. By the size
// and the time of the file tail -f knows when there is more; both are told to threads
// that have read it only, since for others it is empty.
type traceNode struct {
	fs.Inode
	readOnlyFile
	tree *FS

	mu      sync.Mutex // map operations only
	readers map[*traceHandle]int
}

func (n *traceNode) attr(out *fuse.Attr) time.Duration {
	n.tree.access.own(out, fuse.S_IFREG)
	return changing
}

func (n *traceNode) Getattr(ctx context.Context, fh fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	errno := getattr(n, out)
	if n.isRead(caller(ctx)) {
		size, last := n.tree.opt.Observer.Traced()
		out.Size = uint64(size)
		if !last.IsZero() {
			out.SetTimes(nil, &last, nil)
		}
	}
	return errno
}

// isRead reports whether a thread is the last that has read some open of the file.
func (n *traceNode) isRead(thread int) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, reader := range n.readers {
		if reader == thread {
			return true
		}
	}
	return false
}

func (n *traceNode) Open(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	if writing(flags) {
		return nil, 0, syscall.EROFS
	}
	r, err := n.tree.opt.Observer.OpenTrace()
	if err != nil {
		return nil, 0, syscall.EMFILE // the only reason: there are many already
	}
	return &traceHandle{n, r}, streamFlags, 0
}

// traceHandle is one open of .wcfs/trace.
type traceHandle struct {
	node   *traceNode
	reader *observe.Reader
}

func (h *traceHandle) Read(ctx context.Context, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	h.node.mu.Lock()
	if h.node.readers == nil {
		h.node.readers = make(map[*traceHandle]int)
	}
	h.node.readers[h] = caller(ctx)
	h.node.mu.Unlock()
	return fuse.ReadResultData(dest[:h.reader.Read(dest)]), 0
}

func (h *traceHandle) Release(ctx context.Context) syscall.Errno {
	h.node.mu.Lock()
	delete(h.node.readers, h)
	h.node.mu.Unlock()
	h.reader.Close()
	return 0
}
