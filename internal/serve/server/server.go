package server

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/golang/glog"
	"golang.org/x/sys/unix"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/core/isolation"
	"github.com/wcfs/wcfs/internal/core/live"
	"github.com/wcfs/wcfs/internal/core/past"
	"github.com/wcfs/wcfs/internal/core/versions"
	"github.com/wcfs/wcfs/internal/serve/fusefs"
	"github.com/wcfs/wcfs/internal/serve/mount"
	"github.com/wcfs/wcfs/internal/serve/observe"
	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

const (
	// nodeCacheBytes bounds the decoded BTree nodes that are kept: the index
	// of some 100 GB of blocks.
	nodeCacheBytes = 256 << 20

	// maxServed bounds the blocks whose changes are looked for: some 260 MB of
	// index for 1 TB of cached data.
	maxServed = 1 << 19

	// preserveBytes bounds the old content that is kept for clients that are
	// still at the view before a commit.
	preserveBytes = 128 << 20

	// parkedBytes bounds the blocks that READs keep in memory while they wait for
	// clients to pin them. Others are loaded again when they go on.
	parkedBytes = 256 << 20

	// maxHistory is how many changes of objects history has at most beyond
	// keepHistory, however old the watches are: some 100 MB.
	maxHistory = 1 << 20

	// preserveTime is how long old content is kept at most: a client that begins to look
	// at a view does so soon after it began its transaction.
	preserveTime = 2 * time.Minute

	// commitRetry is how long a commit is tried again when the storage fails.
	commitRetry = 30 * time.Second

	// keepHistory is how far back a watch can be set.
	keepHistory = time.Minute

	// keepFloor is how far back the revision of a block is looked for. It is
	// coarse, so that equal content gets equal revisions for long.
	keepFloor = time.Hour

	// MinViewIdle is the shortest time after which a view can be let go.
	MinViewIdle = time.Second

	// maxSweep is how often views that nobody uses are looked for at least.
	maxSweep = 5 * time.Second

	// lookAround is how often the server looks whether it is still connected, and
	// who uses it. Nothing tells.
	lookAround = 100 * time.Millisecond

	// lookForMount is how often it looks whether its mount is still where it was put:
	// more often than a start that finds the directory taken gives up.
	lookForMount = time.Second

	// unmountWait is how long the connection may live on after the unmount.
	unmountWait = time.Second

	// parallelLoads bounds the blocks that are loaded at a time, and so the
	// memory that takes.
	parallelLoads = 64
)

// Options says what to serve and where.
type Options struct {
	ZURL             string // url of the database, as its clients know it
	Mountpoint       string
	CreateMountpoint bool // make the last element of Mountpoint, and remove it at the end

	Drivers    storage.Drivers
	Storage    storage.Options
	PinTimeout time.Duration
	ViewIdle   time.Duration // past views that nobody used for so long are let go; at least MinViewIdle
	Debug      bool          // serve .wcfs/debug/
	AllowOther bool          // let other users in, as far as they may read the database
	AutoExit   bool          // stop when the last client is gone
	Linger     time.Duration // and nobody has come back for so long
	TraceFUSE  bool          // log every FUSE message

	Metrics    *Address    // where metrics and health are told by HTTP; nil: nowhere
	PProf      *Address    // where profiles of the process can be taken; nil: nowhere
	Supervisor *Supervisor // nil: there is none

	// Naming returns what finds the arrays of a database by name: head/arrays shows them.
	// Its loads end with ctx. nil: there is no such directory.
	Naming func(ctx context.Context, db storage.Loader) Naming

	// OnReady is called with the absolute mount point once the mount answers.
	// It may be nil.
	OnReady func(dir string)
}

// server is a running server.
type server struct {
	opt    Options
	place  *mount.Place
	store  storage.Storage
	at0    zodb.Tid
	ctx    context.Context // of all work for clients; ends after the mount is gone
	objs   *versions.Objects
	loader *bigfile.Loader
	head   *live.Head
	links  *isolation.Engine
	naming Naming // nil: there is none
	tree   *fusefs.FS
	device *mount.Device

	usage  *usage
	failed chan error // what makes going on impossible

	access fusefs.Access

	observer *observe.Observer
	backlog  func() int           // transactions that wait; nil: not known
	reach    func() storage.Reach // nil: there is no server to be reached
	probe    *mountProbe
	checks   *observe.Checks
	phase    atomic.Value // of phase
}

// Run serves until ctx ends or somebody unmounts. It returns nil after an
// orderly end; errors are *fault.Error, *storage.OpenError and
// others.
func Run(ctx context.Context, opt Options) error {
	if err := checkProcesses(); err != nil {
		return err
	}
	if opt.AllowOther {
		if err := mount.CheckAllowOther(); err != nil {
			return err
		}
	}
	web, err := listenHTTP(&opt)
	if err != nil {
		return err
	}
	defer web.close()
	place, err := mount.Prepare(ctx, opt.Mountpoint, opt.CreateMountpoint)
	if err != nil {
		return unlessEnded(ctx, err)
	}
	defer place.Remove()
	if place.Cleared {
		glog.Warningf("mount point %s: the server of what was mounted there is dead; it is detached", place.Dir)
	}
	store, at0, err := opt.Drivers.Open(ctx, opt.ZURL, opt.Storage)
	if err != nil {
		return unlessEnded(ctx, err)
	}
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s := newServer(work, opt, place, store, at0)
	if opt.AllowOther {
		glog.Infof("other users are let in as far as the mode of the database says: %s", s.access)
	}
	web.serve(s.observer, s.checks)
	var follower sync.WaitGroup
	follower.Go(s.follow)
	defer s.end(cancel, []step{
		{"the commit under way", follower.Wait},
		{"links of clients", s.links.Close},
		{"the newest view", s.head.Close},
		{"loads and stores of blocks", s.loader.Wait},
		{"loads of nodes", s.objs.Close},
		{"loads of names", s.closeNaming},
		{"the database", func() { _ = store.Close() }},
	})
	return s.serve(ctx)
}

