package t

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// promptly is how long a server may take to end on a busy machine, whatever it is
// at. By itself it takes a moment.
const promptly = 4 * time.Second

// busyScene has a server that waits for everything: a READ for a client that does
// not answer and has a minute for it, a watch that is being set up, and commits that
// cannot be finished since pages are locked.
type busyScene struct {
	*scene
	silent *watcher
}

func newBusyScene(t testing.TB) *busyScene {
	t.Helper()
	sc := &busyScene{scene: newSceneOf(t, 0, 64<<10, "-pintimeout=60s")}
	sc.commit(0, 1, 2)
	sc.mapped(3)
	sc.read(0, 1, 2)
	sc.silent = sc.manualWatcher()
	sc.silent.Watch(sc.f, sc.l.Head())
	sc.commit(0, 1)
	sc.m.h.Tell("get 0")
	sc.silent.Pin()
	for n := range 5 {
		sc.f.Commit(Blocks{0: sceneText(100+n, 0), 1: sceneText(100+n, 1), 2: sceneText(100+n, 2)})
	}
	return sc
}

// requireSpared requires that the client which does not answer was not ended.
func (sc *busyScene) requireSpared() {
	sc.t.Helper()
	require.NotContains(sc.t, sc.s.printed(), "-> killing it")
	require.NotContains(sc.t, sc.s.printed(), "SIGBUS")
}

// TestSIGTERMEndsTheServerAtOnce, whatever it is at.
func TestSIGTERMEndsTheServerAtOnce(t *testing.T) {
	t.Parallel()
	sc := newBusyScene(t)
	begin := time.Now()
	sc.s.Signal(syscall.SIGTERM)
	require.Zero(t, sc.s.WaitExit(), sc.s.printed())
	require.Less(t, time.Since(begin), promptly, sc.s.printed())
	require.Empty(t, wcfsMounts(sc.s.Dir))
	sc.requireSpared()
}

// TestAbortEndsTheServerAtOnce: operators free a stuck mount by writing to its abort
// file. The server takes away what is left, and says what has happened. Its clients
// have done nothing wrong.
func TestAbortEndsTheServerAtOnce(t *testing.T) {
	needRoot(t, "mount the fusectl filesystem")
	t.Parallel()
	for name, newScene := range map[string]func(t *testing.T) (*Server, func()){
		"idle": func(t *testing.T) (*Server, func()) { return Start(t, "topo"), func() {} },
		"busy": func(t *testing.T) (*Server, func()) { sc := newBusyScene(t); return sc.s, sc.requireSpared },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, check := newScene(t)
			begin := time.Now()
			s.abort()
			require.Equal(t, 18, s.WaitExit(), s.printed())
			require.Less(t, time.Since(begin), promptly, s.printed())
			require.Contains(t, s.printed(), "wcfs: mount point "+s.Dir+": the FUSE connection was aborted by somebody")
			left := wcfsMounts(s.Dir)
			if len(left) > 0 {
				require.NoError(t, unix.Unmount(s.Dir, unix.MNT_DETACH))
			}
			require.Empty(t, left)
			check()
		})
	}
}
