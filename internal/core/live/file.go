package live

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/core/form"
	"github.com/wcfs/wcfs/internal/core/lock"
	"github.com/wcfs/wcfs/internal/core/served"
	"github.com/wcfs/wcfs/internal/core/versions"
	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/btree"
)

// Kernel is the kernel's page cache and attributes of one file.
type Kernel interface {
	bigfile.PageCache

	// Invalidate drops the pages of [off, off+n). It blocks while a READ of
	// one of them is unanswered.
	Invalidate(off, n int64) error

	// InvalidateAttr makes the kernel ask for size and times again.
	InvalidateAttr() error

	// Extend makes the kernel take the file for at least size bytes long. It makes
	// the last of them zero, in a page that does not get more content by that, and
	// blocks while a READ of that page is unanswered.
	Extend(size int64) error

	// Retrieve copies what is cached at off into dest and returns how much it
	// is. Pages that are being read count as not cached.
	Retrieve(off int64, dest []byte) (n int, err error)

	// Gone makes the kernel look the file up anew.
	Gone() error
}

// File is one ZBigFile at the newest view, or an array: the same data with an end of its own,
// and a header before it. Each has a page cache of its own, and is told the kernel apart.
// Nobody can watch an array, so no READ of it waits for a client.
type File struct {
	Oid    zodb.Oid // of the ZBigFile, or of the array
	data   zodb.Oid // the ZBigFile that has the blocks
	before int64    // bytes of the header, which has negative offsets; 0: it is not an array
	head   *Head

	loads *bigfile.Loads[blkView, *loaded]
	ahead *bigfile.Ahead[blkView, *loaded]

	mu lock.Mutex

	// The fields below are guarded by mu.
	blocks  *served.File            // see served
	form    *form.Form              // of an array, at the newest view
	kernel  Kernel                  // nil: the kernel does not know the file yet
	rev     zodb.Tid                // last transaction that was seen to touch the file
	fenced  error                   // not nil: the object is another file now
	reads   map[int64][]*read       // registered READs by block
	stores  map[int64]chan struct{} // blocks whose rest is being stored; closed when it is
	noStore bool                    // a commit is under way
	watches map[*Watch]struct{}     // those that are not removed
	wake    chan struct{}           // closed and made anew when the state of a watch changes
	leaving map[int64]*span         // blocks being dropped from the page cache, unless read: by whom last
	cutting bool                    // a commit is making the file shorter: see shrink.go
	closing *closing                // of the commit that waits for pins; READs wait for its switch: see early.go
	shown   int64                   // size that the kernel is told; see resize.go
	growing bool                    // that is the one after the switch of a commit

	// announcing says that the kernel is being told a larger size. Meanwhile nobody
	// else is told any, and no READ keeps pages behind the end locked for long.
	announcing bool
	clearing   bool // nobody is told a size, since what is behind the old one has to be cleared first

	answered []answered // READs of the last moments, while there are watches
}

// blkView is a block as of a view.
type blkView struct {
	blk  int64
	view zodb.Tid
}

// loaded is a loaded block and the way to it.
type loaded struct {
	*bigfile.Block
	walk *versions.Walk
}

func newFile(h *Head, blocks *served.File, data zodb.Oid, rev zodb.Tid) *File {
	f := &File{
		Oid:     blocks.Oid,
		data:    data,
		head:    h,
		blocks:  blocks,
		rev:     rev,
		shown:   blocks.Size,
		reads:   make(map[int64][]*read),
		stores:  make(map[int64]chan struct{}),
		leaving: make(map[int64]*span),
		watches: make(map[*Watch]struct{}),
		wake:    make(chan struct{}),
	}
	f.mu.Init(&h.order, rankFile, f.check)
	f.loads = bigfile.NewLoads(h.loader, f.load)
	f.loads.Together(h.store, blocks.Obj.BlkSize, f.begin)
	f.ahead = bigfile.NewAhead(f.loads)
	return f
}

// served returns what the page cache has of f, and the ZBigFile at the newest view.
func (f *File) served() *served.File {
	f.mu.MustHold()
	return f.blocks
}

// object returns the ZBigFile at the newest view.
func (f *File) object() *bigfile.File {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.served().Obj
}

// prepare begins a commit.
func (f *File) prepare() {
	f.served().Prepare()
	f.noStore = true
}

// depend notes that served blocks, or the size, depend on the nodes of path.
func (f *File) depend(path []btree.Step) {
	f.head.indexed(func(x *served.Index) { x.Register(f.Oid, path) })
}

