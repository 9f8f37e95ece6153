package clients

import (
	"fmt"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/client"
	"github.com/wcfs/wcfs/t/harness"
)

// TestClientShowsItsView is the example of how views, pins and zeros go together.
func TestClientShowsItsView(t *testing.T) { forClients(t, clientShowsItsView) }

func clientShowsItsView(t *testing.T, k kind) {
	for _, size := range []int64{4096, harness.BlkSize} {
		l := harness.NewLive(t)
		f := l.NewFile(size)
		at1 := f.Commit(harness.Blocks{2: "c1", 3: "d1"})
		s := l.Start() // history begins here
		at2 := f.Commit(harness.Blocks{2: "c2"})
		s.WaitAt(at2)
		c := k.start(t, s)
		c.Do("connect c %s", at1)
		c.Do("open f c %s", f.Oid)
		c.Do("mmap m f 2 3")
		c.Do("mmap far f 5 2")
		c.Shows("show m", "c1", "d1", "")
		c.Shows("show far", "", "")
		at3 := f.Commit(harness.Blocks{3: "d3", 4: "e3"})
		s.WaitAt(at3)
		c.Shows("show m", "c1", "d1", "")
		if k.reads {
			c.Shows("read f 6", "", "", "c1", "d1", "", "")
		}
		require.Equal(t, fmt.Sprint(4*size), c.Helper.Ask("size f"))
		c.Do("resync c %s", at2)
		c.Shows("show m", "c2", "d1", "")
		if k.reads {
			c.Shows("read f 6", "", "", "c2", "d1", "", "")
		}
		c.Do("open again c %s", f.Oid)
		c.Do("mmap n again 3 2")
		c.Do("closefile again")
		c.Fails("file already closed", "mmap x again 0 1")
		c.Shows("show n", "d1", "")
		c.Do("resync c %s", at3)
		c.Shows("show m", "c2", "d3", "e3")
		c.Shows("show n", "d3", "e3")
		c.Shows("show far", "", "")
		require.Equal(t, at3.String(), c.Helper.Ask("at c"))
		c.Fails("going back in history is forbidden", "resync c %s", at2)
		c.Shows("show m", "!", "!", "!")
		c.Fails("connection closed", "open f c %s", f.Oid)
		c.Fails("connection closed", "resync c head")
		c.End()
		s.Stop()
	}
}

// TestClosedMemoryFaults: what is closed faults, and nothing else.
func TestClosedMemoryFaults(t *testing.T) { forClients(t, closedMemoryFaults) }

func closedMemoryFaults(t *testing.T, k kind) {
	l := harness.NewLive(t)
	f, g := l.NewFile(16<<10), l.NewFile(16<<10)
	f.Commit(harness.Blocks{0: "f0", 1: "f1"})
	g.Commit(harness.Blocks{0: "g0", 1: "g1"})
	s := l.Start()
	c := k.start(t, s)
	c.Do("connect c head")
	c.Do("open f c %s", f.Oid)
	c.Do("open g c %s", g.Oid)
	c.Do("mmap f1 f 0 3")
	c.Do("mmap f2 f 1 3")
	c.Do("mmap g1 g 0 4")
	c.Shows("show f1", "f0", "f1", "")
	c.Shows("show f2", "f1", "", "")
	c.Do("closefile f")
	c.Shows("show f1", "!", "!", "!")
	c.Shows("show f2", "!", "!", "!")
	c.Shows("show g1", "g0", "g1", "", "")
	c.Do("open F c %s", f.Oid)
	c.Do("mmap f3 F 0 3")
	c.Shows("show f1", "!", "!", "!")
	c.Shows("show f3", "f0", "f1", "")
	c.Do("close c")
	c.Shows("show f3", "!", "!", "!")
	c.Shows("show g1", "!", "!", "!", "!")
	c.Fails("connection closed", "open f c %s", f.Oid)
	c.Fails("connection closed", "mmap x g 0 1")
	for _, m := range []string{"f1", "f2", "f3", "g1"} {
		c.Do("unmap %s", m)
	}
	c.End()
	s.Stop()
}

// TestGrowthIsSeenWhenTheClientMoves: mappings behind the end, growth, and a pin there that stays.
func TestGrowthIsSeenWhenTheClientMoves(t *testing.T) { forClients(t, growthIsSeenWhenTheClientMoves) }

