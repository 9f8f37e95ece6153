package fusefs

import (
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/wcfs/wcfs/internal/serve/observe"
)

// The operations below are attempts to change something, which are all refused.
// The trace shows who makes them.

func (o *observed) SetAttr(cancel <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	r := o.begin(observe.SetAttr, &in.InHeader)
	return r.end(o.RawFileSystem.SetAttr(cancel, in, out))
}

func (o *observed) Create(cancel <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	r := o.beginIn(observe.Create, &in.InHeader, name)
	return r.end(o.RawFileSystem.Create(cancel, in, name, out))
}

func (o *observed) Tmpfile(cancel <-chan struct{}, in *fuse.CreateIn, out *fuse.CreateOut) fuse.Status {
	r := o.begin(observe.Create, &in.InHeader)
	return r.end(o.RawFileSystem.Tmpfile(cancel, in, out))
}

func (o *observed) Mknod(cancel <-chan struct{}, in *fuse.MknodIn, name string, out *fuse.EntryOut) fuse.Status {
	r := o.beginIn(observe.Mknod, &in.InHeader, name)
	return r.end(o.RawFileSystem.Mknod(cancel, in, name, out))
}

func (o *observed) Mkdir(cancel <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	r := o.beginIn(observe.Mkdir, &in.InHeader, name)
	return r.end(o.RawFileSystem.Mkdir(cancel, in, name, out))
}

func (o *observed) Unlink(cancel <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	r := o.beginIn(observe.Unlink, in, name)
	return r.end(o.RawFileSystem.Unlink(cancel, in, name))
}

func (o *observed) Rmdir(cancel <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	r := o.beginIn(observe.Rmdir, in, name)
	return r.end(o.RawFileSystem.Rmdir(cancel, in, name))
}

func (o *observed) Rename(cancel <-chan struct{}, in *fuse.RenameIn, from, to string) fuse.Status {
	r := o.beginIn(observe.Rename, &in.InHeader, from)
	return r.end(o.RawFileSystem.Rename(cancel, in, from, to))
}

func (o *observed) Link(cancel <-chan struct{}, in *fuse.LinkIn, name string, out *fuse.EntryOut) fuse.Status {
	r := o.beginIn(observe.Link, &in.InHeader, name)
	return r.end(o.RawFileSystem.Link(cancel, in, name, out))
}

func (o *observed) Symlink(cancel <-chan struct{}, in *fuse.InHeader, target, name string, out *fuse.EntryOut) fuse.Status {
	r := o.beginIn(observe.Symlink, in, name)
	return r.end(o.RawFileSystem.Symlink(cancel, in, target, name, out))
}

func (o *observed) Fallocate(cancel <-chan struct{}, in *fuse.FallocateIn) fuse.Status {
	r := o.begin(observe.Fallocate, &in.InHeader)
	return r.end(o.RawFileSystem.Fallocate(cancel, in))
}

func (o *observed) CopyFileRange(cancel <-chan struct{}, in *fuse.CopyFileRangeIn) (uint32, fuse.Status) {
	r := o.begin(observe.CopyFileRange, &in.InHeader)
	n, status := o.RawFileSystem.CopyFileRange(cancel, in)
	return n, r.end(status)
}