// serve notes that a block, found by walk, may be in the page cache from now on.
func (f *File) serve(blk int64, walk *versions.Walk, data zodb.Tid) {
	if !f.served().Serve(blk, walk, data) {
		return
	}
	f.head.indexed(func(x *served.Index) {
		x.Register(f.Oid, walk.Path)
		if walk.OK {
			x.Link(walk.ZBlk, served.Use{File: f.Oid, Blk: blk})
		}
	})
}

// relink notes that a served block shows something else.
func (f *File) relink(was, is served.Link) {
	f.head.indexed(func(x *served.Index) { x.Relink(f.Oid, was, is) })
}

// drop notes that a block has left the page cache.
func (f *File) drop(blk int64) {
	if zblk, linked := f.served().Drop(blk); linked {
		f.head.indexed(func(x *served.Index) { x.Unlink(zblk, served.Use{File: f.Oid, Blk: blk}) })
	}
}

// dropAll notes that all of f has left the page cache.
func (f *File) dropAll() {
	f.head.indexed(func(x *served.Index) {
		f.served().DropAll(func(zblk zodb.Oid, blk int64) { x.Unlink(zblk, served.Use{File: f.Oid, Blk: blk}) })
	})
}

// servedIn returns the served blocks from..to.
func (f *File) servedIn(from, to int64) []int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.served().In(from, to, math.MaxInt)
}

// thoseServed returns those of blks that are served.
func (f *File) thoseServed(blks []int64) []int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.DeleteFunc(blks, func(blk int64) bool { return !f.served().Has(blk) })
}

// Attach tells how to reach the kernel about f. It must be called before the
// kernel learns of the file.
func (f *File) Attach(kernel Kernel) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.kernel = kernel
}

// Attr is what stat tells of a file.
type Attr struct {
	Size    int64 // bytes, without the header; of a file a multiple of BlkSize
	BlkSize int64 // bytes
	Rev     zodb.Tid
}

// Attr returns the attributes. It waits while the kernel is being told a size, and as long
// as that of an array cannot be told.
func (f *File) Attr(ctx context.Context) (a Attr) {
	get := func() bool {
		a = Attr{Size: f.shown, BlkSize: f.served().Obj.BlkSize, Rev: f.rev}
		return !f.announcing && !f.clearing && (f.before == 0 || f.shown == f.served().Size)
	}
	if f.await(ctx, get) != nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		get() // of a file that is fenced, or of a server that ends
	}
	return a
}

var errAnotherFile = errors.New("the object is another file now; look it up again")

// Fenced returns why f must not be served any longer, or nil.
func (f *File) Fenced() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.fenced
}

// load loads a block as of a view, with the way to it.
func (f *File) load(ctx context.Context, key blkView) (*loaded, error) {
	walk, place := f.find(ctx, key)
	block, err := place.Load(ctx, f.head.store)
	if err != nil {
		return nil, err
	}
	return &loaded{block, walk}, nil
}

// begin is load of several blocks, whose objects are loaded together.
func (f *File) begin(ctx context.Context, keys []blkView) []bigfile.Begun[*loaded] {
	walks, places := make([]*versions.Walk, len(keys)), make([]bigfile.Place, len(keys))
	for i, key := range keys {
		walks[i], places[i] = f.find(ctx, key)
	}
	all := make([]bigfile.Begun[*loaded], len(keys))
	for i, b := range bigfile.BeginBlocks(ctx, f.head.store, places) {
		all[i] = bigfile.Then(b, func(block *bigfile.Block) *loaded { return &loaded{block, walks[i]} })
	}
	return all
}

// find finds the place of a block as of a view, and the way to it. A hole has no data.
func (f *File) find(ctx context.Context, key blkView) (*versions.Walk, bigfile.Place) {
	walk, err := f.head.revs.Walk(ctx, f.data, key.blk, key.view)
	if err == nil && walk.Obj == nil {
		err = fmt.Errorf("%w (@%s)", errAnotherFile, key.view)
	}
	if err == nil {
		err = btree.MissingError(walk.Path, key.view)
	}
	if err != nil {
		return nil, bigfile.Place{Err: err}
	}
	f.head.loader.Count(bigfile.FromDatabase)
	if !walk.OK {
		return walk, bigfile.Place{Block: &bigfile.Block{}}
	}
	return walk, bigfile.Place{ZBlk: walk.ZBlk, At: key.view, BlkSize: walk.Obj.BlkSize}
}

// pages widens [lo, hi) to whole pages. The size of a page is a power of 2.
func pages(lo, hi int64) span {
	page := int64(os.Getpagesize())
	return span{lo &^ (page - 1), (hi + page - 1) &^ (page - 1)}
}
