package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestWriteFileReplacesNothing: a file that is there already is noticed before the
// work, and one that comes into being meanwhile after it.
func TestWriteFileReplacesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	other := func(w io.Writer) error {
		require.NoError(t, os.WriteFile(path, []byte("other"), 0o600))
		_, err := io.WriteString(w, "mine")
		return err
	}
	var exists *fileExistsError
	require.ErrorAs(t, writeFile(t.Context(), path, false, other), &exists)
	require.ErrorAs(t, writeFile(t.Context(), path, false, func(io.Writer) error {
		t.Error("written in vain")
		return nil
	}), &exists)
	requireOnly(t, path, "other")
	require.NoError(t, writeFile(t.Context(), path, true, other))
	requireOnly(t, path, "mine")
}

func TestWriteFileThatFailsLeavesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	broken := errors.New("broken")
	for _, force := range []bool{false, true} {
		require.ErrorIs(t, writeFile(t.Context(), path, force, func(w io.Writer) error {
			_, _ = w.Write(make([]byte, 1<<20))
			return broken
		}), broken)
		entries, err := os.ReadDir(filepath.Dir(path))
		require.NoError(t, err)
		require.Empty(t, entries)
	}
}

// requireOnly requires that a file has that content and is alone in its directory.
func requireOnly(t *testing.T, path, want string) {
	t.Helper()
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, want, string(got))
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, entries, 1)
}
