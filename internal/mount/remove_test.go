package mount

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestRemovePointWaitsForAServerThatIsEnding: a process that was killed may have
// lost its mount, but not yet its lock of the directory.
func TestRemovePointWaitsForAServerThatIsEnding(t *testing.T) {
	if err := makeRoot(); err != nil {
		t.Skip(err)
	}
	dir, err := os.MkdirTemp(Root, "test-")
	if err != nil {
		t.Skip(err)
	}
	defer os.Remove(dir)
	lock, err := lockDir(dir)
	require.NoError(t, err)
	letGo := time.AfterFunc(50*time.Millisecond, func() { lock.Close() })
	defer letGo.Stop()
	RemovePoint(dir)
	require.NoDirExists(t, dir)

	other := filepath.Join(t.TempDir(), "other")
	require.NoError(t, os.Mkdir(other, 0o755))
	RemovePoint(other)
	require.DirExists(t, other, "it is no usual place")
}
