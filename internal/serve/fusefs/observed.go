package fusefs

import (
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/wcfs/wcfs/internal/serve/observe"
)

// tracePath is what the trace does not tell about: it would never end.
const tracePath = "/.wcfs/" + traceName

// observed tells an Observer of every request that has an answer, on its way to
// the nodes and back.
type observed struct {
	fuse.RawFileSystem
	observer *observe.Observer
	names    names
	streams  atomic.Pointer[[]uint64] // nodes whose opens are streams
}

// request is one that is not answered yet. It is passed by value, so that it
// costs no allocation.
type request struct {
	fs     *observed
	op     observe.Op
	header *fuse.InHeader
	name   string // in the directory of the request; empty if it has none
	off    int64
	size   int // -1: the op is not about bytes
	start  time.Time
}

func (o *observed) begin(op observe.Op, header *fuse.InHeader) request {
	return request{fs: o, op: op, header: header, size: -1, start: o.observer.Begin(op)}
}

func (o *observed) beginIn(op observe.Op, header *fuse.InHeader, name string) request {
	r := o.begin(op, header)
	r.name = name
	return r
}

func (o *observed) beginBytes(op observe.Op, header *fuse.InHeader, off uint64, size int) request {
	r := o.begin(op, header)
	r.off, r.size = int64(off), size
	return r
}

// end notes the answer, and returns it.
func (r request) end(status fuse.Status) fuse.Status { return r.endBytes(0, status) }

// endBytes is end of a request that has read or written n bytes.
func (r request) endBytes(n int, status fuse.Status) fuse.Status {
	took := r.fs.observer.End(r.op, r.start, syscall.Errno(status))
	if r.fs.observer.Tracing() {
		r.trace(n, status, took)
	}
	return status
}

func (r request) trace(n int, status fuse.Status, took time.Duration) {
	path := r.fs.names.path(r.header.NodeId, r.name)
	if path == tracePath {
		return
	}
	r.fs.observer.Trace(observe.Request{
		Op:    r.op,
		Path:  path,
		Off:   r.off,
		Size:  r.size,
		Done:  n,
		Pid:   r.header.Pid,
		Uid:   r.header.Uid,
		Errno: syscall.Errno(status),
		Took:  took,
	})
}

// addStream notes that READs of node wait for something to happen: how long that
// takes says nothing about READs of data.
func (o *observed) addStream(node uint64) {
	for {
		old := o.streams.Load()
		var all []uint64
		if old != nil {
			all = *old
		}
		if slices.Contains(all, node) {
			return
		}
		all = append(slices.Clip(all), node)
		if o.streams.CompareAndSwap(old, &all) {
			return
		}
	}
}

// readOp tells READs of streams from those of data. Streams have handles.
func (o *observed) readOp(in *fuse.ReadIn) observe.Op {
	if in.Fh == 0 {
		return observe.Read
	}
	if all := o.streams.Load(); all != nil && slices.Contains(*all, in.NodeId) {
		return observe.StreamRead
	}
	return observe.Read
}

func (o *observed) Lookup(cancel <-chan struct{}, in *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	r := o.beginIn(observe.Lookup, in, name)
	status := o.RawFileSystem.Lookup(cancel, in, name, out)
	if status.Ok() && out.NodeId != 0 {
		o.names.lookedUp(in.NodeId, name, out.NodeId)
	}
	return r.end(status)
}

func (o *observed) Forget(node, lookups uint64) {
	o.RawFileSystem.Forget(node, lookups)
	o.names.forgot(node, lookups)
}

func (o *observed) Open(cancel <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	r := o.begin(observe.Open, &in.InHeader)
	status := o.RawFileSystem.Open(cancel, in, out)
	if status.Ok() && out.OpenFlags&fuse.FOPEN_STREAM != 0 {
		o.addStream(in.NodeId)
	}
	return r.end(status)
}

func (o *observed) Read(cancel <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	r := o.beginBytes(o.readOp(in), &in.InHeader, in.Offset, int(in.Size))
	result, status := o.RawFileSystem.Read(cancel, in, buf)
	n := 0
	if result != nil {
		n = result.Size()
	}
	return result, r.endBytes(n, status)
}

