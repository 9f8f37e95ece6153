package isolation

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/core"
	"github.com/wcfs/wcfs/internal/core/live"
	"github.com/wcfs/wcfs/internal/core/live/livetest"
	"github.com/wcfs/wcfs/internal/core/versions"
	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/btree"
	"github.com/wcfs/wcfs/internal/zodb/record"
	"github.com/wcfs/wcfs/internal/zodb/storage/mem"
)

// actor is a process that ends by some signals only.
type actor struct {
	pid    int
	endsBy []syscall.Signal
	doomed bool
	dead   chan struct{}

	mu     sync.Mutex
	got    []syscall.Signal
	at     []time.Time // when
	closed int
}

func newActor(pid int, endsBy ...syscall.Signal) *actor {
	return &actor{pid: pid, endsBy: endsBy, dead: make(chan struct{})}
}

func (p *actor) Pid() int              { return p.pid }
func (p *actor) HasThread(id int) bool { return id == p.pid }
func (p *actor) Doomed() bool          { return p.doomed }

func (p *actor) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed++
}

func (p *actor) Signal(sig syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed > 0 {
		return os.ErrClosed
	}
	p.got, p.at = append(p.got, sig), append(p.at, time.Now())
	for _, s := range p.endsBy {
		if s == sig {
			close(p.dead)
		}
	}
	return nil
}

func (p *actor) Wait(ctx context.Context) error {
	select {
	case <-p.dead:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// scene is a file of two halves of n blocks of a page each, served to clients. All
// blocks of a half are one object. Another file with the same blocks is there to be
// opened.
type scene struct {
	*testing.T
	n      int64
	db     *mem.Storage
	head   *live.Head
	file   *live.File
	kernel *livetest.Kernel
	engine *Engine
	cancel context.CancelFunc // ends what the engine runs
	tid    zodb.Tid

	mu      sync.Mutex
	fatal   []error
	killed  []core.Kill
	warned  []string
	onError func(line string) // called with what is told of clients; may be nil
	onPin   func()            // called when the fate of a pin is known; may be nil
}

const sceneTimeout = 30 * time.Second

const sceneTwin zodb.Oid = 4 // the other file

// inScene runs a test in a bubble.
func inScene(t *testing.T, n int64, test func(s *scene)) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := &scene{T: t, n: n, db: mem.New()}
		s.commit(0, 1)
		objs := versions.NewObjects(ctx, s.db, s.tid, 1<<20)
		loader := bigfile.NewLoader(ctx, 4)
		s.head = live.New(ctx, s.tid, objs, s.db, loader, live.Config{MaxServed: 1 << 20, ParkedBytes: 1 << 20, Retry: time.Second,
			StuckAfter: time.Hour, KeepHistory: time.Minute, KeepFloor: time.Hour, Observer: core.Alone{}, Processes: core.Alone{}})
		var err error
		s.file, err = s.head.Open(ctx, 1)
		require.NoError(t, err)
		s.kernel = livetest.NewKernel(s.file, func() {})
		_, err = s.db.NextEvent(ctx)
		require.NoError(t, err)
		s.startEngine(ctx)
		defer func() {
			s.cancel()
			s.engine.Close()
			cancel()
			s.head.Close()
			loader.Wait()
			objs.Close()
			s.db.Close()
		}()
		test(s)
	})
}

func (s *scene) startEngine(ctx context.Context) {
	ctx, s.cancel = context.WithCancel(ctx)
	s.engine = NewEngine(ctx, s.head, Config{PinTimeout: sceneTimeout, MaxLinks: 8, Observer: observer{scene: s}})
}

// observer notes in a scene what is told.
type observer struct {
	core.Alone
	*scene
}

func (s observer) Failed(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fatal = append(s.fatal, err)
}

func (s observer) Killed(k core.Kill) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.killed = append(s.killed, k)
}

func (s observer) Pinned(core.Pin) {
	s.mu.Lock()
	on := s.onPin
	s.mu.Unlock()
	if on != nil {
		on()
	}
}

func (s observer) Warnf(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.warned = append(s.warned, fmt.Sprintf(format, args...))
}

