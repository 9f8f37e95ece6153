package live

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/t/harness"
	"golang.org/x/sys/unix"
)

const benchBlkSize = 2 << 20

// readAll reads a whole file with read(2) of a block each, as clients do.
func readAll(b *testing.B, path string, buf []byte) time.Duration {
	b.Helper()
	fd, err := harness.OpenFile(path, unix.O_RDONLY)
	require.NoError(b, err)
	defer unix.Close(fd)
	start := time.Now()
	for {
		n, err := unix.Read(fd, buf)
		require.NoError(b, err)
		if n == 0 {
			return time.Since(start)
		}
	}
}

func median(times []time.Duration) time.Duration {
	slices.Sort(times)
	return times[len(times)/2]
}

// BenchmarkLookup looks views up that the kernel does not know.
func BenchmarkLookup(b *testing.B) {
	s := harness.Start(b, "topo")
	start := time.Now()
	i := 0
	for ; b.Loop(); i++ {
		var st unix.Stat_t
		path := filepath.Join(s.Dir, fmt.Sprintf("@%016x", i+1))
		if err := harness.Uninterrupted(func() error { return unix.Lstat(path, &st) }); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(i)/time.Since(start).Seconds(), "lookups/s")
}
