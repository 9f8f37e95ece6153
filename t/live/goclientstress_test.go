package live

import (
	"bufio"
	"context"
	encoding "encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/client"
	"github.com/wcfs/wcfs/internal/zodb/zwrite"
	"github.com/wcfs/wcfs/t/harness"
	"lab.nexedi.com/kirr/neo/go/zodb"
)

// goStress reads an array of versions with many goroutines while it changes.
type goStress struct {
	oid     client.Oid
	blksize int64
	nblk    int
	v       versions
	stop    atomic.Bool
	checks  atomic.Int64
}

// helperGoStress has two Conns: one stays where it is, the other one follows.
// Goroutines read mapped memory directly, and others make garbage all the time,
// so that the world has to be stopped while threads are in page faults that need
// pins. Arguments: mount point, oid, block size, number of blocks, base, seed.
// It prints "ready", and when its input ends, the number of checks.
func helperGoStress(args []string) error {
	debug.SetGCPercent(1)
	oid, _ := client.ParseOid(args[1])
	size, _ := strconv.ParseInt(args[2], 10, 64)
	nblk, _ := strconv.Atoi(args[3])
	base, _ := zodb.ParseTid(args[4])
	seed, _ := strconv.ParseUint(args[5], 10, 64)
	s := &goStress{oid: oid, blksize: size, nblk: nblk, v: versions{base, seed}}
	ctx := context.Background()
	w, err := client.JoinMount(ctx, args[0])
	if err != nil {
		return err
	}
	fixed, err := s.open(ctx, w)
	if err != nil {
		return err
	}
	moving, err := s.open(ctx, w)
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	errs := make(chan error, 20)
	run := func(f func() error) {
		wg.Go(func() {
			if err := f(); err != nil {
				errs <- err
				s.stop.Store(true)
			}
		})
	}
	for i := range 4 {
		run(func() error { return s.readAll(fixed, uint64(i)) })
		run(func() error { return s.readAll(moving, uint64(100+i)) })
	}
	run(func() error { return s.follow(ctx, moving) })
	run(s.litter)
	fmt.Println("ready")
	go func() {
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		}
		s.stop.Store(true)
	}()
	wg.Wait()
	close(errs)
	for e := range errs {
		err = errors.Join(err, e)
	}
	if err == nil {
		fmt.Println(s.checks.Load())
	}
	return errors.Join(err, w.Close())
}

// stressView is a Conn with its file and a mapping.
type stressView struct {
	sync.RWMutex // held for writing while the view moves
	c            *client.Conn
	f            *client.File
	m            *client.Mapping
}

func (s *goStress) open(ctx context.Context, w *client.WCFS) (view *stressView, err error) {
	view = new(stressView)
	if view.c, err = w.Connect(ctx, client.Head); err != nil {
		return nil, err
	}
	if view.f, err = view.c.Open(ctx, s.oid); err != nil {
		return nil, err
	}
	view.m, err = view.f.Mmap(ctx, 0, int64(s.nblk))
	return view, err
}

// readAll reads and checks blocks in random order: two words of the memory, or a
// copy.
func (s *goStress) readAll(view *stressView, seed uint64) error {
	rnd := rand.New(rand.NewPCG(seed, 1))
	page := make([]byte, 4096)
	for !s.stop.Load() {
		view.RLock()
		at := view.c.At()
		n := s.v.commit(zodb.Tid(at))
		for _, blk := range rnd.Perm(s.nblk) {
			off := int64(blk)*s.blksize + int64(rnd.IntN(int(s.blksize/4096)))*4096
			source := view.m.Data()[off:]
			if rnd.IntN(4) == 0 {
				if _, err := view.f.ReadAt(page, off); err != nil {
					return err
				}
				source = page
			}
			got := encoding.NativeEndian.Uint64(source)
			if want := uint64(s.v.last(n, blk))<<16 | uint64(blk); got != want {
				return fmt.Errorf("@%s block %d: version %d of block %d; want %d", at, blk, got>>16, got&0xffff, want>>16)
			}
			s.checks.Add(1)
		}
		view.RUnlock()
		runtime.Gosched()
	}
	return nil
}

// follow moves the view to the newest one, again and again.
func (s *goStress) follow(ctx context.Context, view *stressView) error {
	for !s.stop.Load() {
		view.Lock()
		err := view.c.Resync(ctx, client.Head)
		view.Unlock()
		if err != nil {
			return err
		}
		time.Sleep(2 * time.Millisecond)
	}
	return nil
}

// litter makes garbage.
func (s *goStress) litter() error {
	var kept [64][]byte
	for i := 0; !s.stop.Load(); i++ {
		kept[i%len(kept)] = make([]byte, 32<<10)
		if i%100 == 0 {
			runtime.GC()
			time.Sleep(100 * time.Microsecond)
		}
	}
	return nil
}

// TestGoClientMemoryUnderGC: programs that read mapped memory as they like, with
// any number of processors, see their view and nothing else, and are never ended
// since a pin cannot be acknowledged: the time for that is short here.
func TestGoClientMemoryUnderGC(t *testing.T) {
	for _, procs := range []string{"1", "2", ""} {
		for _, c := range []freshness{{nblk: 40, blksize: 16 << 10, commits: 120}, {nblk: 4, blksize: harness.BlkSize, commits: 40}} {
			t.Run(fmt.Sprintf("GOMAXPROCS=%s/blksize %d", procs, c.blksize), func(t *testing.T) {
				goClientStress(t, procs, c)
			})
		}
	}
}

func goClientStress(t *testing.T, procs string, c freshness) {
	seed := harness.NewSeed(t)
	l := harness.NewLive(t)
	f := l.NewFile(c.blksize)
	v := versions{zwrite.TidOf(time.Now()) &^ 0xff, seed}
	for v.tid(1) <= l.Head() {
		v.base += 1 << 8
	}
	commit := func(n int) {
		l.CommitAs(v.tid(n), func(tx *harness.LiveTx) {
			for blk := range c.nblk {
				if v.changes(n, blk) {
					tx.Write(f, int64(blk), v.data(n, blk, c.blksize))
				}
			}
		})
		l.Forget()
	}
	commit(1)
	s := l.Start("-pintimeout=10s")
	if procs != "" {
		t.Setenv("GOMAXPROCS", procs)
	}
	h := harness.StartHelper(t, "gostress", s.Dir, f.Oid.String(), fmt.Sprint(c.blksize), fmt.Sprint(c.nblk), v.base.String(), fmt.Sprint(seed))
	require.Equal(t, "ready", h.Line())
	for n := 2; n <= c.commits; n++ {
		commit(n)
		s.WaitAt(v.tid(n))
		time.Sleep(5 * time.Millisecond)
	}
	h.In.Close()
	checks, err := strconv.Atoi(h.Line())
	require.NoError(t, err)
	require.Zero(t, h.Wait())
	t.Logf("%d checks; %s", checks, harness.Content(t, s.Path(".wcfs/stats")))
	s.Stop()
}