func (o *observed) Write(cancel <-chan struct{}, in *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	r := o.beginBytes(observe.Write, &in.InHeader, in.Offset, int(in.Size))
	n, status := o.RawFileSystem.Write(cancel, in, data)
	return n, r.endBytes(int(n), status)
}

// Writev is what the FUSE library tries before Write.
func (o *observed) Writev(cancel <-chan struct{}, in *fuse.WriteIn, data [][]byte) (uint32, fuse.Status) {
	r := o.beginBytes(observe.Write, &in.InHeader, in.Offset, int(in.Size))
	n, status := o.RawFileSystem.Writev(cancel, in, data)
	return n, r.endBytes(int(n), status)
}

func (o *observed) GetAttr(cancel <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	r := o.begin(observe.GetAttr, &in.InHeader)
	return r.end(o.RawFileSystem.GetAttr(cancel, in, out))
}

func (o *observed) Release(cancel <-chan struct{}, in *fuse.ReleaseIn) {
	r := o.begin(observe.Release, &in.InHeader)
	o.RawFileSystem.Release(cancel, in)
	r.end(fuse.OK)
}

func (o *observed) ReleaseDir(in *fuse.ReleaseIn) {
	r := o.begin(observe.ReleaseDir, &in.InHeader)
	o.RawFileSystem.ReleaseDir(in)
	r.end(fuse.OK)
}

func (o *observed) Flush(cancel <-chan struct{}, in *fuse.FlushIn) fuse.Status {
	r := o.begin(observe.Flush, &in.InHeader)
	return r.end(o.RawFileSystem.Flush(cancel, in))
}

func (o *observed) OpenDir(cancel <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	r := o.begin(observe.OpenDir, &in.InHeader)
	return r.end(o.RawFileSystem.OpenDir(cancel, in, out))
}

func (o *observed) ReadDir(cancel <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	r := o.begin(observe.ReadDir, &in.InHeader)
	return r.end(o.RawFileSystem.ReadDir(cancel, in, out))
}

func (o *observed) StatFs(cancel <-chan struct{}, in *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	r := o.begin(observe.StatFs, in)
	return r.end(o.RawFileSystem.StatFs(cancel, in, out))
}

func (o *observed) Access(cancel <-chan struct{}, in *fuse.AccessIn) fuse.Status {
	r := o.begin(observe.Access, &in.InHeader)
	return r.end(o.RawFileSystem.Access(cancel, in))
}

func (o *observed) Fsync(cancel <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	r := o.begin(observe.Fsync, &in.InHeader)
	return r.end(o.RawFileSystem.Fsync(cancel, in))
}

func (o *observed) FsyncDir(cancel <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	r := o.begin(observe.Fsync, &in.InHeader)
	return r.end(o.RawFileSystem.FsyncDir(cancel, in))
}

func (o *observed) Lseek(cancel <-chan struct{}, in *fuse.LseekIn, out *fuse.LseekOut) fuse.Status {
	r := o.begin(observe.Lseek, &in.InHeader)
	return r.end(o.RawFileSystem.Lseek(cancel, in, out))
}

func (o *observed) Ioctl(cancel <-chan struct{}, in *fuse.IoctlIn, data []byte, out *fuse.IoctlOut, answer []byte) fuse.Status {
	r := o.begin(observe.Ioctl, &in.InHeader)
	return r.end(o.RawFileSystem.Ioctl(cancel, in, data, out, answer))
}

func (o *observed) Statx(cancel <-chan struct{}, in *fuse.StatxIn, out *fuse.StatxOut) fuse.Status {
	r := o.begin(observe.Statx, &in.InHeader)
	return r.end(o.RawFileSystem.Statx(cancel, in, out))
}

func (o *observed) Readlink(cancel <-chan struct{}, in *fuse.InHeader) ([]byte, fuse.Status) {
	r := o.begin(observe.Readlink, in)
	target, status := o.RawFileSystem.Readlink(cancel, in)
	return target, r.end(status)
}