func (s observer) Errorf(format string, args ...any) {
	s.mu.Lock()
	on := s.onError
	s.mu.Unlock()
	if on != nil {
		on(fmt.Sprintf(format, args...))
	}
}

// commit changes halves of the file, and has that taken in.
func (s *scene) commit(halves ...int) {
	s.Helper()
	s.tid++
	page := int64(os.Getpagesize())
	rec := make(map[zodb.Oid][]byte)
	for _, half := range halves {
		rec[zodb.Oid(100+half)] = bigfile.EncodeBlock([]byte{byte(s.tid), byte(half)})
	}
	if s.head == nil {
		var keys []int64
		var refs []btree.Ref
		for blk := range 2 * s.n {
			keys = append(keys, blk)
			refs = append(refs, btree.Ref{Oid: zodb.Oid(100 + blk/s.n), Class: record.ZBlk0})
		}
		rec[1] = bigfile.EncodeFile(&bigfile.File{BlkSize: page, Table: 2})
		rec[sceneTwin] = rec[1]
		rec[2] = btree.EncodeTree(btree.LO, false, []zodb.Oid{3}, nil, 3)
		rec[3] = btree.EncodeBucket(btree.LO, keys, refs, 0)
	}
	s.db.Commit(s.tid, rec)
	s.takeIn()
}

// remove deletes the file.
func (s *scene) remove() {
	s.Helper()
	s.tid++
	s.db.Commit(s.tid, map[zodb.Oid][]byte{1: nil})
	s.takeIn()
}

// takeIn has head know the newest transaction.
func (s *scene) takeIn() {
	s.Helper()
	if s.head != nil {
		event, err := s.db.NextEvent(s.Context())
		require.NoError(s, err)
		require.NoError(s, s.head.Commit(s.Context(), event))
	}
}

// open opens a link of p.
func (s *scene) open(p *actor) *Link {
	s.Helper()
	l, err := s.engine.Open(func() (Process, error) { return p, nil })
	require.NoError(s, err)
	return l
}

// read reads blocks [from, to), each by a READ of its own, and returns what tells how
// many are answered.
func (s *scene) read(from, to int64) (answered func() int) {
	var mu sync.Mutex
	n := 0
	for blk := from; blk < to; blk++ {
		go func() {
			if s.kernel.ReadPages(s.Context(), nil, 0, blk, blk+1) == nil {
				mu.Lock()
				defer mu.Unlock()
				n++
			}
		}()
	}
	return func() int {
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		return n
	}
}

// say writes a line to the link.
func (s *scene) say(l *Link, format string, args ...any) {
	s.Helper()
	require.NoError(s, l.Write(fmt.Appendf(nil, format+"\n", args...)))
}

// hear returns the lines that there are for the client.
func (s *scene) hear(l *Link) (lines []string) {
	s.Helper()
	synctest.Wait()
	ctx, cancel := context.WithCancel(s.Context())
	cancel()
	text, dest := "", make([]byte, 1<<16)
	for n, err := l.Read(ctx, dest); err == nil; n, err = l.Read(ctx, dest) {
		text += string(dest[:n])
	}
	return strings.FieldsFunc(text, func(r rune) bool { return r == '\n' })
}

// pins returns the streams of lines, all of which must be pins to rev of blocks of a
// half, each of another.
func (s *scene) pins(lines []string, half int64, rev zodb.Tid) (streams []int) {
	s.Helper()
	seen := make(map[int64]bool)
	for _, line := range lines {
		var stream int
		var blk int64
		var oid, at string
		_, err := fmt.Sscanf(line, "%d pin %s #%d @%s", &stream, &oid, &blk, &at)
		require.NoError(s, err, "%q", line)
		require.Equal(s, rev.String(), at, "%q", line)
		require.Equal(s, half, blk/s.n, "%q", line)
		require.False(s, seen[blk], "%q", line)
		seen[blk] = true
		streams = append(streams, stream)
	}
	return streams
}

func (s *scene) ack(l *Link, streams []int) {
	s.Helper()
	for _, stream := range streams {
		s.say(l, "%d ack", stream)
	}
}
