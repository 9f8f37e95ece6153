package fusefs

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"lab.nexedi.com/kirr/neo/go/zodb"
)

const (
	// arraysName is where the arrays of a view are, by name.
	arraysName = "arrays"

	npyEnding  = ".npy"
	jsonEnding = ".json"
)

// arraysView is the view that directories of arrays show: the newest one, or a past one.
type arraysView struct {
	tree *FS
	rev  *revNode // nil: head/
}

func (v arraysView) at() zodb.Tid {
	if v.rev != nil {
		return v.rev.view.At()
	}
	return v.tree.opt.Head.At()
}

// touch notes that the view is used now.
func (v arraysView) touch() {
	if v.rev != nil {
		v.rev.touch()
	}
}

// path returns the path of what is at path below arrays/, from the root of the mount.
func (v arraysView) path(path string) string {
	dir := "/head/" + arraysName
	if v.rev != nil {
		dir = "/@" + v.rev.view.At().String() + "/" + arraysName
	}
	if path == "" {
		return dir
	}
	return dir + "/" + path
}

// named gives what a name stands for the time for which it does so.
func (v arraysView) named(out *fuse.EntryOut) {
	if v.rev == nil {
		out.SetEntryTimeout(changing)
	}
}

// arraysNode is a directory of arrays.
type arraysNode struct {
	fs.Inode
	readOnlyDir
	view arraysView
	dir  string // its path below arrays/; "" is arrays/ itself
}

func (n *arraysNode) attr(out *fuse.Attr) time.Duration {
	n.view.tree.access.dir(out)
	setTime(out, n.view.at())
	if n.view.rev == nil {
		return changing
	}
	return 0
}

func (n *arraysNode) Getattr(ctx context.Context, fh fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	return getattr(n, out)
}

// below returns the path of a name in the directory.
func (n *arraysNode) below(name string) string {
	if n.dir == "" {
		return name
	}
	return n.dir + "/" + name
}

// Lookup finds a directory, a link, or a file of an array.
func (n *arraysNode) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	n.view.touch()
	longer, cancel := n.view.tree.patient(ctx)
	defer cancel()
	child, err := n.child(longer, name)
	if err != nil {
		return nil, n.view.tree.errno(fmt.Errorf("%s: lookup %q: %w", n.view.path(n.dir), name, err))
	}
	n.view.named(out)
	return entry(child, out)
}

// child returns the node of a name.
func (n *arraysNode) child(ctx context.Context, name string) (*fs.Inode, error) {
	base, isNPY := strings.CutSuffix(name, npyEnding)
	base, isJSON := strings.CutSuffix(base, jsonEnding)
	if isNPY && isJSON {
		return nil, errNoName
	}
	item, err := n.view.tree.opt.Naming.Find(ctx, n.view.at(), n.below(base))
	switch {
	case err != nil:
		return nil, err
	case isNPY && item.NPY:
		return n.array(ctx, name, item.Oid)
	case isJSON && item.JSON:
		return n.node(ctx, name, &describedNode{view: n.view, item: n.below(base)}, fuse.S_IFREG), nil
	case isNPY || isJSON:
		return nil, errNoName
	case item.Link != "":
		return n.node(ctx, name, &linkNode{view: n.view, target: item.Link}, fuse.S_IFLNK), nil
	case item.Dir:
		return n.node(ctx, name, &arraysNode{view: n.view, dir: n.below(name)}, fuse.S_IFDIR), nil
	}
	return nil, errNoName
}

// node returns the child of that name: the one that the kernel knows, if it is the same as
// made, and else made.
func (n *arraysNode) node(ctx context.Context, name string, made inode, kind uint32) *fs.Inode {
	if child := n.GetChild(name); child != nil && isSame(child.Operations(), made) {
		return child
	}
	return n.NewInode(ctx, made, n.view.tree.numbered(&n.Inode, name, kind))
}

// isSame reports whether two nodes of one name show the same.
func isSame(known, made fs.InodeEmbedder) bool {
	switch known := known.(type) {
	case *arraysNode:
		_, ok := made.(*arraysNode)
		return ok
	case *describedNode:
		_, ok := made.(*describedNode)
		return ok
	case *linkNode:
		made, ok := made.(*linkNode)
		return ok && known.target == made.target
	}
	return false
}

// array returns the node of the .npy file of an array.
func (n *arraysNode) array(ctx context.Context, name string, oid zodb.Oid) (*fs.Inode, error) {
	if n.view.rev == nil {
		return n.view.tree.headArrays.open(ctx, n, name, oid)
	}
	if child := n.GetChild(name); child != nil {
		return child, nil
	}
	array, err := n.view.tree.opt.Naming.Form(ctx, n.view.at(), oid)
	if err != nil {
		return nil, err
	}
	file, err := n.view.rev.view.OpenArray(ctx, array)
	if err != nil {
		return nil, err
	}
	child := &revFileNode{rev: n.view.rev, file: file, path: n.view.path(n.below(name)), before: int64(len(array.Header))}
	return n.NewInode(ctx, child, n.view.tree.numbered(&n.Inode, name, fuse.S_IFREG)), nil
}

// Readdir lists the directories and links, and the files of arrays.
func (n *arraysNode) Readdir(ctx context.Context) (fs.DirStream, syscall.Errno) {
	n.view.touch()
	longer, cancel := n.view.tree.patient(ctx)
	defer cancel()
	items, err := n.view.tree.opt.Naming.List(longer, n.view.at(), n.dir)
	if err != nil {
		return nil, n.view.tree.errno(fmt.Errorf("%s: list: %w", n.view.path(n.dir), err))
	}
	entries := itself(&n.Inode)
	add := func(there bool, name string, kind uint32) {
		if there {
			entries = append(entries, fuse.DirEntry{Name: name, Mode: kind, Ino: number(n.StableAttr().Ino, name)})
		}
	}
	for _, item := range items {
		add(item.Dir && item.Link == "", item.Name, fuse.S_IFDIR)
		add(item.Link != "", item.Name, fuse.S_IFLNK)
		add(item.JSON, item.Name+jsonEnding, fuse.S_IFREG)
		add(item.NPY, item.Name+npyEnding, fuse.S_IFREG)
	}
	return fs.NewListDirStream(entries), 0
}

// linkNode is a symbolic link to the place of a directory.
type linkNode struct {
	fs.Inode
	readOnlyFile
	view   arraysView
	target string
}

func (n *linkNode) attr(out *fuse.Attr) time.Duration {
	n.view.tree.access.link(out)
	out.Mode = fuse.S_IFLNK | 0o777
	out.Size = uint64(len(n.target))
	setTime(out, n.view.at())
	return changing
}

func (n *linkNode) Getattr(ctx context.Context, fh fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	return getattr(n, out)
}

func (n *linkNode) Readlink(ctx context.Context) ([]byte, syscall.Errno) {
	return []byte(n.target), 0
}