// unlessEnded returns err if it is not only that of the end of ctx: to be told to stop
// before there was anything to serve is an orderly end, too.
func unlessEnded(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// newServer puts a server together, whose work for clients ends with ctx.
func newServer(ctx context.Context, opt Options, place *mount.Place, store storage.Storage, at0 zodb.Tid) *server {
	s := &server{opt: opt, place: place, at0: at0, ctx: ctx,
		usage: newUsage(), failed: make(chan error, 1),
		observer: observe.New(opt.PinTimeout), backlog: backlogOf(store), reach: reachOf(store), probe: newMountProbe(place.Dir)}
	s.phase.Store(starting)
	if opt.AllowOther {
		s.access = accessTo(store)
	}
	s.store = s.observer.Storage(driverOf(opt.ZURL), store)
	s.objs = versions.NewObjects(ctx, s.store, at0, nodeCacheBytes)
	s.loader = bigfile.NewLoader(ctx, parallelLoads)
	s.loader.OnLoad(s.observer.Loaded)
	if opt.Naming != nil {
		s.naming = opt.Naming(ctx, s.store)
	}
	s.head = live.New(ctx, at0, s.objs, s.store, s.loader, s.headConfig())
	s.links = isolation.NewEngine(ctx, s.head, isolation.Config{
		PinTimeout: opt.PinTimeout,
		MaxLinks:   maxLinks(),
		Observer:   outside{s.observer, s},
	})
	s.tree = fusefs.New(ctx, fusefs.Options{
		ZURL:       opt.ZURL,
		PinTimeout: opt.PinTimeout,
		Head:       s.head,
		Isolation:  s.links,
		Observer:   s.observer,
		Debug:      opt.Debug,
		Access:     s.access,
		Reach:      s.reach,
		View:       s.openView,
		Naming:     s.naming,
		OnClient:   s.usage.joined,
		OnPanic:    s.panicked,
	})
	s.observe()
	return s
}

// Naming finds arrays by name. Close waits for its loads.
type Naming interface {
	fusefs.Naming
	Close()
}

func (s *server) closeNaming() {
	if s.naming != nil {
		s.naming.Close()
	}
}

// maxLinks returns how many links clients may have open. Each takes a descriptor of
// the server; half of them are for everything else.
func maxLinks() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	return int(min(limit.Cur/2, 1<<20))
}

func (s *server) headConfig() live.Config {
	return live.Config{
		MaxServed:     maxServed,
		PreserveBytes: preserveBytes,
		ParkedBytes:   parkedBytes,
		MaxHistory:    maxHistory,
		PreserveTime:  preserveTime,
		Retry:         commitRetry,
		StuckAfter:    3 * s.opt.PinTimeout,
		KeepHistory:   keepHistory,
		KeepFloor:     keepFloor,
		Forms:         s.naming,
		Observer:      outside{s.observer, s},
		Processes:     outside{s.observer, s},
	}
}

// follow takes in what is committed to the database. If that is not possible
// any more, data that does not advance must not be served either.
func (s *server) follow() {
	if err := s.head.Follow(s.ctx, s.store); err != nil {
		glog.Error(err)
		glog.Error("zwatcher failed")
		s.fail(&DownError{err})
	}
}

// serve mounts, serves, and unmounts.
func (s *server) serve(ctx context.Context) error {
	fuseServer, err := s.mount()
	if err != nil {
		return err
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		fuseServer.Serve()
	}()
	glog.Infof("start %q %q", s.place.Dir, storage.Redact(s.opt.ZURL))
	glog.Infof("(built with %s)", runtime.Version())
	// From the first sign of the end on nobody waits for the mount.
	defer context.AfterFunc(ctx, s.probe.stop)()
	err = s.checkReady(ctx)
	if err == nil && ctx.Err() == nil {
		glog.Info("ready: the mount answers")
		if s.opt.OnReady != nil {
			s.opt.OnReady(s.place.Dir)
		}
		err = s.waitWatched(ctx, served)
	}
	s.tellStopping(err)
	s.probe.stop()
	var down *DownError
	if errors.As(err, &down) {
		// The mount stays, so that everybody gets ENOTCONN and not the empty
		// directory below. The text is what operators know and search for, though
		// the errno is not EIO.
		glog.Error("switching filesystem to EIO mode")
		return err
	}
	s.unmount()
	glog.Infof("stop %q %q", s.place.Dir, storage.Redact(s.opt.ZURL))
	return err
}

func (s *server) view(at zodb.Tid) *past.View {
	return past.NewView(at, s.objs, s.store, s.loader, s.head.Preserved())
}

// openView returns a past view. A view beyond head is refused at once: what it
// will show is not known.
func (s *server) openView(at zodb.Tid) (*past.View, error) {
	if head := s.head.At(); at > head {
		return nil, &storage.FutureViewError{At: at, Head: head}
	}
	return s.view(at), nil
}
