package mount

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

const (
	// maxPagesPath limits how many pages one FUSE request may have. Kernels
	// before 6.13 have the fixed limit defaultMaxPages instead.
	maxPagesPath    = "/proc/sys/fs/fuse/max_pages_limit"
	defaultMaxPages = 256
)

// AllowRequestSize makes the kernel accept FUSE requests of want bytes for the
// mounts to come, when it may, and returns the size that it accepts, at most
// want. It must be called before Mount; the limit is one for the whole host
// and is only ever raised.
func AllowRequestSize(want int) (size int, err error) {
	pageSize := os.Getpagesize()
	text, err := os.ReadFile(maxPagesPath)
	if err != nil {
		return min(want, defaultMaxPages*pageSize), nil
	}
	pages, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return min(want, defaultMaxPages*pageSize), fmt.Errorf("parse %s: %w", maxPagesPath, err)
	}
	if pages*pageSize >= want {
		return want, nil
	}
	if err := os.WriteFile(maxPagesPath, []byte(strconv.Itoa((want+pageSize-1)/pageSize)), 0o644); err != nil {
		return pages * pageSize, fmt.Errorf("raise %s: %w", maxPagesPath, err)
	}
	return want, nil
}
