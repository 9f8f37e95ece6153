package harness

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"
)

// Scene is a served database with one file, which is mapped by a process that
// watches nothing.
type Scene struct {
	T        testing.TB
	Live     *Live
	File     *LiveFile
	Server   *Server
	Mapped   *Mapped
	Watchers []*Watcher
	At       []zodb.Tid // at[0] made the file, at[n] is the n-th commit
}

// NewScene serves a database with an empty file. So at[0] is where history
// begins.
func NewScene(t testing.TB, options ...string) *Scene {
	t.Helper()
	return NewSceneOf(t, 0, 2<<20, options...)
}

// NewSceneOf is NewScene for a server with that many threads for Go code, unless
// it is 0, and for blocks of another size.
func NewSceneOf(t testing.TB, procs int, blksize int64, options ...string) *Scene {
	t.Helper()
	sc := &Scene{T: t, Live: NewLive(t)}
	sc.File = sc.Live.NewFile(blksize)
	sc.At = []zodb.Tid{sc.Live.Head()}
	sc.Server = sc.Live.Serve(procs, options...)
	return sc
}

// Serve is Start with GOMAXPROCS, unless that is 0.
func (l *Live) Serve(procs int, options ...string) *Server {
	l.T.Helper()
	env := os.Environ()
	if procs > 0 {
		env = append(env, fmt.Sprintf("GOMAXPROCS=%d", procs))
	}
	return Launch(l.T, Config{Options: options, ZURL: l.ZURL, Env: env})
}

// ForAllProcs runs a test with servers of 1 and 2 threads for Go code, and of as
// many as there are.
func ForAllProcs(t *testing.T, test func(t *testing.T, procs int)) {
	for _, procs := range []int{0, 1, 2} {
		t.Run(fmt.Sprintf("GOMAXPROCS=%d", procs), func(t *testing.T) {
			t.Parallel()
			test(t, procs)
		})
	}
}

// SceneText is the content that commit n gives a block: "b2" is block 1 in commit 2.
func SceneText(n int, blk int64) string { return fmt.Sprintf("%c%d", 'a'+rune(blk), n) }

// Commit commits new content of blocks, and waits until head shows it.
func (sc *Scene) Commit(blks ...int64) zodb.Tid {
	sc.T.Helper()
	blocks := Blocks{}
	for _, blk := range blks {
		blocks[blk] = SceneText(len(sc.At), blk)
	}
	return sc.CommitBlocks(blocks)
}

// CommitBlocks is Commit with content of the caller.
func (sc *Scene) CommitBlocks(blocks Blocks) zodb.Tid {
	sc.T.Helper()
	at := sc.File.Commit(blocks)
	sc.At = append(sc.At, at)
	sc.Server.WaitAt(at)
	if sc.Mapped != nil {
		sc.Open() // the kernel learns that the file has grown when somebody asks
	}
	return at
}

// Map maps n blocks.
func (sc *Scene) Map(n int64) {
	sc.T.Helper()
	sc.Mapped = Map(sc.T, sc.File.Path(sc.Server, "head"), sc.File.BlkSize, n)
}

// Read touches a block of head through the mapping. The data must be right.
func (sc *Scene) Read(blks ...int64) {
	sc.T.Helper()
	for _, blk := range blks {
		require.Equal(sc.T, sc.File.Text(blk, sc.Live.Head()), sc.Mapped.Block(blk), "block %d of head", blk)
	}
}

// StartRead touches a block. The function returned waits for the data, which
// must be right.
func (sc *Scene) StartRead(blk int64) (wait func()) {
	sc.T.Helper()
	sc.Mapped.Helper.Tell(fmt.Sprintf("get %d", blk))
	return func() {
		sc.T.Helper()
		require.Equal(sc.T, fmt.Sprintf("%q", sc.File.Text(blk, sc.Live.Head())), sc.Mapped.Helper.Line(), "block %d of head", blk)
	}
}

// StillReading requires that a READ of a block, begun by StartRead, still waits.
func (sc *Scene) StillReading() {
	sc.T.Helper()
	select {
	case line := <-sc.Mapped.Helper.Lines:
		sc.T.Fatalf("READ does not wait: %s", line)
	default:
	}
}

// Open makes the file known to the server.
func (sc *Scene) Open() { sc.T.Helper(); Stat(sc.T, sc.File.Path(sc.Server, "head")) }

// Watcher adds a client to the scene.
func (sc *Scene) Watcher() *Watcher {
	sc.T.Helper()
	w := sc.Server.Watcher()
	sc.Watchers = append(sc.Watchers, w)
	return w
}

// ManualWatcher is a Watcher that acknowledges pins when the test says so.
func (sc *Scene) ManualWatcher() *Watcher {
	sc.T.Helper()
	w := sc.Server.ManualWatcher()
	sc.Watchers = append(sc.Watchers, w)
	return w
}

// Watching returns a watcher of the file at a view, which needs exactly these
// pins.
func (sc *Scene) Watching(at zodb.Tid, want Pins) *Watcher {
	sc.T.Helper()
	w := sc.Watcher()
	w.Watch(sc.File, at)
	w.Expect(sc.File, want)
	w.Pinned(sc.File, want)
	return w
}

// None requires that nobody was pinned anything since it was looked at last.
func (sc *Scene) None(what ...any) {
	sc.T.Helper()
	for _, w := range sc.Watchers {
		if w.FD >= 0 {
			w.ExpectAll(nil, what...)
		}
	}
}

// See requires that all watchers see what they must.
func (sc *Scene) See(blks ...int64) {
	sc.T.Helper()
	for _, w := range sc.Watchers {
		for f := range w.At {
			if w.FD >= 0 {
				w.Sees(f, blks...)
			}
		}
	}
}

// End ends all watchers and the server, and requires that no process was killed,
// that all pins were counted, and that nothing is left of the links.
func (sc *Scene) End() {
	sc.T.Helper()
	npins := 0
	for _, w := range sc.Watchers {
		w.Close()
		npins += w.NPins
	}
	sc.Server.RequireNoLinks()
	require.Equal(sc.T, npins, sc.Server.Stats()["pin"], "pins counted")
	require.Zero(sc.T, sc.Server.Stats()["pinkill"])
	if sc.Mapped != nil {
		sc.Mapped.Close()
	}
	sc.Server.Stop()
}

// Stats returns .wcfs/stats.
func (s *Server) Stats() map[string]int {
	s.T.Helper()
	all := make(map[string]int)
	for line := range strings.Lines(Content(s.T, s.Path(".wcfs/stats"))) {
		var name string
		var value int
		_, err := fmt.Sscanf(line, "%s : %d\n", &name, &value)
		require.NoError(s.T, err, line)
		all[name] = value
	}
	require.Len(s.T, all, 8)
	return all
}

// RequireNoLinks waits until nothing is left of any link.
func (s *Server) RequireNoLinks() {
	s.T.Helper()
	Until(s.T, "nothing is left of links", func() bool {
		st := s.Stats()
		return st["WatchLink"]+st["Watch"]+st["PinnedBlk"] == 0
	})
}
