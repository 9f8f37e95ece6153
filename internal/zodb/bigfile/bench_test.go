package bigfile_test

import (
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/record"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

const benchBlk = 2 << 20

// writeFS1 writes a FileStorage with one transaction that has the records, and
// returns where their data is.
func writeFS1(t testing.TB, path string, tid zodb.Tid, records map[zodb.Oid][]byte) map[zodb.Oid]int64 {
	t.Helper()
	be := binary.BigEndian
	size := 23
	for _, data := range records {
		size += 42 + len(data)
	}
	file := []byte("FS30")
	file = be.AppendUint64(file, uint64(tid))
	file = be.AppendUint64(file, uint64(size))
	file = append(file, ' ', 0, 0, 0, 0, 0, 0)
	where := make(map[zodb.Oid]int64)
	for oid, data := range records {
		for _, x := range []uint64{uint64(oid), uint64(tid), 0, 4} {
			file = be.AppendUint64(file, x)
		}
		file = be.AppendUint64(append(file, 0, 0), uint64(len(data)))
		where[oid] = int64(len(file))
		file = append(file, data...)
	}
	file = be.AppendUint64(file, uint64(size))
	if err := os.WriteFile(path, file, 0o666); err != nil {
		t.Fatal(err)
	}
	return where
}

// benchRecords returns a block of 2 MiB of noise as ZBlk0 and as ZBlk1.
func benchRecords() (zblk0 []byte, zblk1 *model) {
	rng := rand.New(rand.NewPCG(1, 2))
	data := make([]byte, benchBlk)
	for i := range data {
		data[i] = byte(1 + rng.IntN(255))
	}
	var pieces []piece
	for off := 0; off < benchBlk; off += 4096 {
		pieces = append(pieces, piece{int64(off), string(data[off : off+4096])})
	}
	zblk1 = newModel()
	zblk1.setZBlk1(pieces...)
	return bytesOf(record.ZBlk0, data), zblk1
}

const (
	benchTid   = zodb.Tid(0x03b0000000000000)
	benchZBlk0 = zodb.Oid(1)
)

// benchDB writes both blocks to a database.
func benchDB(t testing.TB) (path string, where map[zodb.Oid]int64, records map[zodb.Oid][]byte) {
	zblk0, zblk1 := benchRecords()
	zblk1.records[benchZBlk0] = zblk0
	path = filepath.Join(t.TempDir(), "bench.fs")
	return path, writeFS1(t, path, benchTid, zblk1.records), zblk1.records
}

func benchmarkPread(b *testing.B, oids func(zodb.Oid) bool) {
	path, where, records := benchDB(b)
	f, err := os.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	buf := make([]byte, 3<<20)
	b.SetBytes(benchBlk)
	for b.Loop() {
		for oid, pos := range where {
			if !oids(oid) {
				continue
			}
			if _, err := f.ReadAt(buf[:len(records[oid])], pos); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func benchmarkLoad(b *testing.B, stor storage.Loader, zblk zodb.Oid) {
	b.SetBytes(benchBlk)
	b.ReportAllocs()
	for b.Loop() {
		block, err := bigfile.LoadBlock(ctx, stor, zblk, benchTid, benchBlk)
		if err != nil || len(block.Data) != benchBlk {
			b.Fatal(err)
		}
		block.Release()
	}
}

func BenchmarkZBlk0Pread(b *testing.B) {
	benchmarkPread(b, func(oid zodb.Oid) bool { return oid == benchZBlk0 })
}

func BenchmarkZBlk0Load(b *testing.B) {
	path, _, _ := benchDB(b)
	benchmarkLoad(b, open(b, path), benchZBlk0)
}

func BenchmarkZBlk1Pread(b *testing.B) {
	benchmarkPread(b, func(oid zodb.Oid) bool { return oid != benchZBlk0 })
}

func BenchmarkZBlk1Load(b *testing.B) {
	path, _, _ := benchDB(b)
	benchmarkLoad(b, open(b, path), oidZBlk)
}
