package operate

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/t/harness"
	"golang.org/x/sys/unix"
)

// promptly is how long a server may take to end on a busy machine, whatever it is
// at. By itself it takes a moment.
const promptly = 4 * time.Second

// busyScene has a server that waits for everything: a READ for a client that does
// not answer and has a minute for it, a watch that is being set up, and commits that
// cannot be finished since pages are locked.
type busyScene struct {
	*harness.Scene
	silent *harness.Watcher
}

func newBusyScene(t testing.TB) *busyScene {
	t.Helper()
	sc := &busyScene{Scene: harness.NewSceneOf(t, 0, 64<<10, "-pintimeout=60s")}
	sc.Commit(0, 1, 2)
	sc.Map(3)
	sc.Read(0, 1, 2)
	sc.silent = sc.ManualWatcher()
	sc.silent.Watch(sc.File, sc.Live.Head())
	sc.Commit(0, 1)
	sc.Mapped.Helper.Tell("get 0")
	sc.silent.Pin()
	for n := range 5 {
		sc.File.Commit(harness.Blocks{0: harness.SceneText(100+n, 0), 1: harness.SceneText(100+n, 1), 2: harness.SceneText(100+n, 2)})
	}
	return sc
}

// requireSpared requires that the client which does not answer was not ended.
func (sc *busyScene) requireSpared() {
	sc.T.Helper()
	require.NotContains(sc.T, sc.Server.Printed(), "-> killing it")
	require.NotContains(sc.T, sc.Server.Printed(), "SIGBUS")
}

// TestSIGTERMEndsTheServerAtOnce, whatever it is at.
func TestSIGTERMEndsTheServerAtOnce(t *testing.T) {
	t.Parallel()
	sc := newBusyScene(t)
	begin := time.Now()
	sc.Server.Signal(syscall.SIGTERM)
	require.Zero(t, sc.Server.WaitExit(), sc.Server.Printed())
	require.Less(t, time.Since(begin), promptly, sc.Server.Printed())
	require.Empty(t, harness.Mounts(sc.Server.Dir))
	sc.requireSpared()
}

// TestAbortEndsTheServerAtOnce: operators free a stuck mount by writing to its abort
// file. The server takes away what is left, and says what has happened. Its clients
// have done nothing wrong.
func TestAbortEndsTheServerAtOnce(t *testing.T) {
	needRoot(t, "mount the fusectl filesystem")
	t.Parallel()
	for name, newScene := range map[string]func(t *testing.T) (*harness.Server, func()){
		"idle": func(t *testing.T) (*harness.Server, func()) { return harness.Start(t, "topo"), func() {} },
		"busy": func(t *testing.T) (*harness.Server, func()) {
			sc := newBusyScene(t)
			return sc.Server, sc.requireSpared
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, check := newScene(t)
			begin := time.Now()
			s.Abort()
			require.Equal(t, 18, s.WaitExit(), s.Printed())
			require.Less(t, time.Since(begin), promptly, s.Printed())
			require.Contains(t, s.Printed(), "wcfs: mount point "+s.Dir+": the FUSE connection was aborted by somebody")
			left := harness.Mounts(s.Dir)
			if len(left) > 0 {
				require.NoError(t, unix.Unmount(s.Dir, unix.MNT_DETACH))
			}
			require.Empty(t, left)
			check()
		})
	}
}
