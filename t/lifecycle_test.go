package t

import (
	"crypto/sha1"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/moby/sys/mountinfo"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// mountEntry returns the entry of the mount table for a mount point.
func mountEntry(t testing.TB, dir string) *mountinfo.Info {
	t.Helper()
	entries, err := mountinfo.GetMounts(func(info *mountinfo.Info) (skip, stop bool) { return info.Mountpoint != dir, false })
	require.NoError(t, err)
	require.Len(t, entries, 1, "mounts on %s", dir)
	return entries[0]
}

// Unmount does what umount(8) does. What uses the mount for a moment, like a
// RELEASE that is on its way, is waited for.
func (s *Server) Unmount() {
	s.t.Helper()
	until(s.t, "unmount "+s.Dir, func() bool {
		err := unix.Unmount(s.Dir, 0)
		if err != unix.EBUSY {
			require.NoError(s.t, err)
		}
		return err == nil
	})
}

// waitDead waits until the mount of a dead server says so for good. For a
// moment the kernel may say that the connection was aborted.
func (s *Server) waitDead(paths ...string) {
	s.t.Helper()
	for _, path := range append(paths, s.Path(".wcfs/zurl"), s.Path("head/at"), s.Path("anything")) {
		until(s.t, path+" gives ENOTCONN", func() bool {
			var st unix.Stat_t
			fd, err := openFile(path, unix.O_RDONLY)
			if err == nil { // the kernel may still know the name
				_, err = unix.Pread(fd, make([]byte, 1), 0)
				unix.Close(fd)
			}
			require.Contains(s.t, []error{nil, unix.ENOTCONN, unix.ECONNABORTED}, err, path)
			return err == unix.ENOTCONN || unix.Stat(path, &st) == unix.ENOTCONN
		})
	}
}

func TestSignalsEndTheServerCleanly(t *testing.T) {
	t.Parallel()
	for _, sig := range []os.Signal{syscall.SIGINT, syscall.SIGTERM} {
		s := Start(t, "topo")
		s.Signal(sig)
		require.Zero(t, s.WaitExit(), s.Log())
		require.Empty(t, wcfsMounts(s.Dir))
		require.DirExists(t, s.Dir, "a directory that we were given stays")
		require.Empty(t, list(t, s.Dir))
	}
}

// TestHangupIsAnOrderlyEnd, unless nohup(1) has said that it is none. The demo shows
// the same of a terminal that goes away.
func TestHangupIsAnOrderlyEnd(t *testing.T) {
	t.Parallel()
	s := Launch(t, Config{ZURL: "file://" + CopyDatabase(t, "topo"), Under: hearsHangup})
	s.Signal(syscall.SIGHUP)
	require.Zero(t, s.WaitExit(), s.Log())
	s = Launch(t, Config{ZURL: "file://" + CopyDatabase(t, "topo"), Under: []string{"nohup"}})
	s.Signal(syscall.SIGHUP)
	require.NotEmpty(t, content(t, s.Path("head/at")))
	s.Stop()
}

// TestSignalWhileItGetsReadyIsAnOrderlyEnd: it has mounted, and asks its mount whether
// that answers.
func TestSignalWhileItGetsReadyIsAnOrderlyEnd(t *testing.T) {
	t.Parallel()
	zurl := "file://" + CopyDatabase(t, "topo")
	for range 20 {
		s := launch(t, Config{ZURL: zurl})
		until(t, "it has mounted", func() bool { return !s.Running() || len(wcfsMounts(s.Dir)) > 0 })
		s.Stop()
	}
}

// defaultRoot is what all users share.
const defaultRoot = "/dev/shm/wcfs"

// defaultPoint is where clients look for the mount of a database.
func defaultPoint(zurl string) string {
	return fmt.Sprintf("%s/%x", defaultRoot, sha1.Sum([]byte(zurl)))
}

func TestDefaultMountPointIsMadeAndRemoved(t *testing.T) {
	t.Parallel()
	for _, existed := range []bool{false, true} {
		path := CopyDatabase(t, "topo")
		dir := defaultPoint("file://" + path)
		if existed {
			require.NoError(t, os.MkdirAll(dir, 0o755))
			t.Cleanup(func() { os.Remove(dir) })
		}
		s := Launch(t, Config{Options: []string{"serve"}, ZURL: "file://" + path, Typed: path, Dir: dir, TypedDir: "-"})
		require.Equal(t, "fuse.wcfs", mountEntry(t, dir).FSType)
		root := stat(t, "/dev/shm/wcfs")
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
	s := Start(t, "topo")
	s.Unmount()
	require.Zero(t, s.WaitExit(), s.Log())
	require.Contains(t, s.Log(), fmt.Sprintf("stop %q %q", s.Dir, s.ZURL))
}

// TestBusyMountGoesWithTheServer: SIGTERM ends the server although processes use
// the mount, and they are told.
func TestBusyMountGoesWithTheServer(t *testing.T) {
	t.Parallel()
	const nblk, blksize = 16, 1 << 20 // much more than is read ahead
	path, _ := BuildDatabase(t, nblk, blksize, true)
	s := StartOn(t, path)
	file := s.Path("head/bigfile", builtOid.String())
	h := StartHelper(t, "hold", file, s.Path("head/bigfile"))
	require.Equal(t, "ready", h.Line())
	require.Equal(t, "ok", h.Ask("touch 0 0"))
	s.Signal(syscall.SIGTERM)
	require.Zero(t, s.WaitExit(), s.Log())
	require.Empty(t, wcfsMounts(s.Dir))
	until(t, "reading gives ENOTCONN", func() bool {
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
	path, _ := BuildDatabase(t, nblk, blksize, true)
	s := StartOn(t, path)
	h := StartHelper(t, "hold", s.Path("head/bigfile", builtOid.String()), s.Path(".wcfs/zurl"))
	require.Equal(t, "ready", h.Line())
	s.Signal(syscall.SIGKILL)
	s.WaitExit()
	s.waitDead(s.Path("head/bigfile", builtOid.String()))
	require.Equal(t, "ENOTCONN", h.Ask("read 0 0"))
	require.Equal(t, "SIGBUS", h.Ask(fmt.Sprintf("touch 0 %d", (nblk-1)*blksize)))

	// The mount stays until a server is started there again.
	again := Launch(t, Config{ZURL: s.ZURL, Dir: s.Dir})
	require.Contains(t, again.Log(), "is dead; it is detached")
	require.Len(t, wcfsMounts(s.Dir), 1)
	require.Equal(t, "ENOTCONN", h.Ask("read 0 0"), "who has files of the dead server open")
	require.Zero(t, h.Wait())
	again.Stop()
}

func TestSecondServerOnTheSamePlaceIsRefused(t *testing.T) {
	t.Parallel()
	s := Start(t, "topo")
	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink(s.Dir, link))
	for _, dir := range []string{s.Dir, s.Dir + "/", filepath.Dir(s.Dir) + "//./mnt/../mnt", link} {
		code, _, words := wcfs(t, "serve", s.ZURL, dir)
		require.Equal(t, 3, code, words)
		require.Contains(t, words, "already mounted: "+s.ZURL+" (type fuse.wcfs)")
		require.Equal(t, 1, strings.Count(words, "\n"), words)
	}
	mountEntry(t, s.Dir)
	s.Stop()
}

func TestWithoutAutoExitTheServerStays(t *testing.T) {
	t.Parallel()
	s := Launch(t, Config{ZURL: "file://" + CopyDatabase(t, "topo"), Join: true})
	s.Leave()
	for range 100 {
		content(t, s.Path(".wcfs/zurl"))
	}
	require.True(t, s.Running())
	s.Stop()
}
