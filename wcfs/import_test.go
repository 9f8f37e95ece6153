package main

import (
	"errors"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

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
		{&zwrite.UncertainError{Tid: 1, Err: syscall.ENOSPC}, exitOther, true},
		{syscall.ENOSPC, exitNoSpace, false},
		{errors.New("any other"), exitOther, false},
	} {
		x := target{path: filepath.Join(t.TempDir(), "Data.fs"), create: true}
		require.NoError(t, x.open(t.Context()))
		require.True(t, x.created)
		err := x.close(c.err)
		require.ErrorIs(t, err, c.err)
		require.Equal(t, c.code, exitCode(err))
		if c.kept {
			require.FileExists(t, x.path)
		} else {
			require.NoFileExists(t, x.path)
		}
	}
}

// TestHelpFitsIntoATerminal, for the commands about databases.
func TestHelpFitsIntoATerminal(t *testing.T) {
	for _, cmd := range newRoot().Commands() {
		if cmd.GroupID != "Databases:" {
			continue
		}
		for line := range strings.SplitSeq(cmd.Long, "\n") {
			require.LessOrEqual(t, len(line), 82, "%s: %s", cmd.Name(), line)
		}
	}
}
