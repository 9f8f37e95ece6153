// Package fusefs is the mounted tree: what clients see, served through FUSE.
//
// # The tree
//
//	/                      root.go
//	├── .wcfs/             dotwcfs.go
//	│   ├── zurl           the url of the database
//	│   ├── pintimeout     seconds a client has to answer a pin
//	│   ├── stats          counters
//	│   ├── metrics        metrics.go
//	│   ├── trace          trace.go
//	│   └── debug/zhead    zhead.go
//	├── head/              head.go
//	│   ├── at             tid of the newest view
//	│   ├── watch          watch.go
//	│   ├── bigfile/       headfile.go
//	│   │   └── <oid>
//	│   └── arrays/        arrays.go
//	│       ├── NAME.npy   headarrays.go
//	│       ├── NAME.json  described.go
//	│       └── NAME/
//	└── @<tid>/            rev.go
//	    ├── bigfile/       dir.go
//	    │   └── <oid>      revfile.go
//	    └── arrays/        as that of head/
//
// Directories of views and the files in them come into being when they are
// looked up, and are listed from then on until the kernel forgets them. The file
// zhead, which makes its reader wait, is not listed: a walk over the tree would never
// end.
//
// # Rules
//
// Nothing can be changed through the tree: every attempt is refused with EROFS
// (readonly.go). The rules who may read what are in access.go. Names are
// canonical: lower-case hexadecimal digits only, so that one object never has
// two inodes. Errors about files and names become an errno, and a line in the log where
// somebody should know, in one place (errno.go).
//
// # Ownership and locking
//
// Nodes are thin: the state lives in the packages of core. A node holds no lock
// while it talks to the kernel or the storage. Handlers run in goroutines of
// the FUSE library. READs of file data are not interrupted by signals, since a
// fault in kernel mode would turn EINTR into EFAULT; they end with the server's
// context. Only a READ by a thread that is being killed is answered by EINTR: the thread
// will not see that, and cannot end before.
//
// # Caveats
//
// The server must never open or map files of its own mount: the Go runtime may
// then wait for a request that only itself can answer.
package fusefs

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/golang/glog"
	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/core/isolation"
	"github.com/wcfs/wcfs/internal/core/live"
	"github.com/wcfs/wcfs/internal/core/past"
	"github.com/wcfs/wcfs/internal/serve/observe"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// MaxRequest is the largest READ, in bytes, that the kernel is asked to send: a
// block of the usual size in one request.
const MaxRequest = 2 << 20

// maxBackground is how many asynchronous READs the kernel may have in flight.
// READs that wait for a client must never use it up, since then nobody else
// could read, so it is the largest number the protocol can express. The kernel
// lowers it for mounts without privileges (process_init_limits in
// fs/fuse/inode.c of Linux).
const maxBackground = 65535

// Options says what the tree shows.
type Options struct {
	ZURL       string        // content of .wcfs/zurl
	PinTimeout time.Duration // content of .wcfs/pintimeout

	// View returns the database as of a tid, or *storage.FutureViewError.
	View func(at zodb.Tid) (*past.View, error)

	// Head is what head/ shows.
	Head *live.Head

	// Isolation is what head/watch talks to.
	Isolation *isolation.Engine

	// Observer is told of every request; .wcfs/metrics and .wcfs/trace ask it.
	Observer *observe.Observer

	// Naming finds what arrays/ shows; nil: there is no arrays/.
	Naming Naming

	// Debug adds .wcfs/debug/.
	Debug bool

	// Access says who may read the tree.
	Access Access

	// Reach tells whether the server of the database is there; nil if it has none.
	Reach func() storage.Reach

	// OnClient is called with +1 and -1 as clients open and close .wcfs/zurl,
	// which they keep open as long as they use the mount. It may be nil.
	OnClient func(delta int)

	// OnPanic is called when a handler panicked. The tree must not be served
	// any longer, since nobody knows what state it is in.
	OnPanic func(err error)
}

// FS is the tree.
type FS struct {
	ctx    context.Context
	opt    Options
	access Access
	root   *rootNode

	generation atomic.Uint64 // of the last node

	faults     *faults
	headArrays headArrays
}

// New returns the tree. It serves data until ctx ends.
func New(ctx context.Context, opt Options) *FS {
	t := &FS{ctx: ctx, opt: opt, access: opt.Access.orOwn(), faults: newFaults()}
	t.root = &rootNode{tree: t}
	return t
}

// Raw returns the tree for the FUSE library, together with the options to
// serve it with. No request is larger than maxRequest bytes.
func (t *FS) Raw(maxRequest int) (fuse.RawFileSystem, *fuse.MountOptions) {
	validity := time.Hour // what changes is invalidated, or given its own validity
	options := &fs.Options{
		MountOptions: fuse.MountOptions{
			Name:                     "wcfs",
			MaxBackground:            maxBackground,
			MaxWrite:                 maxRequest,
			DisableXAttrs:            true,
			DisableReadDirPlus:       true, // nodes must pass LOOKUP, which tells their names (names.go)
			DisableSplice:            true, // replies are slices of memory; splicing them costs a pipe and gains nothing
			ExplicitDataCacheControl: true,
			PanicHandler:             t.panicked,
		},
		EntryTimeout: &validity,
		AttrTimeout:  &validity,
		// Modes and owners are what nodes say, also if that is nothing and root.
		NullPermissions: true,
		RootStableAttr:  &fs.StableAttr{Ino: rootID},
	}
	raw := &observed{RawFileSystem: rawFS{fs.NewNodeFS(t.root, options)}, observer: t.opt.Observer}
	return raw, &options.MountOptions
}

func (t *FS) panicked(what any) fuse.Status {
	t.opt.Observer.Panicked()
	glog.Errorf("BUG: a handler panicked: %v\n%s", what, debug.Stack())
	if t.opt.OnPanic != nil {
		t.opt.OnPanic(fmt.Errorf("BUG: a handler panicked: %v", what))
	}
	return fuse.EIO
}
