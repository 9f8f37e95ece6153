package t

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"lab.nexedi.com/kirr/neo/go/zodb"
)

// TestReadsPinExactlyWhoNeedsIt is B11.
func TestReadsPinExactlyWhoNeedsIt(t *testing.T) {
	t.Parallel()
	forAllProcs(t, testReadsPinExactlyWhoNeedsIt)
}

func testReadsPinExactlyWhoNeedsIt(t *testing.T, procs int) {
	sc := newSceneOf(t, procs, blksize)
	sc.commit(2)
	sc.commit(2, 3, 5)
	sc.commit(0, 2, 5)
	sc.mapped(7)
	sc.read(0, 1, 2, 3)
	at := sc.at
	w3, w3b := sc.watching(at[3], pins{}), sc.watching(at[3], pins{})
	w2 := sc.watching(at[2], pins{0: at[0], 2: at[2]})
	at = append(at, sc.commit(1, 2, 5, 6))
	require.Equal(t, "1001000", sc.m.Cache())
	sc.none("a commit pins nothing")

	sc.read(0)
	sc.none("a did not change")
	sc.read(1)
	for _, w := range []*watcher{w3, w3b, w2} {
		w.Expect(sc.f, pins{1: at[0]}, "b")
	}
	sc.see(0, 1, 3)
	sc.read(2)
	w3.Expect(sc.f, pins{2: at[3]}, "c")
	w3b.Expect(sc.f, pins{2: at[3]}, "c")
	w2.Expect(sc.f, pins{}, "c is pinned already")
	sc.see(0, 1, 2, 3)
	sc.read(3)
	sc.none("d did not change")
	sc.read(4)
	sc.none("e is a hole")
	sc.read(6)
	for _, w := range []*watcher{w3, w3b, w2} {
		w.Expect(sc.f, pins{6: at[0]}, "g")
	}
	require.Equal(t, "1111101", sc.m.Cache(), "f is not read")

	at = append(at, sc.commit(2, 3, 5))
	w3b.Unwatch(sc.f)
	w2.Close()
	sc.read(2)
	sc.none("c is pinned already")
	sc.read(3)
	w3.Expect(sc.f, pins{3: at[2]}, "d")
	w3b.Expect(sc.f, pins{}, "not watched any more")
	sc.read(0, 1, 4, 6)
	sc.none()
	w3.Sees(sc.f, 0, 1, 2, 3, 4)

	w3.Watch(sc.f, at[4])
	w3.Expect(sc.f, pins{1: toHead, 2: at[4], 6: toHead})
	w3.Pinned(sc.f, pins{2: at[4], 3: at[2]})
	w3.Sees(sc.f, 0, 1, 2, 3, 4, 6)
	sc.read(5)
	w3.Expect(sc.f, pins{5: at[4]}, "f")
	w3.Watch(sc.f, at[5])
	w3.Expect(sc.f, pins{2: toHead, 3: toHead, 5: toHead})
	w3.Pinned(sc.f, pins{})
	w3.Sees(sc.f)
	require.Equal(t, "1111111", sc.m.Cache())
	require.Equal(t, 1, sc.s.stats()["Watch"])
	require.Equal(t, 2, sc.s.stats()["WatchLink"])
	sc.end()
}

// TestFaultSeesWhatItIsPinnedTo is B12: a thread that faults in head sees what
// its process maps there while it waits; G2: a mapping that is not changed shows
// head; G15: what is beyond the end at the view is zeros.
func TestFaultSeesWhatItIsPinnedTo(t *testing.T) {
	t.Parallel()
	forAllProcs(t, func(t *testing.T, procs int) {
		sc := newSceneOf(t, procs, blksize)
		at1 := sc.commitBlocks(Blocks{2: "hello", 4: "a"})
		sc.commitBlocks(Blocks{2: "world", 5: "grown"})
		c := sc.isolated(8)
		require.Equal(t, "ok", c.Ask("watch "+at1.String()))
		require.Equal(t, `"hello"`, c.Ask("get 2"), "through the mapping")
		require.Equal(t, pins{2: at1}.String(), c.Ask("pins"))
		require.Equal(t, `"world"`, c.Ask("get2 2"), "through another one")
		require.Equal(t, `""`, c.Ask("get 5"))
		require.Equal(t, `"grown"`, c.Ask("get2 5"))
		require.Equal(t, pins{5: sc.at[0]}.String(), c.Ask("pins"))
		require.Equal(t, `"a"`, c.Ask("get 4"))
		sc.commitBlocks(Blocks{2: "again", 7: "more"})
		require.Equal(t, `"hello"`, c.Ask("get 2"))
		require.Equal(t, "ok", c.Ask("watch "+sc.at[2].String()))
		require.Equal(t, pins{2: sc.at[2], 5: toHead}.String(), c.Ask("pins"))
		for blk, want := range map[int]string{2: "world", 4: "a", 5: "grown", 7: ""} {
			require.Equal(t, fmt.Sprintf("%q", want), c.Ask(fmt.Sprintf("get %d", blk)))
		}
		require.Equal(t, pins{7: sc.at[0]}.String(), c.Ask("pins"))
		require.Zero(t, c.Wait())
		sc.s.requireNoLinks()
		require.Zero(t, sc.s.stats()["pinkill"])
	})
}

// isolated starts a whole client in another process.
func (sc *scene) isolated(nblk int) *Helper {
	sc.t.Helper()
	h := StartHelper(sc.t, "isolated", sc.s.Dir, sc.f.Oid.String(), fmt.Sprint(sc.f.BlkSize), fmt.Sprint(nblk))
	require.Equal(sc.t, "ready", h.Line())
	return h
}

