package watch

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/t/harness"
	"golang.org/x/sys/unix"
	"lab.nexedi.com/kirr/neo/go/zodb"
)

// TestReadsPinExactlyWhoNeedsIt: each watch gets one pin, to the revision of its own view.
func TestReadsPinExactlyWhoNeedsIt(t *testing.T) {
	t.Parallel()
	harness.ForAllProcs(t, testReadsPinExactlyWhoNeedsIt)
}

func testReadsPinExactlyWhoNeedsIt(t *testing.T, procs int) {
	sc := harness.NewSceneOf(t, procs, harness.BlkSize)
	sc.Commit(2)
	sc.Commit(2, 3, 5)
	sc.Commit(0, 2, 5)
	sc.Map(7)
	sc.Read(0, 1, 2, 3)
	at := sc.At
	w3, w3b := sc.Watching(at[3], harness.Pins{}), sc.Watching(at[3], harness.Pins{})
	w2 := sc.Watching(at[2], harness.Pins{0: at[0], 2: at[2]})
	at = append(at, sc.Commit(1, 2, 5, 6))
	require.Equal(t, "1001000", sc.Mapped.Cache())
	sc.None("a commit pins nothing")

	sc.Read(0)
	sc.None("a did not change")
	sc.Read(1)
	for _, w := range []*harness.Watcher{w3, w3b, w2} {
		w.Expect(sc.File, harness.Pins{1: at[0]}, "b")
	}
	sc.See(0, 1, 3)
	sc.Read(2)
	w3.Expect(sc.File, harness.Pins{2: at[3]}, "c")
	w3b.Expect(sc.File, harness.Pins{2: at[3]}, "c")
	w2.Expect(sc.File, harness.Pins{}, "c is pinned already")
	sc.See(0, 1, 2, 3)
	sc.Read(3)
	sc.None("d did not change")
	sc.Read(4)
	sc.None("e is a hole")
	sc.Read(6)
	for _, w := range []*harness.Watcher{w3, w3b, w2} {
		w.Expect(sc.File, harness.Pins{6: at[0]}, "g")
	}
	require.Equal(t, "1111101", sc.Mapped.Cache(), "f is not read")
	readAfterAnotherCommit(sc, at, w3, w3b, w2)
	sc.End()
}

// readAfterAnotherCommit goes on with the clients w3 at at[3], w3b, which ends its watch,
// and w2, which closes its link.
func readAfterAnotherCommit(sc *harness.Scene, at []zodb.Tid, w3, w3b, w2 *harness.Watcher) {
	at = append(at, sc.Commit(2, 3, 5))
	w3b.Unwatch(sc.File)
	w2.Close()
	sc.Read(2)
	sc.None("c is pinned already")
	sc.Read(3)
	w3.Expect(sc.File, harness.Pins{3: at[2]}, "d")
	w3b.Expect(sc.File, harness.Pins{}, "not watched any more")
	sc.Read(0, 1, 4, 6)
	sc.None()
	w3.Sees(sc.File, 0, 1, 2, 3, 4)

	w3.Watch(sc.File, at[4])
	w3.Expect(sc.File, harness.Pins{1: harness.ToHead, 2: at[4], 6: harness.ToHead})
	w3.Pinned(sc.File, harness.Pins{2: at[4], 3: at[2]})
	w3.Sees(sc.File, 0, 1, 2, 3, 4, 6)
	sc.Read(5)
	w3.Expect(sc.File, harness.Pins{5: at[4]}, "f")
	w3.Watch(sc.File, at[5])
	w3.Expect(sc.File, harness.Pins{2: harness.ToHead, 3: harness.ToHead, 5: harness.ToHead})
	w3.Pinned(sc.File, harness.Pins{})
	w3.Sees(sc.File)
	require.Equal(sc.T, "1111111", sc.Mapped.Cache())
	require.Equal(sc.T, 1, sc.Server.Stats()["Watch"])
	require.Equal(sc.T, 2, sc.Server.Stats()["WatchLink"])
}

