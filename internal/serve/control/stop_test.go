package control

import (
	"context"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/wcfs/wcfs/internal/serve/mount"
	"github.com/wcfs/wcfs/internal/serve/proc"
)

// startIn starts a program with dir as its current directory, until the test ends.
func startIn(t *testing.T, dir string) (pid int) {
	t.Helper()
	cmd := exec.Command("sleep", "1000")
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd.Process.Pid
}

// gone returns a server whose mount is not there any more, and had the device
// number that path is on now.
func gone(t *testing.T, path string) Server {
	t.Helper()
	var st unix.Stat_t
	require.NoError(t, unix.Stat(path, &st))
	return Server{Entry: mount.Entry{Dir: "/no/such/place", Source: "file:///no/such/database",
		Major: int(unix.Major(st.Dev)), Minor: int(unix.Minor(st.Dev))}}
}

func testStopper(t *testing.T, s Server) *stopper {
	stop := newStopper(context.Background(), s, StopOptions{Timeout: time.Second, Logf: t.Logf})
	t.Cleanup(stop.close)
	return stop
}

// TestUserOfAnotherMountIsLeftAlone: a client has let go, and uses another mount that
// was given the number of ours.
func TestUserOfAnotherMountIsLeftAlone(t *testing.T) {
	t.Parallel()
	pid := startIn(t, "/proc")
	stop := testStopper(t, gone(t, "/proc"))
	require.Equal(t, []string{"cwd"}, stop.server.User(pid).Uses, "it looks as a user")
	handle, err := proc.OfThread(pid)
	require.NoError(t, err)
	stop.users[pid], stop.handles[pid] = mount.User{PID: pid}, handle

	require.Empty(t, stop.stillUsing())
	require.Empty(t, stop.endClients())
	require.NoError(t, stop.outcome(nil))
	require.False(t, endsWithin(handle, 0))
}

// TestUsersOfWhatIsNotMountedAreNotFound: their number may be that of another mount.
func TestUsersOfWhatIsNotMountedAreNotFound(t *testing.T) {
	t.Parallel()
	startIn(t, "/proc")
	stop := testStopper(t, gone(t, "/proc"))
	stop.findUsers()
	require.Empty(t, stop.users)
}

// TestServerIsHeldOnlyIfItIsTheOneThatWasSeen: its number may be that of another
// process by now.
func TestServerIsHeldOnlyIfItIsTheOneThatWasSeen(t *testing.T) {
	t.Parallel()
	pid := startIn(t, "/")
	s := gone(t, "/proc")
	s.PID, s.start = pid, proc.Start(pid)
	require.NotNil(t, testStopper(t, s).process)
	s.start = "1"
	stop := testStopper(t, s)
	require.Nil(t, stop.process)
	stop.endServer()
	require.Contains(t, "RSD", proc.State(pid))
}

// TestServerOfAnotherPlaceIsNotOurs, although its mount has the number and the
// database of the one that is being stopped.
func TestServerOfAnotherPlaceIsNotOurs(t *testing.T) {
	t.Parallel()
	s := gone(t, "/proc")
	stop := testStopper(t, s)
	other := s.Entry
	other.Dir = "/another/place"
	require.True(t, stop.replaced(other))
	require.False(t, stop.replaced(s.Entry))
	other.Also = []string{s.Dir}
	require.False(t, stop.replaced(other))
}

// TestWhoServesAMount by what the kernel tells, and where it does not (before Linux
// 6.15) by what servers are like.
func TestWhoServesAMount(t *testing.T) {
	t.Parallel()
	e := mount.Entry{Dir: "/mnt/data", Source: "file:///data.fs", Minor: 7}
	dirs := []string{"/", "/mnt/data"}
	for _, c := range []struct {
		what string
		p    fuseProcess
		want bool
	}{
		{"its connection", fuseProcess{conns: []int{6, 7}}, true},
		{"other connections", fuseProcess{conns: []int{6}, name: "wcfs", dirs: dirs, args: []string{"wcfs", e.Source, e.Dir}}, false},
		{"its lock", fuseProcess{name: "wcfs", dirs: dirs}, true},
		{"another filesystem that shows it elsewhere", fuseProcess{name: "bindfs", dirs: dirs, args: []string{"bindfs", e.Dir, "/mnt/copy"}}, false},
		{"its arguments", fuseProcess{name: "wcfs-1.0", args: []string{"wcfs-1.0", "-v=1", e.Source, e.Dir}}, true},
		{"another server", fuseProcess{name: "wcfs", dirs: []string{"/mnt"}, args: []string{"wcfs", e.Source, "/mnt"}}, false},
	} {
		require.Equal(t, c.want, c.p.serves(e), c.what)
	}
}
