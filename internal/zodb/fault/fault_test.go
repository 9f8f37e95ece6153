package fault

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// locked is an error of another package, which says its kind.
type locked struct{ error }

func (locked) Kind() Kind { return Locked }

// TestOutermostKindCounts: a package that wraps an error and has a kind for it knows more.
func TestOutermostKindCounts(t *testing.T) {
	t.Parallel()
	full := &os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}
	for _, c := range []struct {
		err  error
		want Kind
	}{
		{nil, Other},
		{errors.New("x"), Other},
		{context.Canceled, Other},
		{syscall.EIO, Other},
		{full, NoSpace},
		{fmt.Errorf("x: %w", syscall.EDQUOT), NoSpace},
		{syscall.EFBIG, NoSpace},
		{locked{full}, Locked},
		{fmt.Errorf("x: %w", locked{}), Locked},
		{errors.Join(errors.New("x"), fmt.Errorf("y: %w", locked{})), Locked},
		{&Error{Kind: Stuck, Err: locked{}}, Stuck},
		{&Error{Err: locked{}}, Other},
		{fmt.Errorf("%w and %w", &Error{Kind: Bug}, locked{}), Bug},
	} {
		require.Equal(t, c.want, Of(c.err), "%v", c.err)
		require.Equal(t, c.err != nil, Is(c.err, Aborted, c.want), "%v", c.err)
		require.False(t, Is(c.err, Aborted), "%v", c.err)
	}
	require.False(t, Is(nil, Other))
}

func TestErrorSaysWhatIsWrongAndWhatToDo(t *testing.T) {
	t.Parallel()
	require.EqualError(t, &Error{Msg: "it is so"}, "it is so")
	require.EqualError(t, &Error{About: "mount point /x", Msg: "not empty", Hint: "choose another", Err: syscall.EIO}, "mount point /x: not empty; choose another")
	require.ErrorIs(t, &Error{Msg: "x", Err: syscall.EIO}, syscall.EIO)
}

// TestEveryKindHasAnExitCode, and each code one text; a child's code has the same meaning.
func TestEveryKindHasAnExitCode(t *testing.T) {
	t.Parallel()
	require.Len(t, meanings, int(NotOurs)+1)
	texts := map[int]int{}
	for kind, m := range meanings {
		require.Positive(t, m.exit, "kind %d", kind)
		require.Equal(t, m.errno != 0 || m.short != "", m.long != "", "kind %d", kind)
		if m.short != "" {
			texts[m.exit]++
		}
		require.Equal(t, m.exit, OfExit(m.exit).Exit())
	}
	last := -1
	for _, c := range ExitCodes() {
		require.Greater(t, c.Code, last, "in ascending order")
		last = c.Code
	}
	for _, m := range meanings {
		require.Equal(t, 1, texts[m.exit], "exit code %d", m.exit)
	}
	require.Equal(t, Other, OfExit(-1))
	require.Zero(t, Exit(nil))
	require.Equal(t, 16, Exit(locked{}))
}

// TestDocumentsHaveTheTable: what scripts rely on is written down, word for word.
func TestDocumentsHaveTheTable(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../../doc/operations.rst")
	require.NoError(t, err)
	_, section, ok := strings.Cut(string(text), "\nExit codes\n==========\n")
	require.True(t, ok)
	var want strings.Builder
	for _, c := range ExitCodes() {
		fmt.Fprintf(&want, "%-4d %s\n", c.Code, c.Long)
	}
	rows := regexp.MustCompile(`(?s)==== =+\n(.*?)==== =+\n`).FindStringSubmatch(section)
	require.NotNil(t, rows)
	require.Equal(t, want.String(), rows[1])

	text, err = os.ReadFile("../../../doc/protocol.rst")
	require.NoError(t, err)
	for _, m := range meanings {
		if m.errno != 0 {
			require.Contains(t, string(text), fmt.Sprintf("\n%-12s  %s\n", "``"+unix.ErrnoName(m.errno)+"``", m.long))
		}
	}

	help := strings.Join(strings.Fields(Help()), " ")
	for _, c := range ExitCodes() {
		require.Contains(t, help, fmt.Sprintf(" %d %s", c.Code, c.Short))
	}
	for line := range strings.Lines(Help()) {
		require.LessOrEqual(t, len(line), helpWidth+1)
	}
}

// TestDocumentsNameCodesThatThereAre: also where they are named one by one.
func TestDocumentsNameCodesThatThereAre(t *testing.T) {
	t.Parallel()
	known := map[string]bool{}
	for _, c := range ExitCodes() {
		known[fmt.Sprint(c.Code)] = true
	}
	named := 0
	for _, pattern := range []string{"*.rst", "doc/*.rst", "dist/*.8", "wcfs/*.go"} {
		files, err := filepath.Glob(filepath.Join("../../..", pattern))
		require.NoError(t, err)
		require.NotEmpty(t, files, pattern)
		for _, file := range files {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			for _, m := range regexp.MustCompile(`(?i)exit\s+codes?(?:\s+is|:)?\s+(\d+)`).FindAllStringSubmatch(string(text), -1) {
				named++
				require.True(t, known[m[1]], "%s: %s", file, m[0])
			}
		}
	}
	require.Greater(t, named, 5)
}
