package fusefs

import (
	"cmp"
	"context"
	"encoding/binary"
	"hash/fnv"
	"slices"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// numbered returns the identity of a new node that is called name in dir. The number
// is what programs see (st_ino, d_ino): that of a name is always the same, also after
// the node was let go or the server started again. For the FUSE library the generation
// makes each node another one, so two names that happen to have one number stay apart.
func (t *FS) numbered(dir *fs.Inode, name string, kind uint32) fs.StableAttr {
	return fs.StableAttr{Mode: kind, Ino: number(dir.StableAttr().Ino, name), Gen: t.generation.Add(1)}
}

// number returns the inode number of name in the directory with the number dir. Those
// of two names differ but for chance.
func number(dir uint64, name string) uint64 {
	h := fnv.New64a()
	h.Write(binary.LittleEndian.AppendUint64(nil, dir))
	h.Write([]byte(name))
	// 1 is the root; 0 means none, and all ones are the FUSE library's.
	return h.Sum64()&^(1<<63) | 1<<62
}

// listing answers READDIR for dir: with itself, the directory it is in, and what is in
// it but for what is hidden.
func listing(dir *fs.Inode, hidden ...string) (fs.DirStream, syscall.Errno) {
	entries := itself(dir)
	for name, child := range dir.Children() {
		if !slices.Contains(hidden, name) {
			entries = append(entries, fuse.DirEntry{Name: name, Mode: child.Mode(), Ino: child.StableAttr().Ino})
		}
	}
	slices.SortFunc(entries[2:], func(a, b fuse.DirEntry) int { return cmp.Compare(a.Name, b.Name) })
	return fs.NewListDirStream(entries), 0
}

// itself returns the beginning of every listing: the directory, and the one it is in.
func itself(dir *fs.Inode) []fuse.DirEntry {
	above := uint64(rootID)
	if _, parent := dir.Parent(); parent != nil {
		above = parent.StableAttr().Ino
	}
	return []fuse.DirEntry{
		{Name: ".", Mode: fuse.S_IFDIR, Ino: dir.StableAttr().Ino},
		{Name: "..", Mode: fuse.S_IFDIR, Ino: above},
	}
}

func (n *rootNode) Readdir(ctx context.Context) (fs.DirStream, syscall.Errno) {
	return listing(&n.Inode)
}

func (n *dotwcfsNode) Readdir(ctx context.Context) (fs.DirStream, syscall.Errno) {
	return listing(&n.Inode)
}

func (n *headNode) Readdir(ctx context.Context) (fs.DirStream, syscall.Errno) {
	return listing(&n.Inode)
}

func (n *headDirNode) Readdir(ctx context.Context) (fs.DirStream, syscall.Errno) {
	return listing(&n.Inode)
}

func (n *dirNode) Readdir(ctx context.Context) (fs.DirStream, syscall.Errno) {
	return listing(&n.Inode)
}

// Readdir does not list what a reader waits for: whoever walks the tree would, too.
func (n *debugNode) Readdir(ctx context.Context) (fs.DirStream, syscall.Errno) {
	return listing(&n.Inode, zheadName)
}
