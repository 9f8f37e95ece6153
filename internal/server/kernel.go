package server

import (
	"fmt"
	"strings"

	"github.com/golang/glog"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/wcfs/wcfs/internal/mount"
)

// minFUSEMinor is the first 7.x with NOTIFY_STORE and NOTIFY_RETRIEVE (Linux
// 2.6.36, include/uapi/linux/fuse.h).
const minFUSEMinor = 15

// checkKernel refuses a kernel without control over its page cache, and
// complains about one (before Linux 5.2) that drops the cache of a file
// whenever its size changes.
func (s *server) checkKernel(kernel *fuse.InitIn) error {
	if kernel.Minor < minFUSEMinor {
		return &mount.Error{Reason: mount.NoFeature, Msg: fmt.Sprintf(
			"kernel FUSE (API %d.%d) does not support pagecache control", kernel.Major, kernel.Minor),
			Hint: "use Linux 5.2 or newer"}
	}
	if kernel.Flags64()&fuse.CAP_EXPLICIT_INVAL_DATA == 0 {
		glog.Errorf("kernel FUSE (API %d.%d) does not support explicit data cache invalidation", kernel.Major, kernel.Minor)
		glog.Error("-> performance will be AWFUL.")
		glog.Error("-> you need Linux 5.2 or newer.")
	}
	return nil
}

// glogWriter takes the lines of the FUSE library into our log.
type glogWriter struct{}

func (glogWriter) Write(line []byte) (int, error) {
	glog.InfoDepth(2, strings.TrimSuffix(string(line), "\n"))
	return len(line), nil
}
