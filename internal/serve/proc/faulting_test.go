package proc

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// whole completes the first fields of a stat, but not one that is cut off.
func whole(stat string) string {
	if n := len(strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])); n >= 7 {
		return stat + strings.Repeat(" 0", 50-n)
	}
	return stat
}

// TestThreadsThatMayBeInAFaultAreFound whatever their names are.
func TestThreadsThatMayBeInAFaultAreFound(t *testing.T) {
	r := root(t.TempDir())
	dir := string(r.threads(7))
	require.NoError(t, os.MkdirAll(dir, 0o755))
	for id, stat := range map[string]string{
		"10": "10 (a) R) R 1 7 7 0 -1 4194304 100 2 30 4 5 6 7",
		"11": "11 (b) D 1 7 7 0 -1 4194304 1 0 0 0 0 0 0",
		"12": "12 (D) S 1 7 7 0 -1 4194304 1 0 0 0 0 0 0",
		"13": "13 (c) T 1 7 7 0 -1 4194304 1 0 0 0 0 0 0",
		"14": "14 (c) R 1 7",
		"15": "",
	} {
		require.NoError(t, os.Mkdir(filepath.Join(dir, id), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, id, "stat"), []byte(whole(stat)), 0o644))
	}
	require.NoError(t, os.Mkdir(filepath.Join(dir, "16"), 0o755))
	require.Equal(t, map[int]uint64{10: 135, 11: 1}, r.faulting(7))
}

// TestProcessThatCannotBeLookedAtMayBeInAFault, but not one that has ended.
func TestProcessThatCannotBeLookedAtMayBeInAFault(t *testing.T) {
	r := root(t.TempDir())
	require.NoError(t, os.Mkdir(r.path(7), 0o755))
	require.NoError(t, os.WriteFile(r.path(7, "task"), nil, 0o644))
	require.Equal(t, map[int]uint64{0: 0}, r.faulting(7))
	require.Empty(t, r.faulting(8))
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
