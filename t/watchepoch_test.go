package t

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"
)

// TestWatchBeforeAFileBecameAnotherIsRefused: what was another file at the view
// cannot be pinned block by block.
func TestWatchBeforeAFileBecameAnotherIsRefused(t *testing.T) {
	t.Parallel()
	const size = 64 << 10
	for name, change := range map[string]func(tx *LiveTx, f *LiveFile){
		"other size of blocks": func(tx *LiveTx, f *LiveFile) { tx.SetFile(f, size/2, tx.Table(f)); tx.Write(f, 1, "half") },
		"made anew":            nil,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sc := newSceneOf(t, 0, size)
			at1 := sc.commit(0, 1)
			sc.mapped(2)
			sc.read(0, 1)
			before := sc.watching(at1, pins{})
			if change == nil {
				sc.s.WaitAt(sc.l.Commit(func(tx *LiveTx) { tx.DeleteFile(sc.f) }))
				sc.s.WaitAt(sc.l.Commit(func(tx *LiveTx) {
					tx.SetFile(sc.f, size, tx.NewTable())
					tx.Write(sc.f, 1, "again")
				}))
			} else {
				sc.s.WaitAt(sc.l.Commit(func(tx *LiveTx) { change(tx, sc.f) }))
			}
			at := sc.l.Head()
			sc.open()
			sc.f.Check(sc.s, "head", at)
			w := sc.watcher()
			reply := w.Ask(watchRequest(sc.f.Oid, at1))
			var epoch zodb.Tid
			_, err := fmt.Sscanf(reply, fmt.Sprintf("error setup watch f<%s> @%s: file epoch detected @%%x in between (at,head=@%s]", sc.f.Oid, at1, at), &epoch)
			require.NoError(t, err, reply)
			require.Contains(t, sc.l.Tids, epoch)
			require.Greater(t, epoch, at1)
			require.Contains(t, before.Ask(watchRequest(sc.f.Oid, at)), "error setup watch f<")
			require.Equal(t, "ok", before.Ask("watch "+sc.f.Oid.String()+" -"))
			for _, w := range []*watcher{w, before} {
				w.forget(sc.f)
				require.Equal(t, "ok", w.Ask(watchRequest(sc.f.Oid, at)))
			}
			sc.none()
			require.Zero(t, sc.s.stats()["pinkill"])
			for _, w := range sc.watchers {
				w.Close()
			}
			sc.s.requireNoLinks()
		})
	}
}
