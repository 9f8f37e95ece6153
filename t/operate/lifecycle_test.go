package operate

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/t/harness"
	"golang.org/x/sys/unix"
)

func TestSignalsEndTheServerCleanly(t *testing.T) {
	t.Parallel()
	for _, sig := range []os.Signal{syscall.SIGINT, syscall.SIGTERM} {
		s := harness.Start(t, "topo")
		s.Signal(sig)
		require.Zero(t, s.WaitExit(), s.Log())
		require.Empty(t, harness.Mounts(s.Dir))
		require.DirExists(t, s.Dir, "a directory that we were given stays")
		require.Empty(t, harness.List(t, s.Dir))
	}
}

// TestHangupIsAnOrderlyEnd, unless nohup(1) has said that it is none. The demo shows
// the same of a terminal that goes away.
func TestHangupIsAnOrderlyEnd(t *testing.T) {
	t.Parallel()
	s := harness.Launch(t, harness.Config{ZURL: "file://" + harness.CopyDatabase(t, "topo"), Under: harness.HearsHangup})
	s.Signal(syscall.SIGHUP)
	require.Zero(t, s.WaitExit(), s.Log())
	s = harness.Launch(t, harness.Config{ZURL: "file://" + harness.CopyDatabase(t, "topo"), Under: []string{"nohup"}})
	s.Signal(syscall.SIGHUP)
	require.NotEmpty(t, harness.Content(t, s.Path("head/at")))
	s.Stop()
}

// TestSignalWhileItGetsReadyIsAnOrderlyEnd: it has mounted, and asks its mount whether
// that answers.
func TestSignalWhileItGetsReadyIsAnOrderlyEnd(t *testing.T) {
	t.Parallel()
	zurl := "file://" + harness.CopyDatabase(t, "topo")
	for range 20 {
		s := harness.Begin(t, harness.Config{ZURL: zurl})
		harness.Until(t, "it has mounted", func() bool { return !s.Running() || len(harness.Mounts(s.Dir)) > 0 })
		s.Stop()
	}
}

func TestDefaultMountPointIsMadeAndRemoved(t *testing.T) {
	t.Parallel()
	for _, existed := range []bool{false, true} {
		path := harness.CopyDatabase(t, "topo")
		dir := harness.DefaultPoint("file://" + path)
		if existed {
			require.NoError(t, os.MkdirAll(dir, 0o755))
			t.Cleanup(func() { os.Remove(dir) })
		}
		s := harness.Launch(t, harness.Config{Options: []string{"serve"}, ZURL: "file://" + path, Typed: path, Dir: dir, TypedDir: "-"})
		require.Equal(t, "fuse.wcfs", harness.MountEntry(t, dir).FSType)
		root := harness.Stat(t, "/dev/shm/wcfs")
		if int(root.Uid) == os.Getuid() {
			require.EqualValues(t, unix.S_IFDIR|0o1777, root.Mode, "all users share the directory: %o", root.Mode)
		}
		s.Stop()
		if existed {
			require.DirExists(t, dir, "what was there before stays")
		} else {
			require.NoDirExists(t, dir)
		}
	}
}

func TestUmountEndsTheServer(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, "topo")
	s.Unmount()
	require.Zero(t, s.WaitExit(), s.Log())
	require.Contains(t, s.Log(), fmt.Sprintf("stop %q %q", s.Dir, s.ZURL))
}

// TestBusyMountGoesWithTheServer: SIGTERM ends the server although processes use
// the mount, and they are told.
func TestBusyMountGoesWithTheServer(t *testing.T) {
	t.Parallel()
	const nblk, blksize = 16, 1 << 20 // much more than is read ahead
	path, _ := harness.BuildDatabase(t, nblk, blksize, true)
	s := harness.StartOn(t, path)
	file := s.Path("head/bigfile", harness.BuiltOid.String())
	h := harness.StartHelper(t, "hold", file, s.Path("head/bigfile"))
	require.Equal(t, "ready", h.Line())
	require.Equal(t, "ok", h.Ask("touch 0 0"))
	s.Signal(syscall.SIGTERM)
	require.Zero(t, s.WaitExit(), s.Log())
	require.Empty(t, harness.Mounts(s.Dir))
	harness.Until(t, "reading gives ENOTCONN", func() bool {
		answer := h.Ask(fmt.Sprintf("read 0 %d", (nblk-1)*blksize))
		require.Contains(t, []string{"ENOTCONN", "ECONNABORTED"}, answer)
		return answer == "ENOTCONN"
	})
	require.Equal(t, "SIGBUS", h.Ask(fmt.Sprintf("touch 0 %d", (nblk-1)*blksize)), "a page that was never read")
	require.Equal(t, "ok", h.Ask("touch 0 0"), "a page that was")
	require.Zero(t, h.Wait())
}

func TestKilledServerLeavesENOTCONN(t *testing.T) {
	t.Parallel()
	const nblk, blksize = 4, 64 << 10
	path, _ := harness.BuildDatabase(t, nblk, blksize, true)
	s := harness.StartOn(t, path)
	h := harness.StartHelper(t, "hold", s.Path("head/bigfile", harness.BuiltOid.String()), s.Path(".wcfs/zurl"))
	require.Equal(t, "ready", h.Line())
	s.Signal(syscall.SIGKILL)
	s.WaitExit()
	s.WaitDead(s.Path("head/bigfile", harness.BuiltOid.String()))
	require.Equal(t, "ENOTCONN", h.Ask("read 0 0"))
	require.Equal(t, "SIGBUS", h.Ask(fmt.Sprintf("touch 0 %d", (nblk-1)*blksize)))

	// The mount stays until a server is started there again.
	again := harness.Launch(t, harness.Config{ZURL: s.ZURL, Dir: s.Dir})
	require.Contains(t, again.Log(), "is dead; it is detached")
	require.Len(t, harness.Mounts(s.Dir), 1)
	require.Equal(t, "ENOTCONN", h.Ask("read 0 0"), "who has files of the dead server open")
	require.Zero(t, h.Wait())
	again.Stop()
}

func TestSecondServerOnTheSamePlaceIsRefused(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, "topo")
	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink(s.Dir, link))
	for _, dir := range []string{s.Dir, s.Dir + "/", filepath.Dir(s.Dir) + "//./mnt/../mnt", link} {
		code, _, words := harness.Run(t, "serve", s.ZURL, dir)
		require.Equal(t, 3, code, words)
		require.Contains(t, words, "already mounted: "+s.ZURL+" (type fuse.wcfs)")
		require.Equal(t, 1, strings.Count(words, "\n"), words)
	}
	harness.MountEntry(t, s.Dir)
	s.Stop()
}

func TestWithoutAutoExitTheServerStays(t *testing.T) {
	t.Parallel()
	s := harness.Launch(t, harness.Config{ZURL: "file://" + harness.CopyDatabase(t, "topo"), Join: true})
	s.Leave()
	for range 100 {
		harness.Content(t, s.Path(".wcfs/zurl"))
	}
	require.True(t, s.Running())
	s.Stop()
}
