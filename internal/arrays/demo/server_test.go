package demo

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wcfs/wcfs/internal/zodb/fault"
)

// run runs the demo with a shell script for a server, and returns what it
// printed, its error, and what it left in the temporary directory.
func run(t *testing.T, ctx context.Context, script string, change func(*Options)) (out string, left []string, err error) {
	t.Helper()
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	var buf bytes.Buffer
	opt := Options{Out: &buf, Commits: MinCommits, Interval: time.Millisecond, Program: "wcfs",
		Serve: func(database, dir string) *exec.Cmd { return exec.Command("sh", "-c", script, "sh", database, dir) }}
	if change != nil {
		change(&opt)
	}
	err = Run(ctx, opt)
	entries, e := os.ReadDir(tmp)
	require.NoError(t, e)
	for _, entry := range entries {
		left = append(left, entry.Name())
	}
	return buf.String(), left, err
}

// TestAServerThatFailsIsQuoted, with its exit code, and nothing is left.
func TestAServerThatFailsIsQuoted(t *testing.T) {
	for _, c := range []struct {
		script string
		code   int
		text   string
	}{
		{`echo "I1120 11:22:33 starting" >&2; echo "wcfs: no luck; try again" >&2; exit 9`, 9, "no luck; try again"},
		{`echo "wcfs: bad" >&2; echo "see: wcfs --help" >&2; exit 2`, 2, "bad"},
		{`test -f "$1" && test -d "$2" && exit 7`, 7, "the server has ended (exit status 7)"},
		{`exit 0`, 1, "the server has ended (exit status 0)"},
		{`echo one >&2; echo two >&2; kill -9 $$`, 1, "the server has ended (signal: killed); the last line of its log: two"},
		{`head -c 100000 /dev/zero | tr '\0' x >&2; echo >&2; echo "wcfs: long" >&2; exit 1`, 1, "long"},
	} {
		out, left, err := run(t, t.Context(), c.script, nil)
		require.Equal(t, c.code, fault.Exit(err), c.script)
		require.Equal(t, c.text, err.Error())
		require.Empty(t, out)
		require.Empty(t, left)
	}
}

// TestAServerThatCannotBeStarted is an error, and nothing is left.
func TestAServerThatCannotBeStarted(t *testing.T) {
	_, left, err := run(t, t.Context(), "", func(opt *Options) {
		opt.Serve = func(database, dir string) *exec.Cmd { return exec.Command("/nothing/of/that/name") }
	})
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorContains(t, err, "start the server: ")
	require.Empty(t, left)
}

// TestKeepLeavesTheDatabaseOnly, also after a failure, and says where it is.
func TestKeepLeavesTheDatabaseOnly(t *testing.T) {
	out, left, err := run(t, t.Context(), "exit 7", func(opt *Options) { opt.Keep = true })
	require.Error(t, err)
	require.Len(t, left, 1)
	path, ok := strings.CutPrefix(strings.TrimSuffix(out, "\n"), "The database is kept: ")
	require.True(t, ok, out)
	require.FileExists(t, path)
	require.NoDirExists(t, strings.TrimSuffix(path, "demo.fs")+"mnt")
	require.NoFileExists(t, path+".lock")
}

// TestStoppingEndsTheServerAndSaysWhy: with SIGINT, which this server obeys.
func TestStoppingEndsTheServerAndSaysWhy(t *testing.T) {
	// A shell cannot trap what it was started to ignore, as the background of a script is.
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt)
	defer signal.Stop(signals)
	interrupted := errors.New("Ctrl-C")
	ctx, cancel := context.WithCancelCause(t.Context())
	out, left, err := run(t, ctx, `trap 'exit 0' INT; touch "$1.ready"; while :; do sleep 0.01; done`, func(opt *Options) {
		serve := opt.Serve
		opt.Serve = func(database, dir string) *exec.Cmd {
			go func() {
				for {
					if _, err := os.Stat(database + ".ready"); err == nil {
						cancel(interrupted)
						return
					}
				}
			}()
			return serve(database, dir)
		}
	})
	require.ErrorIs(t, err, interrupted)
	require.EqualError(t, err, "stopped before the end: Ctrl-C")
	require.Empty(t, out)
	require.Empty(t, left)

	// It may end before there is anything.
	_, left, err = run(t, ctx, "exit 1", nil)
	require.EqualError(t, err, "stopped before the end: Ctrl-C")
	require.Empty(t, left)
}

// TestLogKeepsItsEnd, whatever the size of the writes.
func TestLogKeepsItsEnd(t *testing.T) {
	for _, n := range []int{1, 7, 1000, 2 * logBytes} {
		var l logTail
		for range 3 * logBytes / n {
			_, _ = l.Write(bytes.Repeat([]byte("x"), n))
		}
		_, _ = l.Write([]byte("\nlast\n"))
		require.Equal(t, "last", l.lastLine())
		require.LessOrEqual(t, len(l.text), logBytes)
	}
}
