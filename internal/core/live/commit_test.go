package live_test

import (
	"context"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/core/live"
	"github.com/wcfs/wcfs/internal/core/live/livetest"
	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/btree"
	"github.com/wcfs/wcfs/internal/zodb/record"
	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/internal/zodb/storage/mem"
)

// hookedKernel is a page cache with something to do before some of its calls. A call
// without such a thing just goes through.
type hookedKernel struct {
	*livetest.Kernel
	onStore, onInvalidate, onGone func() error
	retrieved                     atomic.Int32 // calls of Retrieve
}

func (k *hookedKernel) Retrieve(off int64, dest []byte) (int, error) {
	k.retrieved.Add(1)
	return k.Kernel.Retrieve(off, dest)
}

func (k *hookedKernel) Store(off int64, data []byte) error {
	return errors.Join(call(k.onStore), k.Kernel.Store(off, data))
}

func (k *hookedKernel) Invalidate(off, n int64) error {
	return errors.Join(call(k.onInvalidate), k.Kernel.Invalidate(off, n))
}

func (k *hookedKernel) Gone() error { return errors.Join(call(k.onGone), k.Kernel.Gone()) }

func call(hook func() error) error {
	if hook == nil {
		return nil
	}
	return hook()
}

// gate returns a hook that waits until it is opened.
func gate() (wait func() error, open func()) {
	opened := make(chan struct{})
	return func() error { <-opened; return nil }, sync.OnceFunc(func() { close(opened) })
}

// hooked is a file of blocks of two pages.
type hooked struct {
	*testing.T
	kernel *hookedKernel
	head   *live.Head
	file   *live.File
	db     *mem.Storage
	page   int64
}

func newHooked(t *testing.T) *hooked { return newHookedOf(t, live.Config{}) }

func newHookedOf(t *testing.T, cfg live.Config) *hooked {
	page := int64(os.Getpagesize())
	k, h, db, _ := resizeWorldOf(t, cfg, 2*page, []int64{0, 1})
	x := &hooked{T: t, kernel: &hookedKernel{Kernel: k}, head: h, file: h.Known(1), db: db, page: page}
	x.file.Attach(x.kernel)
	return x
}

func (x *hooked) read(from, to int64) error {
	return x.kernel.ReadPages(x.Context(), nil, 0, from, to)
}

// commit commits objects, and begins to take that in. done gets the outcome.
func (x *hooked) commit(records map[zodb.Oid][]byte) (done chan error) {
	done = make(chan error, 1)
	x.db.Commit(x.head.At()+1, records)
	go func() {
		event, err := x.db.NextEvent(x.Context())
		if err == nil {
			err = x.head.Commit(x.Context(), event)
		}
		done <- err
	}()
	synctest.Wait()
	return done
}

func (x *hooked) block(text string) map[zodb.Oid][]byte {
	return map[zodb.Oid][]byte{100: bigfile.EncodeBlock([]byte(text))}
}

// TestNothingIsLeftOfAFileThatCannotBeServed, also of what was being stored when it
// became another one, or lost its table. The kernel looks it up again, and is not waited
// for if that takes long.
func TestNothingIsLeftOfAFileThatCannotBeServed(t *testing.T) {
	page := int64(os.Getpagesize())
	for name, records := range map[string]map[zodb.Oid][]byte{
		"another":  {1: bigfile.EncodeFile(&bigfile.File{BlkSize: page, Table: 2})},
		"deleted":  {1: nil},
		"no table": {3: []byte("junk")},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := newHooked(t)
				store, open := gate()
				defer open()
				gone, end := gate()
				defer end()
				var asked atomic.Int32
				x.kernel.onStore = store
				x.kernel.onGone = func() error { asked.Add(1); return gone() }
				require.NoError(t, x.read(0, 1))
				done := x.commit(records)
				require.Empty(t, done, "old content is being stored")
				require.EqualValues(t, 2, x.head.Stats().Pending)
				open()
				require.NoError(t, <-done)
				require.Empty(t, x.kernel.Cached())
				require.Error(t, x.read(0, 1))
				require.EqualValues(t, 2, x.head.At())
				require.Zero(t, x.head.Stats().Pending)
				require.Equal(t, name == "another" || name == "deleted", asked.Load() == 1)
				served := x.file.Served()
				require.Zero(t, served)
			})
		})
	}
}

