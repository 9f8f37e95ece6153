package perf

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/t/harness"
)

// appends has the rows of an array that grows by a block, which is then read. The yardstick
// writes as many bytes behind a plain file, and reads as many from C.
func (t *Table) appends(b *testing.B, program string) {
	b.Run("steps", func(b *testing.B) {
		const steps = 500
		w := newWritten(b, blkSize, 1)
		y := startYardstick(b, program, blkSize)
		plain, err := os.Create(filepath.Join(b.TempDir(), "plain"))
		require.NoError(b, err)
		defer plain.Close()
		f, c := harness.OpenRandom(b, w.path()), harness.OpenRandom(b, y.path())
		text := noise()
		bytes := []byte(text)
		ours := func(i int64) time.Duration {
			start := time.Now()
			w.zhead.Wait(w.Commit(func(tx *harness.LiveTx) { tx.Write(w.file, i, text) }))
			harness.Pread(b, f, i*blkSize, blkSize)
			return time.Since(start)
		}
		theirs := func() time.Duration {
			harness.DropPages(b, y.path())
			require.NoError(b, plain.Truncate(0)) // the disk has enough to do
			start := time.Now()
			_, err := plain.WriteAt(bytes, 0)
			require.NoError(b, err)
			harness.Pread(b, c, 0, blkSize)
			return time.Since(start)
		}
		var is, than, times []float64
		for i := range int64(steps) {
			is = append(is, in(time.Millisecond, ours(i+1))...)
			than = append(than, in(time.Millisecond, theirs())...)
			times = append(times, is[i]/than[i])
			w.Forget()
		}
		t.report(b, Row{Name: "append 2 MiB and read it", Unit: "ms", Than: "write and C"}, is, than)
		t.report(b, Row{Name: "the same, last 100 of 500", Unit: "x", Than: "first 100", Target: ratioAtMost(1.05)}, times[steps-endings:], times[:endings])
		f.Close()
		c.Close()
		y.Stop()
	})
}
