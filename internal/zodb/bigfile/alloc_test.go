//go:build !race && !invariants

// The race detector makes pools forget things, and with invariants there are none.

package bigfile_test

import (
	"bytes"
	"os"
	"testing"
)

func TestZBlk0TakesNoMemoryOfItsSize(t *testing.T) {
	path, where, records := benchDB(t)
	stor := open(t, path)
	result := testing.Benchmark(func(b *testing.B) { benchmarkLoad(b, stor, benchZBlk0) })
	if perOp := result.AllocedBytesPerOp(); perOp > benchBlk/4 {
		t.Errorf("%d bytes allocated for each load", perOp)
	}
	if allocs := result.AllocsPerOp(); allocs > 20 {
		t.Errorf("%d allocations for each load", allocs)
	}
	file, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(file[where[oidZBlk]:][:len(records[oidZBlk])], records[oidZBlk]) {
		t.Error("the database is not what the benchmarks take it for", err)
	}
}
