package proc

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFDFieldIsWhatTheKernelTells(t *testing.T) {
	t.Parallel()
	f, err := os.Open("/proc/self/status")
	require.NoError(t, err)
	defer f.Close()
	_, err = f.Read(make([]byte, 10))
	require.NoError(t, err)
	fd := int(f.Fd())
	require.Contains(t, FDs(os.Getpid()), fd)
	pos, ok := FDField(os.Getpid(), fd, "pos")
	require.True(t, ok)
	require.Equal(t, 10, pos)
	_, ok = FDField(os.Getpid(), fd, "fuse_connection")
	require.False(t, ok)
	_, ok = FDField(os.Getpid(), 1<<20, "pos")
	require.False(t, ok)
	require.Empty(t, FDs(1<<30))
}
