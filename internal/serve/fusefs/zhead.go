package fusefs

import (
	"context"
	"fmt"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/wcfs/wcfs/internal/core/live"
)

// zheadName is the file below .wcfs/debug/ that tells of transactions.
const zheadName = "zhead"

// debugNode is .wcfs/debug/.
type debugNode struct {
	fs.Inode
	readOnlyDir
	tree *FS
}

func (n *debugNode) OnAdd(ctx context.Context) {
	n.tree.addStatic(ctx, &n.Inode, zheadName, &streamNode{tree: n.tree, open: n.openZHead}, fuse.S_IFREG)
}

func (n *debugNode) attr(out *fuse.Attr) time.Duration {
	n.tree.access.own(out, fuse.S_IFDIR)
	return 0
}

func (n *debugNode) Getattr(ctx context.Context, fh fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	return getattr(n, out)
}

func (n *debugNode) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return lookupStatic(&n.Inode, name, out)
}

// openZHead opens .wcfs/debug/zhead: whoever has it open reads a line for every
// transaction that is published after the open.
func (n *debugNode) openZHead() stream {
	return &zheadStream{sub: n.tree.opt.Head.Subscribe()}
}

// zheadStream is one open of zhead.
type zheadStream struct {
	sub *live.Subscription

	mu   sync.Mutex // one reader at a time; guards rest
	rest []byte     // of the line that did not fit into the last READ
}

// Read waits for the next transaction.
func (s *zheadStream) Read(ctx context.Context, dest []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.rest) == 0 {
		tid, err := s.sub.Next(ctx)
		if err != nil {
			return 0, err
		}
		s.rest = fmt.Appendf(nil, "%s\n", tid)
	}
	n := copy(dest, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

func (s *zheadStream) Close() { s.sub.Cancel() }
