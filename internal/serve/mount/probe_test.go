package mount

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestMain makes this binary the child of a Prober.
func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == ProbeCommand {
		os.Exit(Probe(os.Args[2], os.Args[3], os.Stdout))
	}
	os.Exit(m.Run())
}

func prober() Prober { return Prober{Limit: 20 * time.Second} }

func TestProbeAnswers(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "a b\n")
	text := strings.Repeat("x\x00y\n", MaxProbe/4)
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	got, err := prober().Read(t.Context(), file)
	require.NoError(t, err)
	require.Equal(t, text, string(got))

	var st unix.Stat_t
	require.NoError(t, unix.Stat(file, &st))
	dev, err := prober().Stat(t.Context(), file)
	require.NoError(t, err)
	require.Equal(t, st.Dev, dev)
}

func TestProbeHandsOnTheErrno(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, err := prober().Read(t.Context(), filepath.Join(dir, "no"))
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = prober().Read(t.Context(), dir)
	require.ErrorIs(t, err, syscall.EISDIR)
	_, err = prober().Stat(t.Context(), filepath.Join(dir, "no"))
	require.EqualError(t, err, "stat "+dir+"/no: no such file or directory")
}

func TestProbeIsBounded(t *testing.T) {
	t.Parallel()
	_, err := prober().Read(t.Context(), "/dev/zero")
	require.ErrorContains(t, err, "larger than")
}

// TestProbeOfWhatHangsEndsInTime: a fifo without a writer is opened for ever.
func TestProbeOfWhatHangsEndsInTime(t *testing.T) {
	t.Parallel()
	fifo := filepath.Join(t.TempDir(), "fifo")
	require.NoError(t, unix.Mkfifo(fifo, 0o600))
	_, err := Prober{Limit: 10 * time.Millisecond}.Read(t.Context(), fifo)
	var stuck *StuckError
	require.ErrorAs(t, err, &stuck)
	require.Equal(t, fifo, stuck.Path)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = prober().Read(ctx, fifo)
	require.ErrorIs(t, err, context.Canceled)
}

func TestProbeSaysThatItCannotBeStarted(t *testing.T) {
	t.Parallel()
	_, err := Prober{Exe: "/no/such/program", Limit: time.Second}.Read(t.Context(), "/")
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = Prober{Exe: "/bin/false", Limit: time.Second}.Read(t.Context(), "/")
	require.ErrorContains(t, err, "the probe failed")
}
