package harness

import (
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// DropPages drops what the page cache has of a file.
func DropPages(b *testing.B, path string) {
	b.Helper()
	fd, err := OpenFile(path, unix.O_RDONLY)
	require.NoError(b, err)
	require.NoError(b, unix.Fadvise(fd, 0, 0, unix.FADV_DONTNEED))
	unix.Close(fd)
}

// Percentile returns the time that a share p of all stays below.
func Percentile(times []time.Duration, p float64) time.Duration {
	slices.Sort(times)
	return times[min(len(times)-1, int(p*float64(len(times))))]
}

// OpenRandom opens a file such that the kernel reads exactly what is asked.
func OpenRandom(t testing.TB, path string) *os.File {
	t.Helper()
	f, err := os.Open(path)
	require.NoError(t, err)
	require.NoError(t, unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_RANDOM))
	return f
}

// Pread returns the n bytes at an offset.
func Pread(t testing.TB, f *os.File, off int64, n int) []byte {
	t.Helper()
	data := make([]byte, n)
	got, err := unix.Pread(int(f.Fd()), data, off)
	require.NoError(t, err)
	require.Equal(t, n, got)
	return data
}

// dropBlock drops what the page cache has of a file.
func DropBlocks(t testing.TB, path string) {
	t.Helper()
	fd, err := OpenFile(path, unix.O_RDONLY)
	require.NoError(t, err)
	defer unix.Close(fd)
	require.NoError(t, unix.Fadvise(fd, 0, 0, unix.FADV_DONTNEED))
}
