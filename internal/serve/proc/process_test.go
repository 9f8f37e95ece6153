package proc

import (
	"context"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func start(t *testing.T) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("sleep", "1000")
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd
}

func TestWaitEndsWhenTheProcessIsAZombie(t *testing.T) {
	cmd := start(t)
	h, err := OfThread(cmd.Process.Pid)
	require.NoError(t, err)
	defer h.Close()
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, h.Wait(short), context.DeadlineExceeded)
	require.NoError(t, h.Signal(syscall.SIGKILL))
	require.NoError(t, h.Wait(t.Context())) // nobody has reaped it
	require.NoError(t, h.Wait(t.Context()), "and again")
	_, err = OfThread(cmd.Process.Pid)
	require.ErrorIs(t, err, unix.ESRCH, "a zombie is not alive")
	_ = cmd.Wait()
	require.ErrorIs(t, h.Signal(syscall.SIGKILL), unix.ESRCH)
}

func TestHandleOfAnyThreadIsOfItsProcess(t *testing.T) {
	tid := make(chan int)
	done := make(chan struct{})
	hold := func() {
		runtime.LockOSThread()
		tid <- unix.Gettid()
		<-done
	}
	go hold()
	id := <-tid
	if id == os.Getpid() { // the first thread, which is held now
		go hold()
		id = <-tid
	}
	defer close(done)
	h, err := OfThread(id)
	require.NoError(t, err)
	defer h.Close()
	require.Equal(t, os.Getpid(), h.Pid())
	require.True(t, h.HasThread(id))
	require.False(t, h.HasThread(1))
}

func TestNoSuchThread(t *testing.T) {
	for _, id := range []int{0, -1, 1 << 30} {
		_, err := OfThread(id)
		require.ErrorIs(t, err, unix.ESRCH, "thread %d", id)
	}
}

// thread runs f in a thread of its own until the test ends, and returns its id.
func thread(t *testing.T, f func()) (id int) {
	t.Helper()
	ids, done := make(chan int), make(chan struct{})
	go func() {
		runtime.LockOSThread()
		f()
		ids <- unix.Gettid()
		<-done
	}()
	t.Cleanup(func() { close(done) })
	return <-ids
}

// TestWhoMayRunAgainIsNotDying, whatever it is called or is sent.
func TestWhoMayRunAgainIsNotDying(t *testing.T) {
	require.False(t, ThreadIsDying(os.Getpid()))
	require.False(t, ThreadIsDying(thread(t, func() {})))
	require.False(t, ThreadIsDying(thread(t, func() {
		name := append([]byte("a) Z 1 (b) 4"), 0)
		require.NoError(t, unix.Prctl(unix.PR_SET_NAME, uintptr(unsafe.Pointer(&name[0])), 0, 0, 0))
	})), "the name of a thread may look like fields")

	cmd := start(t)
	h, err := OfThread(cmd.Process.Pid)
	require.NoError(t, err)
	defer h.Close()
	require.NoError(t, h.Signal(syscall.SIGSTOP))
	require.NoError(t, unix.Waitid(unix.P_PID, h.Pid(), nil, unix.WSTOPPED, nil))
	require.NoError(t, h.Signal(syscall.SIGTERM)) // pending, until it goes on
	require.NoError(t, unix.Tgkill(h.Pid(), h.Pid(), syscall.SIGTERM))
	require.False(t, ThreadIsDying(h.Pid()))
	require.False(t, h.Doomed())
}

func TestWhoHasEndedIsDying(t *testing.T) {
	require.True(t, ThreadIsDying(1<<30), "there is no such thread")
	cmd := start(t)
	h, err := OfThread(cmd.Process.Pid)
	require.NoError(t, err)
	defer h.Close()
	require.NoError(t, h.Signal(syscall.SIGKILL))
	require.NoError(t, h.Wait(t.Context()))
	require.True(t, ThreadIsDying(h.Pid()), "a zombie")
	require.True(t, h.Doomed())
	_ = cmd.Wait()
	require.True(t, ThreadIsDying(h.Pid()), "reaped")
	require.True(t, h.Doomed())
}
