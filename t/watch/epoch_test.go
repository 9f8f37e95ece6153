package watch

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/t/harness"
	"lab.nexedi.com/kirr/neo/go/zodb"
)

// TestWatchBeforeAFileBecameAnotherIsRefused: what was another file at the view
// cannot be pinned block by block.
func TestWatchBeforeAFileBecameAnotherIsRefused(t *testing.T) {
	t.Parallel()
	const size = 64 << 10
	for name, change := range map[string]func(tx *harness.LiveTx, f *harness.LiveFile){
		"other size of blocks": func(tx *harness.LiveTx, f *harness.LiveFile) {
			tx.SetFile(f, size/2, tx.Table(f))
			tx.Write(f, 1, "half")
		},
		"made anew": nil,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sc := harness.NewSceneOf(t, 0, size)
			at1 := sc.Commit(0, 1)
			sc.Map(2)
			sc.Read(0, 1)
			before := sc.Watching(at1, harness.Pins{})
			if change == nil {
				sc.Server.WaitAt(sc.Live.Commit(func(tx *harness.LiveTx) { tx.DeleteFile(sc.File) }))
				sc.Server.WaitAt(sc.Live.Commit(func(tx *harness.LiveTx) {
					tx.SetFile(sc.File, size, tx.NewTable())
					tx.Write(sc.File, 1, "again")
				}))
			} else {
				sc.Server.WaitAt(sc.Live.Commit(func(tx *harness.LiveTx) { change(tx, sc.File) }))
			}
			at := sc.Live.Head()
			sc.Open()
			sc.File.Check(sc.Server, "head", at)
			w := sc.Watcher()
			reply := w.Ask(harness.WatchRequest(sc.File.Oid, at1))
			var epoch zodb.Tid
			_, err := fmt.Sscanf(reply, fmt.Sprintf("error setup watch f<%s> @%s: file epoch detected @%%x in between (at,head=@%s]", sc.File.Oid, at1, at), &epoch)
			require.NoError(t, err, reply)
			require.Contains(t, sc.Live.Tids, epoch)
			require.Greater(t, epoch, at1)
			require.Contains(t, before.Ask(harness.WatchRequest(sc.File.Oid, at)), "error setup watch f<")
			require.Equal(t, "ok", before.Ask("watch "+sc.File.Oid.String()+" -"))
			for _, w := range []*harness.Watcher{w, before} {
				w.Forget(sc.File)
				require.Equal(t, "ok", w.Ask(harness.WatchRequest(sc.File.Oid, at)))
			}
			sc.None()
			require.Zero(t, sc.Server.Stats()["pinkill"])
			for _, w := range sc.Watchers {
				w.Close()
			}
			sc.Server.RequireNoLinks()
		})
	}
}
