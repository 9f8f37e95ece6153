package t

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"lab.nexedi.com/kirr/neo/go/zodb"
)

// scene is a served database with one file, which is mapped by a process that
// watches nothing.
type scene struct {
	t        testing.TB
	l        *Live
	f        *LiveFile
	s        *Server
	m        *Mapped
	watchers []*watcher
	at       []zodb.Tid // at[0] made the file, at[n] is the n-th commit
}

// newScene serves a database with an empty file. So at[0] is where history
// begins.
func newScene(t testing.TB, options ...string) *scene {
	t.Helper()
	return newSceneOf(t, 0, 2<<20, options...)
}

// newSceneOf is newScene for a server with that many threads for Go code, unless
// it is 0, and for blocks of another size.
func newSceneOf(t testing.TB, procs int, blksize int64, options ...string) *scene {
	t.Helper()
	sc := &scene{t: t, l: NewLive(t)}
	sc.f = sc.l.NewFile(blksize)
	sc.at = []zodb.Tid{sc.l.Head()}
	sc.s = sc.l.serve(procs, options...)
	return sc
}

// serve is Start with GOMAXPROCS, unless that is 0.
func (l *Live) serve(procs int, options ...string) *Server {
	l.t.Helper()
	env := os.Environ()
	if procs > 0 {
		env = append(env, fmt.Sprintf("GOMAXPROCS=%d", procs))
	}
	return Launch(l.t, Config{Options: options, ZURL: l.ZURL, Env: env})
}

// forAllProcs runs a test with servers of 1 and 2 threads for Go code, and of as
// many as there are.
func forAllProcs(t *testing.T, test func(t *testing.T, procs int)) {
	for _, procs := range []int{0, 1, 2} {
		t.Run(fmt.Sprintf("GOMAXPROCS=%d", procs), func(t *testing.T) {
			t.Parallel()
			test(t, procs)
		})
	}
}

// text is what commit n writes into a block: b2 is block 1 in commit 2.
func sceneText(n int, blk int64) string { return fmt.Sprintf("%c%d", 'a'+rune(blk), n) }

// commit commits new content of blocks, and waits until head shows it.
func (sc *scene) commit(blks ...int64) zodb.Tid {
	sc.t.Helper()
	blocks := Blocks{}
	for _, blk := range blks {
		blocks[blk] = sceneText(len(sc.at), blk)
	}
	return sc.commitBlocks(blocks)
}

func (sc *scene) commitBlocks(blocks Blocks) zodb.Tid {
	sc.t.Helper()
	at := sc.f.Commit(blocks)
	sc.at = append(sc.at, at)
	sc.s.WaitAt(at)
	if sc.m != nil {
		sc.open() // the kernel learns that the file has grown when somebody asks
	}
	return at
}

// mapped maps n blocks.
func (sc *scene) mapped(n int64) {
	sc.t.Helper()
	sc.m = Map(sc.t, sc.f.Path(sc.s, "head"), sc.f.BlkSize, n)
}

// read touches a block of head through the mapping. What it reads must be right.
func (sc *scene) read(blks ...int64) {
	sc.t.Helper()
	for _, blk := range blks {
		require.Equal(sc.t, sc.f.Text(blk, sc.l.Head()), sc.m.Block(blk), "block %d of head", blk)
	}
}

// startRead touches a block. What is returned waits for what it reads, which
// must be right.
func (sc *scene) startRead(blk int64) (wait func()) {
	sc.t.Helper()
	sc.m.h.Tell(fmt.Sprintf("get %d", blk))
	return func() {
		sc.t.Helper()
		require.Equal(sc.t, fmt.Sprintf("%q", sc.f.Text(blk, sc.l.Head())), sc.m.h.Line(), "block %d of head", blk)
	}
}

// reading requires that a READ of a block, begun by startRead, still waits.
func (sc *scene) stillReading() {
	sc.t.Helper()
	select {
	case line := <-sc.m.h.lines:
		sc.t.Fatalf("READ does not wait: %s", line)
	default:
	}
}

// open makes the file known to the server.
func (sc *scene) open() { sc.t.Helper(); stat(sc.t, sc.f.Path(sc.s, "head")) }

func (sc *scene) watcher() *watcher {
	sc.t.Helper()
	w := sc.s.watcher()
	sc.watchers = append(sc.watchers, w)
	return w
}

func (sc *scene) manualWatcher() *watcher {
	sc.t.Helper()
	w := sc.s.manualWatcher()
	sc.watchers = append(sc.watchers, w)
	return w
}

// watching returns a watcher of the file at a view, which needs exactly these
// pins.
func (sc *scene) watching(at zodb.Tid, want pins) *watcher {
	sc.t.Helper()
	w := sc.watcher()
	w.Watch(sc.f, at)
	w.Expect(sc.f, want)
	w.Pinned(sc.f, want)
	return w
}

// none requires that nobody was pinned anything since it was looked at last.
func (sc *scene) none(what ...any) {
	sc.t.Helper()
	for _, w := range sc.watchers {
		if w.fd >= 0 {
			w.ExpectAll(nil, what...)
		}
	}
}

// see requires that all watchers see what they must.
func (sc *scene) see(blks ...int64) {
	sc.t.Helper()
	for _, w := range sc.watchers {
		for f := range w.at {
			if w.fd >= 0 {
				w.Sees(f, blks...)
			}
		}
	}
}

// end ends all watchers and the server, and requires that no process was killed,
// that all pins were counted, and that nothing is left of the links.
func (sc *scene) end() {
	sc.t.Helper()
	npins := 0
	for _, w := range sc.watchers {
		w.Close()
		npins += w.npins
	}
	sc.s.requireNoLinks()
	require.Equal(sc.t, npins, sc.s.stats()["pin"], "pins counted")
	require.Zero(sc.t, sc.s.stats()["pinkill"])
	if sc.m != nil {
		sc.m.Close()
	}
	sc.s.Stop()
}

// stats returns .wcfs/stats.
func (s *Server) stats() map[string]int {
	s.t.Helper()
	all := make(map[string]int)
	for line := range strings.Lines(content(s.t, s.Path(".wcfs/stats"))) {
		var name string
		var value int
		_, err := fmt.Sscanf(line, "%s : %d\n", &name, &value)
		require.NoError(s.t, err, line)
		all[name] = value
	}
	require.Len(s.t, all, 8)
	return all
}

// requireNoLinks waits until nothing is left of any link.
func (s *Server) requireNoLinks() {
	s.t.Helper()
	until(s.t, "nothing is left of links", func() bool {
		st := s.stats()
		return st["WatchLink"]+st["Watch"]+st["PinnedBlk"] == 0
	})
}

// dropBlock drops what the page cache has of a file.
func dropBlocks(t testing.TB, path string) {
	t.Helper()
	fd, err := openFile(path, unix.O_RDONLY)
	require.NoError(t, err)
	defer unix.Close(fd)
	require.NoError(t, unix.Fadvise(fd, 0, 0, unix.FADV_DONTNEED))
}