// TestFaultSeesWhatItIsPinnedTo: a thread that faults in head sees the page that its
// process maps there while it waits. A mapping that is not changed shows head. Blocks
// beyond the end at the view are zeros.
func TestFaultSeesWhatItIsPinnedTo(t *testing.T) {
	t.Parallel()
	harness.ForAllProcs(t, func(t *testing.T, procs int) {
		sc := harness.NewSceneOf(t, procs, harness.BlkSize)
		at1 := sc.CommitBlocks(harness.Blocks{2: "hello", 4: "a"})
		sc.CommitBlocks(harness.Blocks{2: "world", 5: "grown"})
		c := isolated(sc, 8)
		require.Equal(t, "ok", c.Ask("watch "+at1.String()))
		require.Equal(t, `"hello"`, c.Ask("get 2"), "through the mapping")
		require.Equal(t, harness.Pins{2: at1}.String(), c.Ask("pins"))
		require.Equal(t, `"world"`, c.Ask("get2 2"), "through another one")
		require.Equal(t, `""`, c.Ask("get 5"))
		require.Equal(t, `"grown"`, c.Ask("get2 5"))
		require.Equal(t, harness.Pins{5: sc.At[0]}.String(), c.Ask("pins"))
		require.Equal(t, `"a"`, c.Ask("get 4"))
		sc.CommitBlocks(harness.Blocks{2: "again", 7: "more"})
		require.Equal(t, `"hello"`, c.Ask("get 2"))
		require.Equal(t, "ok", c.Ask("watch "+sc.At[2].String()))
		require.Equal(t, harness.Pins{2: sc.At[2], 5: harness.ToHead}.String(), c.Ask("pins"))
		for blk, want := range map[int]string{2: "world", 4: "a", 5: "grown", 7: ""} {
			require.Equal(t, fmt.Sprintf("%q", want), c.Ask(fmt.Sprintf("get %d", blk)))
		}
		require.Equal(t, harness.Pins{7: sc.At[0]}.String(), c.Ask("pins"))
		require.Zero(t, c.Wait())
		sc.Server.RequireNoLinks()
		require.Zero(t, sc.Server.Stats()["pinkill"])
	})
}

// isolated starts a whole client in another process.
func isolated(sc *harness.Scene, nblk int) *harness.Helper {
	sc.T.Helper()
	h := harness.StartHelper(sc.T, "isolated", sc.Server.Dir, sc.File.Oid.String(), fmt.Sprint(sc.File.BlkSize), fmt.Sprint(nblk))
	require.Equal(sc.T, "ready", h.Line())
	return h
}

// TestWhatIsPinnedIsNotPinnedAgain, also when its pages were dropped and are read again.
func TestWhatIsPinnedIsNotPinnedAgain(t *testing.T) {
	t.Parallel()
	sc := harness.NewScene(t)
	at1 := sc.Commit(2)
	sc.Commit(2)
	sc.Map(3)
	w := sc.Watching(at1, harness.Pins{})
	sc.Read(2)
	w.Expect(sc.File, harness.Pins{2: at1})
	for range 3 {
		sc.Mapped.Close()
		harness.DropBlocks(t, sc.File.Path(sc.Server, "head"))
		sc.Map(3)
		require.Equal(t, "000", sc.Mapped.Cache())
		sc.Read(2)
		w.Expect(sc.File, harness.Pins{})
	}
	require.Equal(t, map[string]int{"BigFile": 1, "RevHead": 0, "ZHeadLink": 0, "WatchLink": 1, "Watch": 1, "PinnedBlk": 1, "pin": 1, "pinkill": 0}, sc.Server.Stats())
	w.Sees(sc.File)
	sc.End()
}

