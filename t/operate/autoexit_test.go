package operate

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/t/harness"
	"github.com/wcfs/wcfs/t/oracle"
	"golang.org/x/sys/unix"
)

// shortLinger is for tests that wait for the end.
const shortLinger = "-autoexit-linger=300ms"

func TestAutoExitEndsWithTheLastClient(t *testing.T) {
	t.Parallel()
	db := oracle.Load(t, "topo")
	s := harness.Launch(t, harness.Config{ZURL: "file://" + harness.CopyDatabase(t, "topo"), Options: []string{"-autoexit", "-autoexit-linger=0s"}, Join: true})
	a := harness.StartHelper(t, "hold", s.Path(".wcfs/zurl"))
	b := harness.StartHelper(t, "hold", s.Path(".wcfs/zurl"), s.Path("head/bigfile", db.Files["topo"].Oid.String()))
	require.Equal(t, "ready", a.Line())
	require.Equal(t, "ready", b.Line())
	s.Leave()
	a.Kill()
	// Somebody looks around some times a second whether the server can end.
	for begin := time.Now(); time.Since(begin) < 500*time.Millisecond; {
		require.Equal(t, "ok", b.Ask("read 1 0"))
		harness.Content(t, s.Path("head/at"))
	}
	require.True(t, s.Running())
	b.Kill()
	require.Zero(t, s.WaitExit(), s.Log())
	require.Empty(t, harness.Mounts(s.Dir))
}

// TestAutoExitWaitsForFilesOfALeavingClient: a client closes .wcfs/zurl first,
// and what else it has of the mount a moment later.
func TestAutoExitWaitsForFilesOfALeavingClient(t *testing.T) {
	t.Parallel()
	db := oracle.Load(t, "topo")
	s := harness.Launch(t, harness.Config{ZURL: "file://" + harness.CopyDatabase(t, "topo"), Options: []string{"-autoexit", shortLinger}, Join: true})
	h := harness.StartHelper(t, "hold", s.Path("head/bigfile", db.Files["topo"].Oid.String()))
	require.Equal(t, "ready", h.Line())
	s.Leave()
	for begin := time.Now(); time.Since(begin) < time.Second; {
		require.Equal(t, "ok", h.Ask("read 0 0"))
	}
	require.True(t, s.Running())
	left := time.Now()
	h.Kill()
	require.Zero(t, s.WaitExit(), s.Log())
	require.GreaterOrEqual(t, time.Since(left), 150*time.Millisecond, "it lingers from when the file was closed on")
}

// TestAutoExitLingers: a program that has left may look at the mount again, and one
// that comes back in time keeps the server for good.
func TestAutoExitLingers(t *testing.T) {
	t.Parallel()
	s := harness.Launch(t, harness.Config{ZURL: "file://" + harness.CopyDatabase(t, "topo"), Options: []string{"-autoexit"}, Join: true})
	s.Leave()
	for begin := time.Now(); time.Since(begin) < time.Second; {
		require.Equal(t, s.ZURL, harness.Content(t, s.Path(".wcfs/zurl")))
		var st unix.Stat_t
		require.NoError(t, unix.Stat(s.Path("head/bigfile"), &st))
	}
	left := time.Now()
	require.Zero(t, s.WaitExit(), s.Log())
	require.GreaterOrEqual(t, time.Since(left), 4900*time.Millisecond)
	require.Less(t, time.Since(left), 10*time.Second)

	s = harness.Launch(t, harness.Config{ZURL: s.ZURL, Options: []string{"-autoexit", shortLinger}, Join: true})
	s.Leave()
	back := harness.StartHelper(t, "hold", s.Path(".wcfs/zurl"))
	require.Equal(t, "ready", back.Line())
	for begin := time.Now(); time.Since(begin) < time.Second; {
		require.Equal(t, "ok", back.Ask("read 0 0"))
	}
	back.Kill()
	require.Zero(t, s.WaitExit(), s.Log())
}

// TestAutoExitTakesTheMountFromNobody: clients come and go all the time, and start
// a server when there is none. A client that has opened .wcfs/zurl has the mount
// until it closes that.
func TestAutoExitTakesTheMountFromNobody(t *testing.T) {
	t.Parallel()
	const clients, rounds = 4, 60
	b := NewBackground(t)
	var began, lost atomic.Int64
	visit := func(round int) {
		path := filepath.Join(b.Dir, ".wcfs/zurl")
		fd, err := harness.OpenFile(path, unix.O_RDONLY)
		for tries := 0; err == unix.ENOENT && tries < 20; tries++ {
			code, _, words := harness.Run(t, "mount", "-autoexit", "-autoexit-linger=0s", b.Path)
			switch {
			case code == 0:
				began.Add(1)
			case code == 3: // somebody else was faster, or has even left again
			case code == 1 && strings.Contains(words, "unmounted it as soon as it was ready"):
			default:
				t.Errorf("mount: exit code %d: %s", code, words)
				return
			}
			fd, err = harness.OpenFile(path, unix.O_RDONLY)
		}
		if err != nil {
			t.Errorf("round %d: open .wcfs/zurl: %s", round, err)
			return
		}
		defer unix.Close(fd)
		for range 20 {
			data := make([]byte, len(b.ZURL)+1)
			n, err := unix.Pread(fd, data, 0)
			_, errAt := os.ReadFile(filepath.Join(b.Dir, "head/at"))
			if err != nil || string(data[:max(n, 0)]) != b.ZURL || errAt != nil {
				lost.Add(1)
				t.Errorf("round %d: a client has lost its mount: %q %v %v", round, data[:max(n, 0)], err, errAt)
				return
			}
		}
	}
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			for round := range rounds {
				visit(round)
				time.Sleep(time.Duration(round%12) * 15 * time.Millisecond) // to leave them alone at times
			}
		})
	}
	all.Wait()
	require.Zero(t, lost.Load())
	require.Greater(t, began.Load(), int64(1), "the server has ended and was started again")
}
