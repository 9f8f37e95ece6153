package head_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/bigfile"
	"github.com/wcfs/wcfs/internal/head"
	"github.com/wcfs/wcfs/internal/head/headtest"
	"github.com/wcfs/wcfs/internal/tail"
)

var (
	schedules = flag.Int("schedules", 5000, "how many random schedules to run")
	firstSeed = flag.Uint64("seed", 0, "seed of the first random schedule")
)

// TestNoPageIsOlderThanHeadAt runs commits, READs, stores, reclaim, evictions
// and slow loads against each other, on a page cache with the locking of the
// kernel. Whenever no commit is under way, every cached page has the content of
// head/at; what a reader gets is never older than head/at when it began; what
// is preserved has the content of the views it is for.
func TestNoPageIsOlderThanHeadAt(t *testing.T) {
	for i := range uint64(*schedules) {
		seed := *firstSeed + i
		synctest.Test(t, func(t *testing.T) {
			if err := runSchedule(t.Context(), seed); err != nil {
				t.Fatalf("seed %d: %s\nrepeat (the order of goroutines is not part of the seed): "+
					"go test ./internal/head -run NoPageIsOlder -schedules 100 -seed %d", seed, err, seed)
			}
		})
		if t.Failed() {
			return
		}
	}
}

// schedule is one run. Sizes and times are drawn from its seed.
type schedule struct {
	*headtest.World
	ctx    context.Context
	objs   *tail.Objects
	head   *head.Head
	file   *head.File
	loader *bigfile.Loader
	kernel *headtest.Kernel

	mu  sync.Mutex
	err error
}

func (s *schedule) fail(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = fmt.Errorf(format, args...)
	}
}

func runSchedule(ctx context.Context, seed uint64) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &schedule{World: headtest.NewWorld(seed), ctx: ctx}
	defer s.DB.Close()
	if _, err := s.DB.NextEvent(ctx); err != nil {
		return err
	}
	slow := time.Duration(s.Intn(2)) * 30 * time.Millisecond
	s.DB.OnLoad(func(context.Context, zodb.Xid) error {
		s.Nap(slow)
		return nil
	})
	first := s.Tids()[0]
	s.objs = tail.NewObjects(ctx, s.DB, first, 1<<20)
	defer s.objs.Close()
	s.loader = bigfile.NewLoader(ctx, 1+s.Intn(8))
	defer s.loader.Wait()
	s.head = head.New(ctx, first, s.objs, s.DB, s.loader, head.Config{
		MaxServed: 1000, PreserveBytes: []int64{0, s.BlkSize, 1 << 20}[s.Intn(3)],
		Retry: time.Second, StuckAfter: time.Hour, KeepHistory: time.Minute, KeepFloor: time.Hour, Warnf: func(string, ...any) {},
	})
	defer s.head.Close()
	defer cancel()
	if s.file, err = s.head.Open(ctx, headtest.File); err != nil {
		return err
	}
	lag := time.Duration(s.Intn(3)) * 10 * time.Millisecond
	s.kernel = headtest.NewKernel(s.file, func() { s.Nap(lag) })
	s.run()
	return s.err
}

func (s *schedule) pages() int { return headtest.Blks * int(s.BlkSize/s.kernel.Page) }

// run has readers, reclaim, evictions and commits at the same time.
func (s *schedule) run() {
	var all sync.WaitGroup
	done := make(chan struct{})
	for range 1 + s.Intn(3) {
		all.Go(func() { s.reader(done) })
	}
	all.Go(func() {
		for !closed(done) {
			time.Sleep(time.Duration(1+s.Intn(20)) * time.Millisecond)
			s.kernel.Reclaim(int64(s.Intn(s.pages())))
		}
	})
	all.Go(func() {
		for !closed(done) {
			time.Sleep(time.Duration(1+s.Intn(30)) * time.Millisecond)
			s.file.Evict(int64(s.Intn(headtest.Blks)))
		}
	})
	s.commits()
	close(done)
	all.Wait()
	s.loader.Wait()
	if reads, stores, loads := s.file.Busy(); reads+stores+loads != 0 {
		s.fail("%d READs, %d stores, %d blocks are left", reads, stores, loads)
	}
}

func (s *schedule) commits() {
	for range 3 + s.Intn(6) {
		time.Sleep(time.Duration(s.Intn(40)) * time.Millisecond)
		s.Transact()
		event, err := s.DB.NextEvent(s.ctx)
		if err == nil {
			err = s.head.Commit(s.ctx, event)
		}
		if err != nil {
			s.fail("commit: %w", err)
			return
		}
		for i, data := range s.kernel.Cached() {
			s.checkPage(i, data, event.Tid, "is cached")
		}
		s.checkPreserved()
		if tids := s.Tids(); s.Intn(3) == 0 {
			s.objs.Forget(tids[s.Intn(len(tids))])
		}
	}
}

func closed(done chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}

// reader reads at random, and checks that it gets a view that is not older than
// head/at when it began.
func (s *schedule) reader(done chan struct{}) {
	for !closed(done) {
		s.Nap(10 * time.Millisecond)
		from := int64(s.Intn(s.pages()))
		to := min(from+1+int64(s.Intn(5)), int64(s.pages()))
		at := s.head.At()
		if s.Intn(5) == 0 {
			s.readDirect(from, to, at)
			continue
		}
		if err := s.kernel.ReadPages(s.ctx, nil, 0, from, to); err != nil {
			s.fail("read: %w", err)
			return
		}
		for i := from; i < to; i++ {
			if data := s.kernel.PageAt(i); data != nil {
				s.checkPage(i, data, at, "read")
			}
		}
		time.Sleep(time.Millisecond) // time has to pass even if all is cached
	}
}

func (s *schedule) readDirect(from, to int64, at zodb.Tid) {
	data, err := s.kernel.ReadDirect(s.ctx, from, to)
	if err != nil {
		s.fail("read directly: %w", err)
		return
	}
	for i := from; i < to; i++ {
		s.checkPage(i, data[(i-from)*s.kernel.Page:][:s.kernel.Page], at, "read directly")
	}
}

// checkPage requires that a page has the content of at, or of a later view.
func (s *schedule) checkPage(i int64, data []byte, at zodb.Tid, how string) {
	for _, tid := range s.Tids() {
		if tid >= at && bytes.Equal(data, s.Page(tid, i)) {
			return
		}
	}
	s.fail("page %d %s with head/at @%d is of @%d", i, how, at, binary.BigEndian.Uint64(data))
}

// checkPreserved requires that what is preserved for a view is what it sees.
func (s *schedule) checkPreserved() {
	for _, view := range s.Tids() {
		for blk, buf := range s.head.PreservedFor(s.ctx, headtest.File, view) {
			if !bytes.Equal(buf.Data, s.Block(view, blk)) {
				s.fail("block %d preserved for @%d is of @%d", blk, view, binary.BigEndian.Uint64(buf.Data))
			}
			buf.Release()
		}
	}
}
