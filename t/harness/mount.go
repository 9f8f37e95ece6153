package harness

import (
	"crypto/sha1"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/moby/sys/mountinfo"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// RequireEIOMode requires that the server stops because it cannot follow the
// database any more, and that all who use it are told.
func RequireEIOMode(t *testing.T, s *Server, paths ...string) {
	t.Helper()
	require.NotZero(t, s.WaitExit())
	first := strings.Index(s.Log(), "zwatcher failed")
	require.GreaterOrEqual(t, first, 0, s.Log())
	require.Greater(t, strings.Index(s.Log(), "switching filesystem to EIO mode"), first, s.Log())
	s.WaitDead(paths...)
}

// Mounts returns the mount points of wcfs below dir. The kernel hands its table over in
// pieces, and a mount that has gone and one that has come between two of them may both be
// there. So it is read until it is the same twice.
func Mounts(dir string) []string {
	for before, _ := mountsOnce(dir); ; {
		ids, points := mountsOnce(dir)
		if slices.Equal(ids, before) {
			return points
		}
		before = ids
	}
}

func mountsOnce(dir string) (ids []int, points []string) {
	entries, err := mountinfo.GetMounts(func(e *mountinfo.Info) (skip, stop bool) {
		return e.FSType != "fuse.wcfs" || !strings.HasPrefix(e.Mountpoint, dir), false
	})
	if err != nil {
		return nil, []string{err.Error()}
	}
	for _, e := range entries {
		ids, points = append(ids, e.ID), append(points, e.Mountpoint)
	}
	return ids, points
}

// Abort makes the kernel give up the FUSE connection: whoever waits for the
// server is freed, also from waits that SIGKILL cannot end.
func (s *Server) Abort() { AbortConnection(s.dev) }

// AbortConnection is Abort of the mount with a device number.
func AbortConnection(dev uint64) {
	dir, err := os.MkdirTemp("", "wcfs-fusectl-")
	if err != nil {
		return
	}
	defer os.Remove(dir)
	if err := unix.Mount("none", dir, "fusectl", 0, ""); err != nil {
		return
	}
	defer unix.Unmount(dir, 0)
	path := filepath.Join(dir, fmt.Sprint(unix.Minor(dev)), "abort")
	_ = os.WriteFile(path, []byte("1"), 0)
}

// MountEntry returns the entry of the mount table for a mount point.
func MountEntry(t testing.TB, dir string) *mountinfo.Info {
	t.Helper()
	entries, err := mountinfo.GetMounts(func(info *mountinfo.Info) (skip, stop bool) { return info.Mountpoint != dir, false })
	require.NoError(t, err)
	require.Len(t, entries, 1, "mounts on %s", dir)
	return entries[0]
}

// Unmount does what umount(8) does. It waits for a process that uses the
// mount for a moment, and for a RELEASE that is on its way.
func (s *Server) Unmount() {
	s.T.Helper()
	Until(s.T, "unmount "+s.Dir, func() bool {
		err := unix.Unmount(s.Dir, 0)
		if err != unix.EBUSY {
			require.NoError(s.T, err)
		}
		return err == nil
	})
}

// WaitDead waits until the mount of a dead server says so for good. For a
// moment the kernel may say that the connection was aborted.
func (s *Server) WaitDead(paths ...string) {
	s.T.Helper()
	for _, path := range append(paths, s.Path(".wcfs/zurl"), s.Path("head/at"), s.Path("anything")) {
		Until(s.T, path+" gives ENOTCONN", func() bool {
			var st unix.Stat_t
			fd, err := OpenFile(path, unix.O_RDONLY)
			if err == nil { // the kernel may still know the name
				_, err = unix.Pread(fd, make([]byte, 1), 0)
				unix.Close(fd)
			}
			require.Contains(s.T, []error{nil, unix.ENOTCONN, unix.ECONNABORTED}, err, path)
			return err == unix.ENOTCONN || unix.Stat(path, &st) == unix.ENOTCONN
		})
	}
}

// DefaultRoot is what all users share.
const DefaultRoot = "/dev/shm/wcfs"

// DefaultPoint is where clients look for the mount of a database.
func DefaultPoint(zurl string) string {
	return fmt.Sprintf("%s/%x", DefaultRoot, sha1.Sum([]byte(zurl)))
}
