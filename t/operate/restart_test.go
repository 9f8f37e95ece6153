package operate

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/t/harness"
	"golang.org/x/sys/unix"
)

var restarts = flag.Int("restarts", 40, "how often TestStartRightAfterAnEnd starts a server, for each way to end one")

// oneShot is a server that is ended without anybody waiting for it.
type oneShot struct {
	cmd *exec.Cmd
	log string
}

// startOneShot starts a server on a place and waits until that serves.
func startOneShot(t *testing.T, dir string, args ...string) *oneShot {
	t.Helper()
	s := &oneShot{cmd: exec.Command(harness.Binary, args...), log: filepath.Join(t.TempDir(), "log")}
	log, err := os.Create(s.log)
	require.NoError(t, err)
	defer log.Close()
	s.cmd.Stderr = log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(t, harness.StartProcess(s.cmd))
	harness.Until(t, "the server is ready", func() bool {
		if harness.HasEnded(s.cmd.Process.Pid) {
			t.Fatalf("the server ended: %s", harness.Content(t, s.log))
		}
		return strings.Contains(harness.Content(t, s.log), "ready: ")
	})
	require.NotEmpty(t, harness.Content(t, filepath.Join(dir, "head/at")))
	return s
}

// TestStartRightAfterAnEnd: programs that close their database and open it again
// at once try to start a server once. The old one may be ending, dead, or a
// zombie, and its mount and its directory may be there or just be going.
func TestStartRightAfterAnEnd(t *testing.T) {
	t.Parallel()
	signal := func(sig unix.Signal) func(s *oneShot, dir string) error {
		return func(s *oneShot, _ string) error { return unix.Kill(s.cmd.Process.Pid, sig) }
	}
	ends := map[string]func(s *oneShot, dir string) error{
		"SIGTERM": signal(unix.SIGTERM),
		"SIGKILL": signal(unix.SIGKILL),
		"umount": func(_ *oneShot, dir string) error {
			return unix.Unmount(dir, 0)
		},
		"killed and cleared": func(s *oneShot, dir string) error {
			if err := unix.Kill(s.cmd.Process.Pid, unix.SIGKILL); err != nil {
				return err
			}
			return unix.Unmount(dir, unix.MNT_DETACH)
		},
	}
	for _, place := range []string{"given", "usual", "made by the client"} {
		for name, end := range ends {
			t.Run(place+"/"+name, func(t *testing.T) { startAgainAndAgain(t, place, end) })
		}
	}
}

// startAgainAndAgain starts a server at a place as soon as the one before is at its end.
func startAgainAndAgain(t *testing.T, place string, end func(s *oneShot, dir string) error) {
	t.Parallel()
	path := harness.CopyDatabase(t, "topo")
	zurl := "file://" + path
	dir, args := harness.DefaultPoint(zurl), []string{"serve", zurl}
	switch place {
	case "given":
		dir = t.TempDir()
		args = append(args, dir)
	case "made by the client":
		args = []string{"-logtostderr", zurl, dir}
	}
	require.NoError(t, os.MkdirAll(harness.DefaultRoot, 0o777))
	var last *oneShot
	t.Cleanup(func() {
		if last != nil {
			_ = last.cmd.Process.Kill()
			_ = last.cmd.Wait()
		}
		_ = unix.Unmount(dir, unix.MNT_DETACH)
		_ = os.Remove(dir)
	})
	for range *restarts {
		if place == "made by the client" { // as wendelin.core does it
			if err := os.Mkdir(dir, 0o777); err != nil {
				require.ErrorIs(t, err, os.ErrExist)
			}
		}
		before := last
		last = startOneShot(t, dir, args...)
		if before != nil {
			_ = before.cmd.Wait()
		}
		harness.Until(t, "the mount can be taken away", func() bool {
			err := end(last, dir)
			if err != unix.EBUSY { // by a RELEASE that is on its way
				require.NoError(t, err)
			}
			return err == nil
		})
	}
}

// TestStartBesideAStartEndsWithIt: of two starts one waits while the other reads
// the database, and says that it is mounted soon after that serves.
func TestStartBesideAStartEndsWithIt(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	zurl := "file://" + harness.CopyDatabase(t, "topo")
	lock, err := os.Open(dir)
	require.NoError(t, err)
	require.NoError(t, unix.Flock(int(lock.Fd()), unix.LOCK_EX)) // as a server that opens its database
	first, second := harness.Begin(t, harness.Config{ZURL: zurl, Dir: dir}), harness.Begin(t, harness.Config{ZURL: zurl, Dir: dir})
	for _, s := range []*harness.Server{first, second} {
		harness.Until(t, "it looks at the directory", func() bool {
			fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", s.Pid()))
			return slices.ContainsFunc(fds, func(fd string) bool {
				is, _ := os.Readlink(fd)
				return is == dir || !s.Running()
			})
		})
		require.True(t, s.Running(), s.Printed())
	}
	lock.Close()
	harness.Until(t, "one has ended", func() bool { return !first.Running() || !second.Running() })
	if !first.Running() {
		first, second = second, first
	}
	require.Equal(t, 3, second.WaitExit())
	require.Contains(t, second.Printed(), "already mounted")
	require.True(t, first.WaitReady(false))
	first.Stop()
}

// TestUsersStartRightAfterAnEndToo: they mount and unmount through a helper program.
func TestUsersStartRightAfterAnEndToo(t *testing.T) {
	needStranger(t)
	t.Parallel()
	ns := newNamespace(t)
	path := harness.CopyDatabase(t, "topo")
	harness.LetPass(t, path, harness.Binary)
	code, out, words := ns.run(stranger, "sh", "-euc", `
		tmp=$(mktemp -d -p /dev/shm)
		for end in TERM KILL KILL TERM TERM KILL; do
			log=$(mktemp $tmp/XXXXXX)
			"$0" serve "$1" 2> $log &
			while ! grep -q ready: $log; do kill -0 $! || { cat $log; exit 1; }; sleep 0.01; done
			cat /dev/shm/wcfs/*/head/at > /dev/null
			kill -$end $!
		done
		"$0" stop "$1"
		rm -r $tmp
		ls -A /dev/shm/wcfs`, harness.Binary, path)
	require.Zero(t, code, "%s%s", out, words)
	require.Empty(t, out)
}
