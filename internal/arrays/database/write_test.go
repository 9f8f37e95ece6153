package database

import (
	"errors"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wcfs/wcfs/internal/zodb/fault"
	"github.com/wcfs/wcfs/internal/zodb/zwrite"
)

// TestUncertainImportIsNoFailedOne: what is committed but may be lost in a crash
// stays, and has not the exit code that says that nothing was written.
func TestUncertainImportIsNoFailedOne(t *testing.T) {
	for _, c := range []struct {
		err  error
		code int
		kept bool
	}{
		{&zwrite.UncertainError{Tid: 1, Err: syscall.ENOSPC}, 1, true},
		{syscall.ENOSPC, 14, false},
		{errors.New("any other"), 1, false},
	} {
		x := Target{Path: filepath.Join(t.TempDir(), "Data.fs"), create: true}
		require.NoError(t, x.Open(t.Context()))
		require.True(t, x.Created)
		err := x.Close(c.err)
		require.ErrorIs(t, err, c.err)
		require.Equal(t, c.code, fault.Exit(err))
		if c.kept {
			require.FileExists(t, x.Path)
		} else {
			require.NoFileExists(t, x.Path)
		}
	}
}
