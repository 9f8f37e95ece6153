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
	root, err := openRoot(Root, true)
	if err != nil {
		t.Skip(err)
	}
	defer root.Close()
	dir, err := os.MkdirTemp(Root, "test-")
	if err != nil {
		t.Skip(err)
	}
	defer os.Remove(dir)
	lock, err := openDirectory(dir, false)
	require.NoError(t, err)
	require.NoError(t, lock.lock(false))
	letGo := time.AfterFunc(50*time.Millisecond, lock.close)
	defer letGo.Stop()
	RemovePoint(dir)
	require.NoDirExists(t, dir)

	other := filepath.Join(t.TempDir(), "other")
	require.NoError(t, os.Mkdir(other, 0o755))
	RemovePoint(other)
	require.DirExists(t, other, "it is no usual place")
}
