package t

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// reread reads a block of head that is not cached. It must be right, and nobody
// waited for.
func (sc *scene) reread(blk int64) {
	sc.t.Helper()
	sc.drop()
	finish := sc.startRead(blk)
	finish()
}

// drop empties the page cache of the file.
func (sc *scene) drop() {
	sc.t.Helper()
	if sc.m != nil {
		sc.m.Close()
	}
	dropBlocks(sc.t, sc.f.Path(sc.s, "head"))
	sc.mapped(4)
	require.NotContains(sc.t, sc.m.Cache(), "1")
}

// TestReadsWaitOnlyForClientsThatMayMapHead: a client that has not been told ok
// maps nothing yet, and one that is on any pin of a block does not see it in
// head. Only while it may, READs of the block wait for it.
func TestReadsWaitOnlyForClientsThatMayMapHead(t *testing.T) {
	t.Parallel()
	forAllProcs(t, func(t *testing.T, procs int) {
		sc := newSceneOf(t, procs, 64<<10)
		at1, at2, at3 := sc.commit(1), sc.commit(1), sc.commit(1)
		sc.drop()
		sc.read(1)
		w := sc.manualWatcher()
		next := func(want watchPin) {
			t.Helper()
			p := w.Pin()
			want.oid, want.blk, want.stream = sc.f.Oid, 1, p.stream
			require.Equal(t, want, p)
		}

		request := w.Send(watchRequest(sc.f.Oid, at1))
		next(watchPin{rev: at1})
		sc.reread(1) // it was not told ok
		w.Ack(w.Pin())
		require.Equal(t, "ok", w.Reply(request))

		request = w.Send(watchRequest(sc.f.Oid, at2))
		next(watchPin{rev: at2})
		sc.reread(1) // from pin to pin
		w.Ack(w.Pin())
		require.Equal(t, "ok", w.Reply(request))

		request = w.Send(watchRequest(sc.f.Oid, at3))
		next(watchPin{rev: toHead})
		sc.reread(1) // head is what it wants to see
		at4 := sc.commit(1)
		finish := sc.startRead(1)
		w.Barrier()
		sc.stillReading() // it may be there already
		at5 := sc.commit(1)
		require.Less(t, at4, at5)
		sc.stillReading()
		w.Ack(w.Pin())
		next(watchPin{rev: at3})
		sc.stillReading()
		w.Ack(w.Pin())
		finish()
		require.Equal(t, "ok", w.Reply(request))
		w.at[sc.f] = at3
		w.Sees(sc.f)
		w.Pinned(sc.f, pins{1: at3})
		require.Equal(t, 4, w.npins)
		sc.end()
	})
}

// TestSetupThatWaitsDelaysNothingElse is D10: requests of one file wait for each
// other, those of other files on the same link, stats and commits do not.
func TestSetupThatWaitsDelaysNothingElse(t *testing.T) {
	t.Parallel()
	sc := newSceneOf(t, 0, 64<<10)
	other := sc.l.NewFile(64 << 10)
	at1 := sc.commit(1)
	at2 := sc.commit(1)
	sc.drop()
	sc.read(1)
	stat(t, other.Path(sc.s, "head"))
	w := sc.manualWatcher()
	first := w.Send(watchRequest(sc.f.Oid, at1))
	second := w.Send(watchRequest(sc.f.Oid, at2))
	w.Pin()
	w.Watch(other, at2)
	require.Equal(t, map[string]int{"BigFile": 2, "RevHead": 0, "ZHeadLink": 0, "WatchLink": 1, "Watch": 2, "PinnedBlk": 0, "pin": 1, "pinkill": 0}, sc.s.stats())
	at3 := sc.commit(1, 2)
	w.Watch(other, at3)
	w.mu.Lock()
	require.Empty(t, w.replies)
	w.mu.Unlock()
	w.Auto()
	require.Equal(t, "ok", w.Reply(first))
	require.Equal(t, "ok", w.Reply(second))
	w.at[sc.f] = at2
	w.Sees(sc.f)
	sc.end()
}