// TestBlocksBehindAMissingNodeAreNotHoles: nobody can tell what they are.
func TestBlocksBehindAMissingNodeAreNotHoles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newHooked(t)
		require.NoError(t, <-x.commit(map[zodb.Oid][]byte{
			2: btree.EncodeTree(btree.LO, false, []zodb.Oid{3, 5}, []int64{1}, 3),
			3: btree.EncodeBucket(btree.LO, []int64{0}, []btree.Ref{{Oid: 100, Class: record.ZBlk0}}, 5),
			5: btree.EncodeBucket(btree.LO, []int64{1}, []btree.Ref{{Oid: 101, Class: record.ZBlk0}}, 0),
		}))
		require.NoError(t, x.read(0, 4))
		require.NoError(t, <-x.commit(map[zodb.Oid][]byte{3: nil}))
		var damaged *storage.CorruptError
		require.ErrorAs(t, x.read(0, 1), &damaged)
		require.NoError(t, x.read(2, 4))
	})
}

// TestCommitThatCannotInvalidateIsNotPublished: somebody may see old pages.
func TestCommitThatCannotInvalidateIsNotPublished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, fails := range []bool{true, false} {
			if !fails && testing.Short() {
				continue // there are many attempts in an hour
			}
			x := newHooked(t)
			wait, open := gate()
			defer open()
			broken := errors.New("it does not work")
			if x.kernel.onInvalidate = wait; fails {
				x.kernel.onInvalidate = func() error { return broken }
			}
			require.NoError(t, x.read(0, 2))
			start := time.Now()
			err := <-x.commit(x.block("new"))
			require.Error(t, err)
			require.Equal(t, fails, errors.Is(err, broken))
			require.Equal(t, !fails, time.Since(start) >= time.Hour, "the mount hangs")
			require.EqualValues(t, 1, x.head.At())
		}
	})
}

// TestRestsOfBlocksAreStoredBetweenCommits, of files that were there and of new ones.
func TestRestsOfBlocksAreStoredBetweenCommits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newHooked(t)
		require.NoError(t, <-x.commit(x.block("new")))
		twin, err := x.head.Open(t.Context(), 4)
		require.NoError(t, err)
		for _, k := range []*livetest.Kernel{x.kernel.Kernel, livetest.NewKernel(twin, func() {})} {
			require.NoError(t, k.ReadPages(t.Context(), nil, 0, 2, 3))
			synctest.Wait()
			require.Len(t, k.Cached(), 2)
		}
	})
}

// TestFileIsAsOldAsItsLastChange, not as other objects.
func TestFileIsAsOldAsItsLastChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newHooked(t)
		require.NoError(t, x.read(0, 2))
		require.EqualValues(t, 1, x.file.Attr(t.Context()).Rev)
		require.NoError(t, <-x.commit(x.block("new")))
		require.EqualValues(t, 2, x.file.Attr(t.Context()).Rev)
		require.NoError(t, <-x.commit(map[zodb.Oid][]byte{999: []byte("x")}))
		require.EqualValues(t, 2, x.file.Attr(t.Context()).Rev)
	})
}

