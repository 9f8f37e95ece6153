package livetest

import (
	"context"
	"fmt"
	"sync"
	"time"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/core"
	"github.com/wcfs/wcfs/internal/core/live"
	"github.com/wcfs/wcfs/internal/core/versions"
	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// System is a World that is served: all that a model of head needs, of sizes and
// times that its seed draws. Its methods may be called from any goroutine.
type System struct {
	*World
	Ctx    context.Context
	Objs   *versions.Objects
	Head   *live.Head
	File   *live.File
	Loader *bigfile.Loader
	Kernel *Kernel

	// IsDying says which threads are being killed. It may be set before the first
	// READ; nil: none is.
	IsDying func(thread int) bool

	lag    time.Duration // at most, wherever time may pass in the kernel
	cancel context.CancelFunc
	mu     sync.Mutex
	err    error
}

// NewSystem serves the world of a seed, and keeps so many bytes of old content.
// The caller has to call Close.
func NewSystem(ctx context.Context, seed uint64, preserve int64) (*System, error) {
	s := &System{World: NewWorld(seed)}
	s.Ctx, s.cancel = context.WithCancel(ctx)
	first := s.Tids()[0]
	s.Objs = versions.NewObjects(s.Ctx, s.DB, first, 1<<20)
	s.Loader = bigfile.NewLoader(s.Ctx, 1+s.Intn(8))
	s.Head = live.New(s.Ctx, first, s.Objs, s.DB, s.Loader, live.Config{
		MaxServed: []int{2, 4, 1000}[s.Intn(3)], ParkedBytes: int64(s.Intn(2)) << 20, PreserveBytes: preserve, Retry: time.Second, StuckAfter: time.Hour,
		Forms:       s.World,
		KeepHistory: time.Minute, KeepFloor: time.Hour, Observer: core.Alone{}, Processes: processes{System: s},
	})
	if err := s.start(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// processes is what a System knows of them.
type processes struct {
	core.Alone
	*System
}

func (p processes) IsDying(thread int) bool {
	return p.System.IsDying != nil && p.System.IsDying(thread)
}

func (s *System) start() (err error) {
	if _, err := s.DB.NextEvent(s.Ctx); err != nil {
		return err
	}
	slow := time.Duration(s.Intn(2)) * 30 * time.Millisecond
	s.DB.OnLoad(func(context.Context, zodb.Xid) error {
		s.Nap(slow)
		return nil
	})
	if s.File, err = s.Head.Open(s.Ctx, File); err != nil {
		return err
	}
	s.lag = time.Duration(s.Intn(3)) * 10 * time.Millisecond
	s.Kernel = NewKernel(s.File, s.nap)
	return nil
}

func (s *System) nap() { s.Nap(s.lag) }

// OpenTwin opens the other file, which nobody has looked up so far.
func (s *System) OpenTwin() (*Kernel, error) {
	f, err := s.Head.Open(s.Ctx, Twin)
	if err != nil {
		return nil, err
	}
	return NewKernel(f, s.nap), nil
}

// OpenArray opens the array, which nobody has looked up so far.
func (s *System) OpenArray() (*Kernel, error) {
	f, err := s.Head.OpenArray(s.Ctx, Array)
	if err != nil {
		return nil, err
	}
	k := NewKernel(f, s.nap)
	k.Stored = s.checkStored
	return k, nil
}

// checkStored requires that a store into the array has ended within what the array is as of
// the published view, or of one that is on its way: else it would make the array longer again
// for the kernel, which nothing would take back.
func (s *System) checkStored(end int64) {
	at := s.Head.At()
	most := s.ArraySize(at)
	for _, tid := range s.Tids() {
		if tid > at {
			most = max(most, s.ArraySize(tid))
		}
	}
	if end > most {
		s.Fail("a store ends at %d, the array at %d @%d", end, most, at)
	}
}

// Cancel ends all that is under way.
func (s *System) Cancel() { s.cancel() }

// Close takes the system down.
func (s *System) Close() {
	s.cancel()
	s.Head.Close()
	s.Loader.Wait()
	s.Objs.Close()
	_ = s.DB.Close()
}

// Commit commits random transactions, most often one, and takes them in.
func (s *System) Commit() (last storage.Event, err error) {
	more := max(0, s.Intn(8)-5)
	for range more + 1 {
		s.Transact()
	}
	for ; more >= 0; more-- {
		if last, err = s.DB.NextEvent(s.Ctx); err != nil {
			return last, err
		}
		last.More = more > 0
		if err = s.Head.Commit(s.Ctx, last); err != nil {
			return last, err
		}
	}
	return last, nil
}

// Pages returns how many pages the file has.
func (s *System) Pages() int { return Blks * int(s.BlkSize/s.Kernel.Page) }

// Fail notes what went wrong first.
func (s *System) Fail(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = fmt.Errorf(format, args...)
	}
}

// Err returns what went wrong first, or nil.
func (s *System) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}
