package zwrite

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/wcfs/wcfs/internal/zodb/bigfile"
)

// BenchmarkCommit commits one small record of one object.
func BenchmarkCommit(b *testing.B) {
	for name, noSync := range map[string]bool{"NoSync": true, "Sync": false} {
		b.Run(name, func(b *testing.B) {
			db, err := Create(ctx, tempPath(b), Options{NoSync: noSync})
			if err != nil {
				b.Fatal(err)
			}
			defer db.Close()
			data := make([]byte, 200)
			for b.Loop() {
				txn := begin(b, db, Meta{})
				txn.Store(1, data)
				if _, err := txn.Commit(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
		})
	}
}

const benchBlock = 2 << 20

func noise() []byte {
	data := make([]byte, benchBlock)
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range data {
		data[i] = byte(rnd.Uint32()) | 1
	}
	return data
}

// BenchmarkWriteZBlk0 appends 64 blocks of 2 MiB per transaction, synced.
func BenchmarkWriteZBlk0(b *testing.B) {
	data := noise()
	path := tempPath(b)
	db, err := Create(ctx, path, Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	txn := begin(b, db, Meta{})
	oid, err := bigfile.NewFile(txn, benchBlock)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := txn.Commit(); err != nil {
		b.Fatal(err)
	}
	end := db.index.TopPos
	const blocks = 64
	b.SetBytes(blocks * benchBlock)
	for i := int64(0); b.Loop(); i++ {
		txn := begin(b, db, Meta{})
		w, err := bigfile.NewWriter(txn, oid, bigfile.FormatZBlk0)
		if err != nil {
			b.Fatal(err)
		}
		for blk := range int64(blocks) {
			if err := w.WriteBlock(ctx, i*blocks+blk, data); err != nil {
				b.Fatal(err)
			}
		}
		w.Flush()
		if _, err := txn.Commit(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(db.index.TopPos-end)/float64(b.N*blocks*benchBlock), "bytes/byte")
}

// BenchmarkWritePlain writes as much to a plain file, synced: what the other
// benchmark is to be compared with.
func BenchmarkWritePlain(b *testing.B) {
	data := noise()
	f, err := os.Create(filepath.Join(b.TempDir(), "plain"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	const blocks = 64
	b.SetBytes(blocks * benchBlock)
	for b.Loop() {
		for range blocks {
			if _, err := f.Write(data); err != nil {
				b.Fatal(err)
			}
		}
		if err := f.Sync(); err != nil {
			b.Fatal(err)
		}
	}
}
