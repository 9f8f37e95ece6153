package proc

import (
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// withoutLeader in the environment makes the test binary a process that lives on
// after its first thread has ended.
const withoutLeader = "PROCESS_TEST_WITHOUT_LEADER"

func TestMain(m *testing.M) {
	if os.Getenv(withoutLeader) != "" {
		liveWithoutLeader()
	}
	os.Exit(m.Run())
}

// liveWithoutLeader ends the first thread, and leaves the others that the runtime has.
func liveWithoutLeader() {
	runtime.LockOSThread()
	if unix.Gettid() != os.Getpid() {
		go liveWithoutLeader() // on another thread, since this one is taken
		select {}
	}
	_, _, _ = syscall.Syscall(syscall.SYS_EXIT, 0, 0, 0)
}

// TestLifeOfAProcessIsTold from its life to when it is reaped.
func TestLifeOfAProcessIsTold(t *testing.T) {
	cmd := start(t)
	h, err := OfThread(cmd.Process.Pid)
	require.NoError(t, err)
	defer h.Close()
	require.False(t, ThreadIsDying(h.Pid()))
	require.False(t, h.Doomed())
	require.NoError(t, h.Signal(syscall.SIGKILL))
	require.NoError(t, h.Wait(t.Context()))
	require.True(t, ThreadIsDying(h.Pid()), "it is a zombie")
	require.True(t, h.Doomed())
	_ = cmd.Wait()
	require.True(t, ThreadIsDying(h.Pid()), "it is not there")
	require.True(t, h.Doomed())
}

// TestProcessLivesAsLongAsAnyThread, whatever has become of the first.
func TestProcessLivesAsLongAsAnyThread(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), withoutLeader+"=1")
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	h, err := OfThread(cmd.Process.Pid)
	require.NoError(t, err)
	defer h.Close()
	for !ThreadIsDying(h.Pid()) {
		require.NoError(t, t.Context().Err())
		runtime.Gosched()
	}
	require.False(t, h.Doomed(), "other threads run")
	require.NoError(t, h.Signal(syscall.SIGKILL))
	require.NoError(t, h.Wait(t.Context()))
	require.True(t, h.Doomed())
}

// threadWith returns a root with thread 7, which has that stat and status.
func threadWith(t *testing.T, stat, status string) root {
	r := root(t.TempDir())
	require.NoError(t, os.Mkdir(r.path(7), 0o755))
	require.NoError(t, os.WriteFile(r.path(7, "stat"), []byte(whole(stat)), 0o600))
	require.NoError(t, os.WriteFile(r.path(7, "status"), []byte(status), 0o600))
	return r
}

// TestStatTellsWhoIsEnding whatever the name of the thread is.
func TestStatTellsWhoIsEnding(t *testing.T) {
	for stat, want := range map[string]bool{
		"7 (sleep) S 1 7 7 0 -1 4194304 4 4 4":      false,
		"7 (sleep) D 1 7 7 0 -1 4194308 64 0 0":     true,
		"7 (sleep) Z 1 7 7 0 -1 4194304 0 0 0":      true,
		"7 (sleep) X 1 7 7 0 -1 4194304 0 0 0":      true,
		"7 (a) Z 4 4) S 1 7 7 4 -1 4194304 4 4 4":   false,
		"7 (a) S 1 2 3 4) D 1 7 7 0 -1 4194308 0 0": true,
		"7 (sleep) Z 1": false,
		"":              false,
	} {
		require.Equal(t, want, threadWith(t, stat, "").isDying(7), stat)
	}
}

// TestPendingKillIsTold of the thread itself: what is pending for the process is not
// taken by any thread yet.
func TestPendingKillIsTold(t *testing.T) {
	const stat = "7 (sleep) D 1 7 7 0 -1 4194304 4 4 4"
	r := threadWith(t, stat, "")
	require.False(t, r.isDying(7))
	require.NoError(t, os.Remove(r.path(7, "status")))
	require.False(t, r.isDying(7))
	for status, want := range map[string]bool{
		"SigQ:\t1/9\nSigPnd:\t0000000000000100\nShdPnd:\t0000000000000000\n": true,
		"SigQ:\t1/9\nSigPnd:\t0000000000040302\nShdPnd:\t0000000000000000\n": true,
		"SigQ:\t1/9\nSigPnd:\t0000000000000000\nShdPnd:\t0000000000000100\n": false,
		"SigQ:\t1/9\nSigPnd:\t0000000000000200\nShdPnd:\t0000000000000000\n": false,
		"SigQ:\t1/9\nSigPnd:\t0000000000004040\n":                            false,
		"SigQ:\t1/9\n": false,
	} {
		require.Equal(t, want, threadWith(t, stat, status).isDying(7), status)
	}
}

func TestKernelThatHasPidfdNonblockIsKnown(t *testing.T) {
	for release, want := range map[string]bool{
		"5.9.16": false, "5.10.0-8-amd64": true, "5.15.0": true, "6.1.0": true, "6.18.44": true, "4.19.0": false, "4.10": false, "": false,
	} {
		require.Equal(t, want, isModern(release), release)
	}
	require.NoError(t, Check())
}
