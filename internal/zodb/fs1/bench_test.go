package fs1

import (
	"context"
	"math/rand/v2"
	"testing"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/internal/zodb/storage/storagetest"
)

func BenchmarkLoad2M(b *testing.B) { benchmarkLoad(b, 2<<20) }
func BenchmarkLoad4K(b *testing.B) { benchmarkLoad(b, 4<<10) }

// benchmarkLoad compares Load with a plain pread of the same bytes.
func benchmarkLoad(b *testing.B, size int) {
	r := newRig(b)
	data := make([]byte, size)
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range data {
		data[i] = byte(rnd.Uint32())
	}
	const n = 32
	for i := range zodb.Oid(n) {
		r.w.Commit(storagetest.Txn{Tid: zodb.Tid(i + 1), Records: []storagetest.Record{{Oid: i, Data: data}}})
	}
	r.mustOpen()
	positions := make([]int64, n)
	for i := range positions {
		positions[i] = r.w.Pos(zodb.Oid(i))
	}
	b.Run("pread", func(b *testing.B) {
		b.SetBytes(int64(size))
		b.ReportAllocs()
		for i := range b.N {
			buf := storage.NewBuf(size)
			if _, err := r.cur.f.ReadAt(buf.Data, positions[i%n]+42); err != nil {
				b.Fatal(err)
			}
			buf.Release()
		}
	})
	b.Run("load", func(b *testing.B) {
		b.SetBytes(int64(size))
		b.ReportAllocs()
		for i := range b.N {
			buf, _, err := r.Load(r.ctx, zodb.Xid{At: n, Oid: zodb.Oid(i % n)})
			if err != nil {
				b.Fatal(err)
			}
			buf.Release()
		}
	})
}

// BenchmarkScan is the price of an open without a saved index.
func BenchmarkScan(b *testing.B) {
	r := newRig(b)
	data := make([]byte, 4<<10)
	for i := range zodb.Tid(1000) {
		t := storagetest.Txn{Tid: i + 1}
		for j := range zodb.Oid(10) {
			t.Records = append(t.Records, storagetest.Record{Oid: zodb.Oid(i)*10 + j, Data: data})
		}
		r.w.Commit(t)
	}
	b.SetBytes(r.w.End())
	for b.Loop() {
		r.mustOpen()
		r.Close()
	}
}

// BenchmarkSync is the price of a Sync that finds nothing new.
func BenchmarkSync(b *testing.B) {
	r := newRig(b)
	r.w.Commit(put(1, "x", 1))
	r.w.Vote(put(2, "not finished", 1))
	r.mustOpen()
	for b.Loop() {
		if _, err := r.Sync(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCommitToEvent is the time from the write that finishes a
// transaction to its event.
func BenchmarkCommitToEvent(b *testing.B) {
	r := newRig(b)
	r.mustOpen()
	tid := zodb.Tid(1)
	for b.Loop() {
		r.w.Commit(put(tid, "x", 1))
		if ev, err := r.NextEvent(context.Background()); err != nil || ev.Tid != tid {
			b.Fatal(ev, err)
		}
		tid++
	}
}
