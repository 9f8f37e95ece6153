package operate

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/t/harness"
	"golang.org/x/sys/unix"
)

// TestOneServerPerMountPoint: of many that start at once one serves; the others
// say what is the matter.
func TestOneServerPerMountPoint(t *testing.T) {
	t.Parallel()
	const starts = 12
	zurl := "file://" + harness.CopyDatabase(t, "topo")
	dir := filepath.Join(t.TempDir(), "mnt")
	require.NoError(t, os.Mkdir(dir, 0o755))
	servers := make([]*harness.Server, starts)
	for i := range servers {
		servers[i] = harness.Begin(t, harness.Config{ZURL: zurl, Dir: dir})
	}
	var running []*harness.Server
	for _, s := range servers {
		harness.Until(t, "it serves or ended", func() bool { return !s.Running() || strings.Contains(s.Printed(), "start ") })
		if s.Running() {
			running = append(running, s)
			continue
		}
		require.Equal(t, 3, s.WaitExit(), s.Printed())
		require.Regexp(t, `already mounted|another wcfs is starting`, s.Printed())
	}
	require.Len(t, running, 1)
	require.True(t, running[0].WaitReady(false))
	require.Len(t, harness.Mounts(dir), 1)
	running[0].Stop()
}

// TestLogThatCannotBeWrittenEndsNobody: neither a full disk nor a log reader
// that is gone.
func TestLogThatCannotBeWrittenEndsNobody(t *testing.T) {
	t.Parallel()
	fifo := filepath.Join(t.TempDir(), "fifo")
	require.NoError(t, unix.Mkfifo(fifo, 0o600))
	reader, err := os.OpenFile(fifo, os.O_RDONLY|unix.O_NONBLOCK, 0)
	require.NoError(t, err)
	for _, stderr := range []string{"/dev/full", fifo} {
		s := harness.Launch(t, harness.Config{ZURL: "file://" + harness.CopyDatabase(t, "topo"), Stderr: stderr})
		require.NoError(t, reader.Close())
		for range 3 {
			_, err := os.Stat(s.Path("head/bigfile/ffff000000000000")) // which is logged
			require.ErrorIs(t, err, unix.EINVAL)
		}
		s.Stop()
		reader, err = os.OpenFile(fifo, os.O_RDONLY|unix.O_NONBLOCK, 0)
		require.NoError(t, err)
	}
	require.NoError(t, reader.Close())
}

// TestLogThatNobodyTakesDelaysNobody: a terminal that was paused, or a pipe whose
// reader hangs, must not make clients wait, nor the end of the server.
func TestLogThatNobodyTakesDelaysNobody(t *testing.T) {
	t.Parallel()
	fifo := filepath.Join(t.TempDir(), "fifo")
	require.NoError(t, unix.Mkfifo(fifo, 0o600))
	reader, err := os.OpenFile(fifo, os.O_RDONLY|unix.O_NONBLOCK, 0)
	require.NoError(t, err)
	defer reader.Close()
	s := harness.Launch(t, harness.Config{ZURL: "file://" + harness.CopyDatabase(t, "topo"), Stderr: fifo, Options: []string{"-trace.fuse"}})
	for range 2000 { // some hundred bytes each: more than both pipes take
		_, err := os.Stat(s.Path("head/at"))
		require.NoError(t, err)
	}
	s.Stop()
}

// TestBadNamesDoNotFloodTheLog: who asks for many of them must not fill the disk.
func TestBadNamesDoNotFloodTheLog(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, "topo")
	noFile := func(prefix string, i int) string { return s.Path("head/bigfile", fmt.Sprintf("%s%012x", prefix, i)) }
	for i := range 20_000 {
		_, err := os.Stat(s.Path("nothing"))
		require.ErrorIs(t, err, unix.ENOENT)
		_, err = os.Stat(noFile("fff1", 0))
		require.ErrorIs(t, err, unix.EINVAL)
		_, err = os.Stat(noFile("fff2", i))
		require.ErrorIs(t, err, unix.EINVAL)
	}
	require.Zero(t, strings.Count(s.Printed(), "nothing"), "whoever asks for that is told, and nobody else")
	require.Less(t, strings.Count(s.Printed(), `"fff1`), 50)
	lines := strings.Count(s.Printed(), `"fff2`)
	require.Greater(t, lines, 1, s.Printed())
	require.Less(t, lines, 5000)
	i := 0
	harness.Until(t, "the log says how many are missing", func() bool {
		_, _ = os.Stat(noFile("fff3", i))
		i++
		return strings.Contains(s.Printed(), "lines about other requests")
	})
	s.Stop()
}