// TestREADThatComesInTheMiddleOfAnInvalidation waits for a client, and the commit waits
// for neither. All other old pages are gone.
func TestREADThatComesInTheMiddleOfAnInvalidation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newHooked(t)
		var w *live.Watch
		require.NoError(t, x.read(0, 2))
		require.NoError(t, x.file.Watch(t.Context(), &parkedClient{make(chan int64, 10)}, 1, nil, func(y *live.Watch) { w = y }))
		defer w.Drop()
		x.kernel.Reclaim(0)
		read := make(chan error, 1)
		x.kernel.onInvalidate = sync.OnceValue(func() error {
			go func() { read <- x.read(0, 1) }()
			time.Sleep(time.Millisecond)
			return nil
		})
		start := time.Now()
		require.NoError(t, <-x.commit(x.block("new")))
		require.Less(t, time.Since(start), time.Second)
		require.Empty(t, read, "it waits for the client")
		require.Empty(t, x.kernel.Cached())
		w.Drop()
		require.NoError(t, <-read)
		synctest.Wait() // what was left behind may have dropped the page
		require.NoError(t, x.read(0, 1))
		require.Equal(t, "new", string(x.kernel.PageAt(0)[:3]))
	})
}

// TestBlockThatIsReadWhileItIsDroppedStaysServed although it is dropped once more: the
// next commit has to know of it.
func TestBlockThatIsReadWhileItIsDroppedStaysServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newHooked(t)
		require.NoError(t, x.read(0, 2))
		first, endFirst := gate()
		defer endFirst()
		second, endSecond := gate()
		defer endSecond()
		dropped := make(chan bool, 2)
		for i, hook := range []func() error{first, second} {
			x.kernel.onInvalidate = hook
			go func() { dropped <- x.file.Evict(0) }()
			synctest.Wait()
			if i == 0 {
				x.kernel.Reclaim(0) // the kernel has dropped it already
				require.NoError(t, x.read(0, 1))
			}
		}
		endFirst()
		require.False(t, <-dropped)
		served := x.file.IsServed(0)
		require.True(t, served)
		endSecond()
		<-dropped
	})
}

// TestREADOfWhatACommitMendsMeanwhile is not told of the damage.
func TestREADOfWhatACommitMendsMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newHooked(t)
		wait, open := gate()
		defer open()
		x.db.OnLoad(func(_ context.Context, xid zodb.Xid) error {
			if xid.Oid != 100 || xid.At > 1 {
				return nil
			}
			return errors.Join(wait(), errors.New("it is damaged"))
		})
		read := make(chan error, 1)
		go func() { read <- x.read(0, 1) }()
		synctest.Wait()
		require.NoError(t, <-x.commit(x.block("new")))
		require.Empty(t, read)
		open()
		require.NoError(t, <-read)
		require.Equal(t, "new", string(x.kernel.PageAt(0)[:3]))
	})
}

// TestNothingIsCopiedForWhichThereIsNoRoom: a commit would take longer for nothing.
func TestNothingIsCopiedForWhichThereIsNoRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for blocks := range 3 {
			x := newHookedOf(t, live.Config{PreserveBytes: int64(2*os.Getpagesize()*blocks + 1)})
			require.NoError(t, x.read(0, 4))
			records := x.block("new")
			records[101] = records[100]
			require.NoError(t, <-x.commit(records))
			require.EqualValues(t, blocks, x.kernel.retrieved.Load())
		}
	})
}

// TestWatchOfAViewInAnotherEpochIsRefused: before the file was there, or had the same
// size of blocks all the time since.
func TestWatchOfAViewInAnotherEpochIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newHooked(t)
		require.NoError(t, <-x.commit(map[zodb.Oid][]byte{
			1: bigfile.EncodeFile(&bigfile.File{BlkSize: x.page, Table: 2}),
			9: bigfile.EncodeFile(&bigfile.File{BlkSize: x.page, Table: 2}),
		}))
		require.NoError(t, <-x.commit(map[zodb.Oid][]byte{1: bigfile.EncodeFile(&bigfile.File{BlkSize: 2 * x.page, Table: 2})}))
		for oid, rev := range map[zodb.Oid]zodb.Tid{1: 2, 9: 2} {
			f, err := x.head.Open(t.Context(), oid)
			require.NoError(t, err)
			err = f.Watch(t.Context(), &sends{}, 1, nil, func(w *live.Watch) { w.Drop() })
			var epoch *live.EpochError
			require.ErrorAs(t, err, &epoch)
			require.Equal(t, rev, epoch.Rev)
		}
	})
}
