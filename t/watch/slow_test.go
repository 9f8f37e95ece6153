package watch

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/t/harness"
)

// reread reads a block of head that is not cached. It must be right, and nobody
// waited for.
func reread(sc *harness.Scene, blk int64) {
	sc.T.Helper()
	drop(sc)
	finish := sc.StartRead(blk)
	finish()
}

// drop empties the page cache of the file.
func drop(sc *harness.Scene) {
	sc.T.Helper()
	if sc.Mapped != nil {
		sc.Mapped.Close()
	}
	harness.DropBlocks(sc.T, sc.File.Path(sc.Server, "head"))
	sc.Map(4)
	require.NotContains(sc.T, sc.Mapped.Cache(), "1")
}

// TestReadsWaitOnlyForClientsThatMayMapHead: a client that has not been told ok
// maps nothing yet, and one that is on any pin of a block does not see it in
// head. Only while it may, READs of the block wait for it.
func TestReadsWaitOnlyForClientsThatMayMapHead(t *testing.T) {
	t.Parallel()
	harness.ForAllProcs(t, func(t *testing.T, procs int) {
		sc := harness.NewSceneOf(t, procs, 64<<10)
		at1, at2, at3 := sc.Commit(1), sc.Commit(1), sc.Commit(1)
		drop(sc)
		sc.Read(1)
		w := sc.ManualWatcher()
		next := func(want harness.WatchPin) {
			t.Helper()
			p := w.Pin()
			want.Oid, want.Blk, want.Stream = sc.File.Oid, 1, p.Stream
			require.Equal(t, want, p)
		}

		request := w.Send(harness.WatchRequest(sc.File.Oid, at1))
		next(harness.WatchPin{Rev: at1})
		reread(sc, 1) // it was not told ok
		w.Ack(w.Pin())
		require.Equal(t, "ok", w.Reply(request))

		request = w.Send(harness.WatchRequest(sc.File.Oid, at2))
		next(harness.WatchPin{Rev: at2})
		reread(sc, 1) // from pin to pin
		w.Ack(w.Pin())
		require.Equal(t, "ok", w.Reply(request))

		request = w.Send(harness.WatchRequest(sc.File.Oid, at3))
		next(harness.WatchPin{Rev: harness.ToHead})
		reread(sc, 1) // head is what it wants to see
		at4 := sc.Commit(1)
		finish := sc.StartRead(1)
		w.Barrier()
		sc.StillReading() // it may be there already
		at5 := sc.Commit(1)
		require.Less(t, at4, at5)
		sc.StillReading()
		w.Ack(w.Pin())
		next(harness.WatchPin{Rev: at3})
		sc.StillReading()
		w.Ack(w.Pin())
		finish()
		require.Equal(t, "ok", w.Reply(request))
		w.At[sc.File] = at3
		w.Sees(sc.File)
		w.Pinned(sc.File, harness.Pins{1: at3})
		require.Equal(t, 4, w.NPins)
		sc.End()
	})
}

// TestSetupThatWaitsDelaysNothingElse: requests of one file wait for each
// other, those of other files on the same link, stats and commits do not.
func TestSetupThatWaitsDelaysNothingElse(t *testing.T) {
	t.Parallel()
	sc := harness.NewSceneOf(t, 0, 64<<10)
	other := sc.Live.NewFile(64 << 10)
	at1 := sc.Commit(1)
	at2 := sc.Commit(1)
	drop(sc)
	sc.Read(1)
	harness.Stat(t, other.Path(sc.Server, "head"))
	w := sc.ManualWatcher()
	first := w.Send(harness.WatchRequest(sc.File.Oid, at1))
	second := w.Send(harness.WatchRequest(sc.File.Oid, at2))
	w.Pin()
	w.Watch(other, at2)
	require.Equal(t, map[string]int{"BigFile": 2, "RevHead": 0, "ZHeadLink": 0, "WatchLink": 1, "Watch": 2, "PinnedBlk": 0, "pin": 1, "pinkill": 0}, sc.Server.Stats())
	at3 := sc.Commit(1, 2)
	w.Watch(other, at3)
	w.Mu.Lock()
	require.Empty(t, w.Replies)
	w.Mu.Unlock()
	w.Auto()
	require.Equal(t, "ok", w.Reply(first))
	require.Equal(t, "ok", w.Reply(second))
	w.At[sc.File] = at2
	w.Sees(sc.File)
	sc.End()
}
