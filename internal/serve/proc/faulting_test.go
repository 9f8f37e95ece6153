package proc

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestThreadsThatMayBeInAFaultAreFound whatever their names are.
func TestThreadsThatMayBeInAFaultAreFound(t *testing.T) {
	dir := t.TempDir()
	for id, stat := range map[string]string{
		"10": "10 (a) R) R 1 7 7 0 -1 4194304 100 2 30 4 5 6 7",
		"11": "11 (b) D 1 7 7 0 -1 4194304 1 0 0 0 0 0 0",
		"12": "12 (D) S 1 7 7 0 -1 4194304 1 0 0 0 0 0 0",
		"13": "13 (c) T 1 7 7 0 -1 4194304 1 0 0 0 0 0 0",
		"14": "14 (c) R 1 7",
		"15": "",
	} {
		require.NoError(t, os.Mkdir(filepath.Join(dir, id), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, id, "stat"), []byte(stat), 0o644))
	}
	require.NoError(t, os.Mkdir(filepath.Join(dir, "16"), 0o755))
	require.Equal(t, map[int]uint64{10: 135, 11: 1}, faulting(dir))
}

// TestProcessThatCannotBeLookedAtMayBeInAFault, but not one that has ended.
func TestProcessThatCannotBeLookedAtMayBeInAFault(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o644))
	require.Equal(t, map[int]uint64{0: 0}, faulting(file))
	require.Empty(t, faulting(filepath.Join(t.TempDir(), "gone")))
}

// TestMarkChangesWhenAFaultIsOver: this very thread touches new memory.
func TestMarkChangesWhenAFaultIsOver(t *testing.T) {
	first := Faulting(os.Getpid())
	require.NotEmpty(t, first, "who asks runs")
	for changed := false; !changed; {
		require.NoError(t, t.Context().Err())
		memory := make([]byte, 1<<20)
		for i := range memory {
			memory[i] = 1
		}
		for id, mark := range Faulting(os.Getpid()) {
			changed = changed || mark > first[id]
		}
	}
}
