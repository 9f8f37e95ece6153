package live_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/core/live"
	"github.com/wcfs/wcfs/internal/core/live/livetest"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

var (
	schedules = flag.Int("schedules", defaultSchedules, "how many random schedules to run")
)

// TestNoPageIsOlderThanHeadAt runs commits, READs, stores, reclaim, evictions
// and slow loads against each other, on a page cache with the locking of the
// kernel. Whenever no commit is under way, every cached page has the content of
// head/at; what a reader gets is never older than head/at when it began; what
// is preserved has the content of the views it is for.
func TestNoPageIsOlderThanHeadAt(t *testing.T) {
	for i := range uint64(*schedules) {
		seed := *live.FirstSeed + i
		synctest.Test(t, func(t *testing.T) {
			if err := runSchedule(t.Context(), seed); err != nil {
				t.Fatalf("seed %d: %s\nrepeat (the order of goroutines is not part of the seed): "+
					"go test ./internal/core/live -run NoPageIsOlder -schedules 100 -seed %d", seed, err, seed)
			}
		})
		if t.Failed() {
			return
		}
	}
}

// schedule is one run.
type schedule struct {
	*livetest.System

	mu    sync.Mutex
	twin  *livetest.Kernel // guarded by mu; nil: not opened yet
	array *livetest.Kernel // the same
}

func runSchedule(ctx context.Context, seed uint64) error {
	sys, err := livetest.NewSystem(ctx, seed, []int64{0, 12 << 10, 1 << 20}[seed%3])
	if err != nil {
		return err
	}
	defer sys.Close()
	(&schedule{System: sys}).run()
	return sys.Err()
}

// run has readers, reclaim, evictions and commits at the same time.
func (s *schedule) run() {
	var all sync.WaitGroup
	done := make(chan struct{})
	for range 1 + s.Intn(3) {
		all.Go(func() { s.reader(s.Kernel, done) })
	}
	all.Go(func() { s.latecomer(done, s.OpenTwin, &s.twin) })
	all.Go(func() { s.latecomer(done, s.OpenArray, &s.array) })
	all.Go(func() {
		for !closed(done) {
			time.Sleep(time.Duration(1+s.Intn(30)) * time.Millisecond)
			s.Kernel.Stat()
		}
	})
	all.Go(func() {
		for !closed(done) {
			time.Sleep(time.Duration(1+s.Intn(20)) * time.Millisecond)
			s.Kernel.Reclaim(int64(s.Intn(s.Pages())))
		}
	})
	all.Go(func() {
		for !closed(done) {
			time.Sleep(time.Duration(1+s.Intn(30)) * time.Millisecond)
			s.File.Evict(int64(s.Intn(livetest.Blks)))
		}
	})
	s.commits()
	close(done)
	all.Wait()
	s.Loader.Wait()
	time.Sleep(time.Minute) // what was loaded ahead of readers is let go
	if reads, stores, loads := s.File.Busy(); reads+stores+loads != 0 {
		s.Fail("%d READs, %d stores, %d blocks are left", reads, stores, loads)
	}
}

func (s *schedule) commits() {
	for range 3 + s.Intn(6) {
		time.Sleep(time.Duration(s.Intn(40)) * time.Millisecond)
		event, err := s.Commit()
		if err != nil {
			s.Fail("commit: %w", err)
			return
		}
		for _, k := range s.kernels() {
			for i, data := range k.Cached() {
				s.checkPage(k, i, data, event.Tid, "is cached")
			}
		}
		s.checkSize(event.Tid)
		s.checkPreserved()
		if tids := s.Tids(); s.Intn(3) == 0 {
			s.Objs.Forget(tids[s.Intn(len(tids))])
		}
	}
}

// checkSize requires that all of what a file has can be touched, whatever became of
// answers to stat. A kernel that has just opened the file may not have asked yet.
func (s *schedule) checkSize(tid zodb.Tid) {
	if end := s.EndAt(tid); end > 0 && s.Kernel.Beyond(int64(end)*s.BlkSize/s.Kernel.Page-1) {
		s.Fail("the kernel does not know that the file has %d blocks @%d", end, tid)
	}
	array := s.opened()
	if array == nil {
		return
	}
	array.Stat()
	if size := s.ArraySize(tid); size > 0 && array.Beyond((size-1)/s.Kernel.Page) {
		s.Fail("the kernel does not know that the array has %d bytes @%d", size, tid)
	}
}

// opened returns the page cache of the array, nil before it is open. The lock is not held
// while the kernel is asked: time stands still in a bubble as long as a goroutine waits for it.
func (s *schedule) opened() *livetest.Kernel {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.array
}

func closed(done chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}

