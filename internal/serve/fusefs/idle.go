package fusefs

import (
	"cmp"
	"slices"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
)

// pruneBatch bounds the inodes of one notification.
const pruneBatch = 512

// maxViews bounds the @<tid> directories that are kept for nobody in
// particular. Each file in one takes about 2 KiB.
const maxViews = 4096

// DropIdle asks the kernel to forget the @<tid> directories that were not used
// since before, and those used longest ago if there are too many. It keeps those
// that somebody has open. Directories that the kernel forgets leave our memory
// as well.
func (t *FS) DropIdle(before time.Time) {
	type view struct {
		dir  *fs.Inode
		used int64
	}
	var views []view
	for _, child := range t.root.Children() {
		if n, ok := child.Operations().(*revNode); ok {
			views = append(views, view{child, n.used.Load()})
		}
	}
	slices.SortFunc(views, func(a, b view) int { return cmp.Compare(a.used, b.used) })
	var idle []*fs.Inode
	for i, v := range views {
		if i < len(views)-maxViews || v.used < before.UnixNano() {
			idle = append(idle, v.dir)
		}
	}
	for len(idle) > 0 {
		n := min(len(idle), pruneBatch)
		t.prune(idle[:n])
		idle = idle[n:]
	}
}

// prune drops what the kernel caches of directories and of all below them, from
// the bottom up: a directory is in use as long as it has children. Before Linux
// 6.18 (FUSE 7.45) the entry is invalidated instead.
func (t *FS) prune(dirs []*fs.Inode) {
	var inodes []*fs.Inode
	for _, dir := range dirs {
		inodes = appendTree(inodes, dir)
	}
	if e := t.root.NotifyPrune(inodes); e == 0 || e == syscall.ENOENT {
		return
	}
	for _, dir := range dirs {
		if name, _ := dir.Parent(); name != "" {
			_ = t.root.NotifyEntry(name) // the kernel keeps what it still uses
		}
	}
}

// appendTree appends what is below n and then n.
func appendTree(inodes []*fs.Inode, n *fs.Inode) []*fs.Inode {
	for _, child := range n.Children() {
		inodes = appendTree(inodes, child)
	}
	return append(inodes, n)
}