// TestWhatIsPinnedIsNotPinnedAgain is B13.
func TestWhatIsPinnedIsNotPinnedAgain(t *testing.T) {
	t.Parallel()
	sc := newScene(t)
	at1 := sc.commit(2)
	sc.commit(2)
	sc.mapped(3)
	w := sc.watching(at1, pins{})
	sc.read(2)
	w.Expect(sc.f, pins{2: at1})
	for range 3 {
		sc.m.Close()
		dropBlocks(t, sc.f.Path(sc.s, "head"))
		sc.mapped(3)
		require.Equal(t, "000", sc.m.Cache())
		sc.read(2)
		w.Expect(sc.f, pins{})
	}
	require.Equal(t, map[string]int{"BigFile": 1, "RevHead": 0, "ZHeadLink": 0, "WatchLink": 1, "Watch": 1, "PinnedBlk": 1, "pin": 1, "pinkill": 0}, sc.s.stats())
	w.Sees(sc.f)
	sc.end()
}

// TestLinkWatchesSeveralFiles is B14.
func TestLinkWatchesSeveralFiles(t *testing.T) {
	t.Parallel()
	sc := newScene(t)
	file2 := sc.l.NewFile(blksize)
	write := func(n int, blks1, blks2 []int64) zodb.Tid {
		at := sc.l.Commit(func(tx *LiveTx) {
			for _, blk := range blks1 {
				tx.Write(sc.f, blk, sceneText(n, blk))
			}
			for _, blk := range blks2 {
				tx.Write(file2, blk, "second "+sceneText(n, blk))
			}
		})
		sc.s.WaitAt(at)
		return at
	}
	made2 := sc.l.Head()
	at1 := write(1, []int64{0, 2}, []int64{1, 3})
	at2 := write(2, []int64{2}, []int64{3})
	at3 := write(3, []int64{0, 2}, []int64{1, 3})
	sc.mapped(4)
	m2 := Map(t, file2.Path(sc.s, "head"), blksize, 4)
	sc.read(0)
	require.Equal(t, "second b3", m2.Block(1))
	w := sc.watcher()
	w.Watch(sc.f, at2)
	w.Expect(sc.f, pins{0: at1})
	w.Watch(file2, at2)
	w.Expect(file2, pins{1: at1})
	sc.read(2)
	w.Expect(sc.f, pins{2: at2})
	require.Equal(t, "second d3", m2.Block(3))
	w.Expect(file2, pins{3: at2})
	require.Equal(t, "", m2.Block(0))
	sc.none()
	w.Sees(sc.f)
	w.Sees(file2)
	require.Equal(t, 2, sc.s.stats()["Watch"])
	require.Equal(t, 4, sc.s.stats()["PinnedBlk"])
	w.Watch(sc.f, at3)
	w.Expect(sc.f, pins{0: toHead, 2: toHead})
	w.Sees(sc.f)
	w.Sees(file2)
	w.Watch(file2, at3)
	w.Expect(file2, pins{1: toHead, 3: toHead})
	w.Sees(file2)
	other := sc.watcher()
	other.Watch(file2, made2)
	other.Expect(file2, pins{1: made2, 3: made2})
	other.Sees(file2)
	m2.Close()
	sc.end()
}

// TestDataFromBeforeTheServerCanBeWatched is A10.
func TestDataFromBeforeTheServerCanBeWatched(t *testing.T) {
	t.Parallel()
	l := NewLive(t)
	f := l.NewFile(blksize)
	at1 := f.Commit(Blocks{0: "a"})
	sc := &scene{t: t, l: l, f: f, s: l.serve(0), at: []zodb.Tid{at1}}
	sc.open()
	sc.mapped(2)
	sc.watching(at1, pins{})
	sc.read(0)
	at2 := sc.commitBlocks(Blocks{1: "b1"})
	sc.commitBlocks(Blocks{0: "a2"})
	sc.read(0)
	sc.watchers[0].Expect(f, pins{0: at1})
	sc.watching(at2, pins{0: at1})
	sc.see()
	sc.end()
}

// TestReadOfALinkEndsWithTheProcess is B1.
func TestReadOfALinkEndsWithTheProcess(t *testing.T) {
	t.Parallel()
	sc := newScene(t)
	for _, how := range []string{"exit", "TERM", "KILL"} {
		h := StartHelper(t, "rawlink", sc.s.Dir)
		require.Equal(t, "ready", h.Line())
		require.Equal(t, "ok", h.Ask("reading"))
		pid := h.cmd.Process.Pid
		until(t, "a thread reads", func() bool { return anyThreadIn(pid, unix.SYS_READ, "head/watch") })
		switch how {
		case "exit":
			h.Tell("exit")
		case "TERM":
			require.NoError(t, h.cmd.Process.Signal(unix.SIGTERM))
		case "KILL":
			require.NoError(t, h.cmd.Process.Kill())
		}
		requireEnded(t, h)
		sc.s.requireNoLinks()
	}
	sc.end()
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
func requireEnded(t testing.TB, h *Helper) {
	t.Helper()
	until(t, "the process has ended", func() bool { return hasEnded(h.cmd.Process.Pid) })
}

// hasEnded reports whether a process, which is a child of this one, has ended.
func hasEnded(pid int) bool {
	var info unix.Siginfo
	for {
		err := unix.Waitid(unix.P_PID, pid, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
		if err != unix.EINTR {
			return err == nil && info.Signo != 0 || err == unix.ECHILD
		}
	}
}