func growthIsSeenWhenTheClientMoves(t *testing.T, k kind) {
	l := harness.NewLive(t)
	f := l.NewFile(16 << 10)
	f.Commit(harness.Blocks{0: "a"})
	s := l.Start()
	c := k.start(t, s)
	c.Do("connect c head")
	c.Do("open f c %s", f.Oid)
	c.Do("mmap low f 0 1")
	c.Do("mmap m f 1 2")
	c.Do("mmap high f 2 2")
	at2 := f.Commit(harness.Blocks{1: "b2", 2: "c2"})
	at3 := f.Commit(harness.Blocks{2: "c3", 3: "d3"})
	s.WaitAt(at3)
	f.Check(s, "head", at3) // makes the server pin all of it
	c.Shows("show m", "", "")
	c.Do("resync c %s", at2)
	c.Shows("show low", "a")
	c.Shows("show m", "b2", "c2")
	c.Shows("show high", "c2", "")
	at4 := f.Commit(harness.Blocks{0: "a4"})
	s.WaitAt(at4)
	c.Shows("show low", "a")
	c.Do("resync c head")
	c.Shows("show low", "a4")
	c.Shows("show m", "b2", "c3")
	c.Shows("show high", "c3", "d3")
	c.End()
	s.Stop()
}

// TestTwoViewsOfOneProcess: Conns of one process do not disturb each other.
func TestTwoViewsOfOneProcess(t *testing.T) { forClients(t, twoViewsOfOneProcess) }

func twoViewsOfOneProcess(t *testing.T, k kind) {
	l := harness.NewLive(t)
	f := l.NewFile(16 << 10)
	at1 := f.Commit(harness.Blocks{0: "a1", 1: "b1"})
	s := l.Start()
	at2 := f.Commit(harness.Blocks{0: "a2"})
	s.WaitAt(at2)
	c := k.start(t, s)
	for name, at := range map[string]string{"x": at1.String(), "y": at2.String()} {
		c.Do("connect %s %s", name, at)
		c.Do("open f%s %s %s", name, name, f.Oid)
		c.Do("mmap m%s f%s 0 2", name, name)
	}
	c.Shows("show mx", "a1", "b1")
	c.Shows("show my", "a2", "b1")
	at3 := f.Commit(harness.Blocks{0: "a3", 1: "b3"})
	s.WaitAt(at3)
	if k.reads {
		c.Do("load my")
	}
	c.Shows("show mx", "a1", "b1")
	c.Shows("show my", "a2", "b1")
	c.Do("resync x head")
	c.Shows("show mx", "a3", "b3")
	c.Shows("show my", "a2", "b1")
	c.Do("close x")
	c.Shows("show mx", "!", "!")
	c.Shows("show my", "a2", "b1")
	c.End()
	s.Stop()
}

// TestCallsSayThatTheServerIsGone: every call fails with an error that says so, and the
// memory faults. Joining tells whether no server was there, or one died.
func TestCallsSayThatTheServerIsGone(t *testing.T) { forClients(t, callsSayThatTheServerIsGone) }

func callsSayThatTheServerIsGone(t *testing.T, k kind) {
	l := harness.NewLive(t)
	f := l.NewFile(16 << 10)
	f.Commit(harness.Blocks{0: "a1", 1: "b1"})
	s := l.Start()
	c := k.start(t, s)
	c.Do("connect c head")
	c.Do("open f c %s", f.Oid)
	c.Do("mmap m f 0 3")
	c.Shows("show m", "a1", "b1", "")
	s.Signal(syscall.SIGKILL)
	s.WaitExit()
	harness.Until(t, "the memory faults", func() bool { return c.Helper.Ask("show m") == fmt.Sprintf("%q", []string{"!", "!", "!"}) })
	const gone = "the wcfs server is gone"
	c.Fails(gone, "open g c %s", f.Oid)
	if k.reads {
		c.Fails(gone, "read f 1")
	}
	c.Fails(gone, "size f")
	if k.reads {
		c.Fails(gone, "load m")
	}
	c.Fails(gone, "mmap n f 0 1")
	c.Fails(gone, "resync c head")
	c.Fails(gone, "connect d head")
	c.Do("closefile f")
	c.Do("close c")
	c.End()
	_, err := client.JoinMount(t.Context(), s.Dir)
	require.ErrorIs(t, err, client.ErrCrashed)
	require.NoError(t, syscall.Unmount(s.Dir, syscall.MNT_DETACH))
	_, err = client.JoinMount(t.Context(), s.Dir)
	require.ErrorIs(t, err, client.ErrNotRunning)
}