// kernels returns the page caches of all files that are open.
func (s *schedule) kernels() []*livetest.Kernel {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc([]*livetest.Kernel{s.Kernel, s.twin, s.array}, func(k *livetest.Kernel) bool { return k == nil })
}

// page returns what a page of a file reads as at a view.
func (s *schedule) page(k *livetest.Kernel, at zodb.Tid, i int64) []byte {
	if k == s.opened() {
		return s.ArrayPage(at, i)
	}
	return s.Page(at, i)
}

// first returns the first page of a file: arrays have a header.
func (s *schedule) first(k *livetest.Kernel) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k == s.array {
		return -1
	}
	return 0
}

// latecomer opens another file at some time, which may be in the middle of a
// commit, and reads it at once.
func (s *schedule) latecomer(done chan struct{}, open func() (*livetest.Kernel, error), as **livetest.Kernel) {
	time.Sleep(time.Duration(s.Intn(200)) * time.Millisecond)
	k, err := open()
	if err != nil {
		s.Fail("open another file: %w", err)
		return
	}
	s.mu.Lock()
	*as = k
	s.mu.Unlock()
	if err := k.ReadPages(s.Ctx, nil, 0, s.first(k), int64(s.Pages())); err != nil && !errors.Is(err, live.ErrBehindEnd) {
		s.Fail("read: %w", err)
	}
	s.reader(k, done)
}

// reader reads at random, and checks that it gets a view that is not older than
// head/at when it began.
func (s *schedule) reader(k *livetest.Kernel, done chan struct{}) {
	for !closed(done) {
		s.Nap(10 * time.Millisecond)
		first := s.first(k)
		from := first + int64(s.Intn(s.Pages()-int(first)))
		to := min(from+1+int64(s.Intn(5)), int64(s.Pages()))
		at := s.Head.At()
		if s.Intn(5) == 0 {
			s.readDirect(k, from, to, at)
			continue
		}
		err := k.ReadPages(s.Ctx, nil, 0, from, to)
		if errors.Is(err, live.ErrBehindEnd) {
			continue // the file was shorter than the kernel knew, and became longer
		}
		if err != nil {
			s.Fail("read: %w", err)
			return
		}
		for i := from; i < to; i++ {
			if data := k.PageAt(i); data != nil {
				s.checkPage(k, i, data, at, "read")
			}
		}
		time.Sleep(time.Millisecond) // time has to pass even if all is cached
	}
}

func (s *schedule) readDirect(k *livetest.Kernel, from, to int64, at zodb.Tid) {
	data, err := k.ReadDirect(s.Ctx, from, to)
	if err != nil {
		s.Fail("read directly: %w", err)
		return
	}
	data = append(data, make([]byte, -len(data)&int(k.Page-1))...)     // an array may end anywhere
	for i := from; i < to && (i-from)*k.Page < int64(len(data)); i++ { // up to the end of the file
		s.checkPage(k, i, data[(i-from)*k.Page:][:k.Page], at, "read directly")
	}
}

// checkPage requires that a page has the content of at, or of a later view.
func (s *schedule) checkPage(k *livetest.Kernel, i int64, data []byte, at zodb.Tid, how string) {
	for _, tid := range s.Tids() {
		if tid >= at && bytes.Equal(data, s.page(k, tid, i)) {
			return
		}
	}
	s.Fail("page %d %s with head/at @%d is of @%d", i, how, at, binary.BigEndian.Uint64(data))
}

// checkPreserved requires that what is preserved for a view is what it sees, also
// before it was settled; and that a page cache is given what has its revision.
func (s *schedule) checkPreserved() {
	preserved := s.Head.Preserved()
	for _, view := range s.Tids() {
		for blk := range int64(livetest.Blks) {
			if buf := preserved.Block(s.Ctx, livetest.File, blk, view); buf != nil {
				s.checkOld(blk, view, buf)
			}
		}
		for blk, buf := range s.Head.PreservedFor(s.Ctx, livetest.File, view) {
			s.checkOld(blk, view, buf)
			if rev, err := s.File.BlkRevAt(s.Ctx, blk, view); err != nil || rev.Tid != view {
				s.Fail("block %d preserved for revision @%d is of @%d: %v", blk, view, rev.Tid, err)
			}
		}
	}
}

// checkOld requires that buf is what a view sees of a block, and releases it.
func (s *schedule) checkOld(blk int64, view zodb.Tid, buf *storage.Buf) {
	if !bytes.Equal(buf.Data, s.Block(view, blk)) {
		s.Fail("block %d preserved for @%d is of @%d", blk, view, binary.BigEndian.Uint64(buf.Data))
	}
	buf.Release()
}
