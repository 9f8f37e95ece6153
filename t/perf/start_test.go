package perf

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/internal/zodb/storage/storagetest"
	"github.com/wcfs/wcfs/t/harness"
	"lab.nexedi.com/kirr/neo/go/zodb"
)

// start has the rows of the time from exec until the mount answers, for a small database
// and a large one, whose index is saved.
func (t *Table) start(b *testing.B, program string) {
	row := func(name, path string, most float64) {
		t.compare(b, Row{Name: name, Unit: "ms", Than: "C", Target: valueAtMost(most)},
			func() []float64 { return times(3, func() time.Duration { return startServer(b, path) }) },
			func() []float64 { return times(3, func() time.Duration { return startOfYardstick(b, program) }) })
	}
	row("start, small", harness.CopyDatabase(b, "basic"), 8)
	row("start, 221 000 objects in 1.2 GB", largeDatabase(b), 100)
}

// startServer returns how long a server takes to start. Then it ends.
func startServer(b *testing.B, path string) time.Duration {
	b.Helper()
	dir := filepath.Join(b.TempDir(), "mnt")
	require.NoError(b, os.Mkdir(dir, 0o755))
	start := time.Now()
	s := harness.Begin(b, harness.Config{ZURL: "file://" + path, Dir: dir})
	untilThere(b, s.Path("head/at"))
	took := time.Since(start)
	require.True(b, s.WaitReady(false))
	s.Stop()
	return took
}

func startOfYardstick(b *testing.B, program string) time.Duration {
	b.Helper()
	dir := b.TempDir()
	start := time.Now()
	h := harness.StartProgram(b, program, dir, "4096", fmt.Sprint(yardstickThreads))
	untilThere(b, filepath.Join(dir, "data"))
	took := time.Since(start)
	require.Equal(b, "ready", h.Line())
	require.Zero(b, h.Wait())
	return took
}

// untilThere looks for a file much more often than harness.Until does.
func untilThere(b *testing.B, path string) {
	b.Helper()
	for deadline := time.Now().Add(harness.Patience); ; time.Sleep(50 * time.Microsecond) {
		if _, err := os.Stat(path); err == nil {
			return
		}
		if time.Now().After(deadline) {
			b.Fatalf("%s is not there within %s", path, harness.Patience)
		}
	}
}

// largeDatabase writes 221 transactions of a thousand objects each, and the index.
func largeDatabase(b *testing.B) (path string) {
	b.Helper()
	path = filepath.Join(b.TempDir(), "large.fs")
	w := storagetest.NewFSWriter(path)
	defer w.Close()
	const transactions, objects, size = 221, 1000, 5400
	data := make([]byte, size) // which nobody looks at
	for i := range transactions {
		txn := storagetest.Txn{Tid: zodb.Tid(0x0400000000000000 + (i+1)<<24)}
		for j := range objects {
			txn.Records = append(txn.Records, storagetest.Record{Oid: zodb.Oid(i*objects + j), Data: data})
		}
		w.Commit(txn)
	}
	w.SaveIndex(nil)
	return path
}