// TestLinkWatchesSeveralFiles: their watches know nothing of each other.
func TestLinkWatchesSeveralFiles(t *testing.T) {
	t.Parallel()
	sc := harness.NewScene(t)
	file2 := sc.Live.NewFile(harness.BlkSize)
	write := func(n int, blks1, blks2 []int64) zodb.Tid {
		at := sc.Live.Commit(func(tx *harness.LiveTx) {
			for _, blk := range blks1 {
				tx.Write(sc.File, blk, harness.SceneText(n, blk))
			}
			for _, blk := range blks2 {
				tx.Write(file2, blk, "second "+harness.SceneText(n, blk))
			}
		})
		sc.Server.WaitAt(at)
		return at
	}
	made2 := sc.Live.Head()
	at1 := write(1, []int64{0, 2}, []int64{1, 3})
	at2 := write(2, []int64{2}, []int64{3})
	at3 := write(3, []int64{0, 2}, []int64{1, 3})
	sc.Map(4)
	m2 := harness.Map(t, file2.Path(sc.Server, "head"), harness.BlkSize, 4)
	sc.Read(0)
	require.Equal(t, "second b3", m2.Block(1))
	w := sc.Watcher()
	w.Watch(sc.File, at2)
	w.Expect(sc.File, harness.Pins{0: at1})
	w.Watch(file2, at2)
	w.Expect(file2, harness.Pins{1: at1})
	sc.Read(2)
	w.Expect(sc.File, harness.Pins{2: at2})
	require.Equal(t, "second d3", m2.Block(3))
	w.Expect(file2, harness.Pins{3: at2})
	require.Equal(t, "", m2.Block(0))
	sc.None()
	w.Sees(sc.File)
	w.Sees(file2)
	require.Equal(t, 2, sc.Server.Stats()["Watch"])
	require.Equal(t, 4, sc.Server.Stats()["PinnedBlk"])
	w.Watch(sc.File, at3)
	w.Expect(sc.File, harness.Pins{0: harness.ToHead, 2: harness.ToHead})
	w.Sees(sc.File)
	w.Sees(file2)
	w.Watch(file2, at3)
	w.Expect(file2, harness.Pins{1: harness.ToHead, 3: harness.ToHead})
	w.Sees(file2)
	other := sc.Watcher()
	other.Watch(file2, made2)
	other.Expect(file2, harness.Pins{1: made2, 3: made2})
	other.Sees(file2)
	m2.Close()
	sc.End()
}

// TestDataFromBeforeTheServerCanBeWatched, though the server has not seen its commits.
func TestDataFromBeforeTheServerCanBeWatched(t *testing.T) {
	t.Parallel()
	l := harness.NewLive(t)
	f := l.NewFile(harness.BlkSize)
	at1 := f.Commit(harness.Blocks{0: "a"})
	sc := &harness.Scene{T: t, Live: l, File: f, Server: l.Serve(0), At: []zodb.Tid{at1}}
	sc.Open()
	sc.Map(2)
	sc.Watching(at1, harness.Pins{})
	sc.Read(0)
	at2 := sc.CommitBlocks(harness.Blocks{1: "b1"})
	sc.CommitBlocks(harness.Blocks{0: "a2"})
	sc.Read(0)
	sc.Watchers[0].Expect(f, harness.Pins{0: at1})
	sc.Watching(at2, harness.Pins{0: at1})
	sc.See()
	sc.End()
}

// TestReadOfALinkEndsWithTheProcess, however that ends.
func TestReadOfALinkEndsWithTheProcess(t *testing.T) {
	t.Parallel()
	sc := harness.NewScene(t)
	for _, how := range []string{"exit", "TERM", "KILL"} {
		h := harness.StartHelper(t, "rawlink", sc.Server.Dir)
		require.Equal(t, "ready", h.Line())
		require.Equal(t, "ok", h.Ask("reading"))
		pid := h.Cmd.Process.Pid
		harness.Until(t, "a thread reads", func() bool { return anyThreadIn(pid, unix.SYS_READ, "head/watch") })
		switch how {
		case "exit":
			h.Tell("exit")
		case "TERM":
			require.NoError(t, h.Cmd.Process.Signal(unix.SIGTERM))
		case "KILL":
			require.NoError(t, h.Cmd.Process.Kill())
		}
		requireEnded(t, h)
		sc.Server.RequireNoLinks()
	}
	sc.End()
}

// anyThreadIn reports whether a thread of a process is in a system call on a
// file whose name ends so.
func anyThreadIn(pid int, call int, name string) bool {
	tasks, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	for _, task := range tasks {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/syscall", pid, task.Name()))
		fields := strings.Fields(string(text))
		if len(fields) < 2 || fields[0] != fmt.Sprint(call) {
			continue
		}
		fd, _ := strconv.ParseUint(fields[1], 0, 64)
		file, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", pid, fd))
		if strings.HasSuffix(file, name) {
			return true
		}
	}
	return false
}

// requireEnded waits until a helper has ended, and leaves it a zombie.
func requireEnded(t testing.TB, h *harness.Helper) {
	t.Helper()
	harness.Until(t, "the process has ended", func() bool { return harness.HasEnded(h.Cmd.Process.Pid) })
}
