package neo

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/neo/neotest"
	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/internal/zodb/storage/storagetest"
)

// Benchmarks are about the driver: the fake writes answers that are encoded already.

// noise is data that does not compress.
func noise(size int) []byte {
	data := make([]byte, 0, size+sha256.Size)
	sum := sha256.Sum256([]byte("noise"))
	for len(data) < size {
		sum = sha256.Sum256(sum[:])
		data = append(data, sum[:]...)
	}
	return data[:size]
}

// benchmarked is a database of objects 0 to n-1 with the same data.
func benchmarked(b *testing.B, n int, data []byte, options string) (c *neotest.Cluster, s storage.Storage, at zodb.Tid) {
	c = startCluster(b, neotest.Options{Partitions: 4, Storages: 1})
	txn := storagetest.Txn{Tid: 0x0285cbac00000001}
	for oid := range n {
		txn.Records = append(txn.Records, storagetest.Record{Oid: zodb.Oid(oid), Data: data})
	}
	c.Commit(txn)
	s, at, err := Open(b.Context(), urlOf(b, c.URL()+options), storage.Options{})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, s.Close()) })
	return c, s, at
}

func load(b *testing.B, s storage.Loader, xid zodb.Xid) {
	buf, _, err := s.Load(context.Background(), xid)
	if err != nil {
		b.Error(err)
		return
	}
	buf.Release()
}

// loads makes n loads, some at a time, and returns how many there are in a second.
func loads(b *testing.B, s storage.Loader, at zodb.Tid, objects, n, together int) float64 {
	var group sync.WaitGroup
	began := time.Now()
	for i := range together {
		group.Go(func() {
			for k := i; k < n; k += together {
				load(b, s, zodb.Xid{At: at, Oid: zodb.Oid(k % objects)})
			}
		})
	}
	group.Wait()
	return float64(n) / time.Since(began).Seconds()
}

// BenchmarkLoad2M compares loads of the usual block with a copy of the same bytes over a
// socket: of-raw is how much of the rate of a reader they reach who does nothing with the
// bytes, and of-checked how much of that of one who computes their checksums, which take
// longer than the copy where processors have no instructions for SHA-1.
func BenchmarkLoad2M(b *testing.B) {
	const size, objects = 2 << 20, 4
	data := noise(size)
	for _, options := range []string{"", "?ignore-wrong-checksum=1"} {
		_, s, at := benchmarked(b, objects, data, options)
		for name, together := range map[string]int{"one at a time": 1, "four at a time": 4} {
			b.Run(name+options, func(b *testing.B) {
				loads(b, s, at, objects, 8, together)
				b.SetBytes(size)
				b.ResetTimer()
				rate := loads(b, s, at, objects, b.N, together)
				b.StopTimer()
				n := max(b.N, 50)
				b.ReportMetric(rate/raw(b, data, n, func([]byte) {}), "of-raw")
				b.ReportMetric(rate/raw(b, data, n, func(data []byte) { sha1.Sum(data) }), "of-checked")
			})
		}
	}
}

// raw copies data n times over a socket of this host, looks at it, and returns how often in
// a second.
func raw(b *testing.B, data []byte, n int, look func([]byte)) float64 {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	defer l.Close()
	var writing sync.WaitGroup
	defer writing.Wait()
	writing.Go(func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		for range n {
			if _, err := conn.Write(data); err != nil {
				return
			}
		}
	})
	conn, err := net.Dial("tcp", l.Addr().String())
	require.NoError(b, err)
	defer conn.Close()
	into := make([]byte, len(data))
	began := time.Now()
	for range n {
		_, err := io.ReadFull(conn, into)
		require.NoError(b, err)
		look(into)
	}
	return float64(n) / time.Since(began).Seconds()
}

// BenchmarkLoad4K compares small loads that are many at a time with those that are not:
// x-of-one is how many times as many there are then. Where nothing is between the two
// sides, one load at a time keeps a processor busy already.
func BenchmarkLoad4K(b *testing.B) {
	const objects, together = 1000, 64
	c, s, at := benchmarked(b, objects, noise(4<<10), "")
	for name, away := range map[string]time.Duration{"at hand": 0, "half a millisecond away": time.Millisecond / 2} {
		b.Run(name, func(b *testing.B) {
			c.Delay(func() time.Duration { return away })
			one := loads(b, s, at, objects, 2000, 1)
			b.ResetTimer()
			rate := loads(b, s, at, objects, max(b.N, 2000), together)
			b.StopTimer()
			b.ReportMetric(rate, "loads/s")
			b.ReportMetric(one, "loads/s-of-one")
			b.ReportMetric(rate/one, "x-of-one")
		})
	}
}
