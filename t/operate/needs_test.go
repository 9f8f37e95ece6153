package operate

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/t/harness"
	"golang.org/x/sys/unix"
)

// helperWithout executes a program for which a system call fails. Arguments: number
// of the call, errno, program and its arguments.
func helperWithout(args []string) error {
	call, err := strconv.ParseUint(args[0], 10, 32)
	if err != nil {
		return err
	}
	errno, err := strconv.ParseUint(args[1], 10, 16)
	if err != nil {
		return err
	}
	filter := []unix.SockFilter{ // see seccomp(2)
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // seccomp_data.nr
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: uint32(call)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(errno)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	runtime.LockOSThread() // the filter is of one thread, until that executes
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no new privileges: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0); err != nil {
		return fmt.Errorf("seccomp: %w", err)
	}
	return syscall.Exec(args[2], args[2:], os.Environ())
}

// TestServerSaysWhatItNeeds at its start, and not by EIO when a client wants to
// watch.
func TestServerSaysWhatItNeeds(t *testing.T) {
	t.Parallel()
	for call, number := range map[string]int{"pidfd_open": unix.SYS_PIDFD_OPEN, "pidfd_send_signal": unix.SYS_PIDFD_SEND_SIGNAL} {
		for errno, words := range map[unix.Errno]string{unix.ENOSYS: "function not implemented", unix.EPERM: "operation not permitted"} {
			s := startWithout(t, number, errno)
			require.Equal(t, 8, s.WaitExit(), s.Printed())
			last := strings.Split(strings.TrimSpace(s.Printed()), "\n")
			require.Equal(t, fmt.Sprintf("wcfs: a client that does not answer could not be ended: %s(2) is not permitted (%s); "+
				"let the container or the service have %s, as by --security-opt seccomp=PROFILE or SystemCallFilter=",
				call, words, call), last[len(last)-1])
			require.Empty(t, harness.Mounts(s.Dir))
		}
	}
	// A call that it does not need makes no difference.
	s := startWithout(t, unix.SYS_ACCT, unix.EPERM)
	require.True(t, s.WaitReady(false), s.Printed())
	s.Stop()
}

// startWithout starts a server for which a system call fails.
func startWithout(t *testing.T, call int, errno unix.Errno) *harness.Server {
	t.Helper()
	env := append(os.Environ(), harness.HelperEnv+"=without")
	return harness.Begin(t, harness.Config{ZURL: "file://" + harness.CopyDatabase(t, "topo"), Env: env,
		Under: []string{os.Args[0], fmt.Sprint(call), fmt.Sprint(int(errno))}})
}

// TestServerMayOpenAsManyFilesAsItIsAllowedTo: the soft limit is for programs that
// use select(2). Those that it starts get the limit that it was given.
func TestServerMayOpenAsManyFilesAsItIsAllowedTo(t *testing.T) {
	t.Parallel()
	s := harness.Begin(t, harness.Config{ZURL: "file://" + harness.CopyDatabase(t, "topo"), Under: []string{"/usr/bin/env", "sh", "-c", `ulimit -Sn 64; exec "$0" "$@"`}})
	require.True(t, s.WaitReady(false), s.Printed())
	var is unix.Rlimit
	require.NoError(t, unix.Prlimit(s.Pid(), unix.RLIMIT_NOFILE, nil, &is))
	require.GreaterOrEqual(t, is.Cur, is.Max-1) // Go leaves one
	require.Greater(t, is.Cur, uint64(64))
	s.Stop()
}
