package server

import (
	"errors"
	"fmt"
	"strings"

	"github.com/golang/glog"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/wcfs/wcfs/internal/serve/proc"
	"github.com/wcfs/wcfs/internal/zodb/fault"
)

// minFUSEMinor is the first 7.x with NOTIFY_STORE and NOTIFY_RETRIEVE (Linux
// 2.6.36, include/uapi/linux/fuse.h).
const minFUSEMinor = 15

// needsLinux says which kernels do. Holds on processes need the newest that is
// needed: see package proc.
const needsLinux = "use Linux 5.10 or newer"

// checkProcesses refuses to serve where a client that does not answer could not be
// ended: everybody else would wait for it for good.
func checkProcesses() error {
	err := proc.Check()
	if err == nil {
		return nil
	}
	hint := needsLinux
	var missing *proc.MissingError
	if errors.As(err, &missing) && missing.Forbidden {
		hint = "let the container or the service have " + missing.Call + ", as by --security-opt seccomp=PROFILE or SystemCallFilter="
	}
	return &fault.Error{Kind: fault.OldKernel, Err: err, Hint: hint,
		Msg: "a client that does not answer could not be ended: " + err.Error()}
}

// checkKernel refuses a kernel without control over its page cache, and
// complains about one that drops the cache of a file whenever its size changes, as
// Linux did before 5.2.
func (s *server) checkKernel(kernel *fuse.InitIn) error {
	if kernel.Minor < minFUSEMinor {
		return &fault.Error{Kind: fault.OldKernel, Msg: fmt.Sprintf(
			"kernel FUSE (API %d.%d) does not support pagecache control", kernel.Major, kernel.Minor),
			Hint: needsLinux}
	}
	if kernel.Flags64()&fuse.CAP_EXPLICIT_INVAL_DATA == 0 {
		glog.Errorf("kernel FUSE (API %d.%d) does not support explicit data cache invalidation", kernel.Major, kernel.Minor)
		glog.Error("-> performance will be AWFUL.")
		glog.Error("-> " + needsLinux)
	}
	return nil
}

// glogWriter takes the lines of the FUSE library into our log.
type glogWriter struct{}

func (glogWriter) Write(line []byte) (int, error) {
	glog.InfoDepth(2, strings.TrimSuffix(string(line), "\n"))
	return len(line), nil
}
