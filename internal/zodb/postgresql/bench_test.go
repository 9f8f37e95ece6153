package postgresql

import (
	"context"
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/btree"
	"github.com/wcfs/wcfs/internal/zodb/fs1"
	"github.com/wcfs/wcfs/internal/zodb/postgresql/pgtest"
	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/internal/zodb/storage/pythontest"
	"github.com/wcfs/wcfs/internal/zodb/storage/storagetest"
	"github.com/wcfs/wcfs/internal/zodb/zwrite"
)

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

// perSecond calls f n times, some at a time, and returns how many calls there are in a second.
func perSecond(n, together int, f func(k int)) float64 {
	var group sync.WaitGroup
	began := time.Now()
	for i := range together {
		group.Go(func() {
			for k := i; k < n; k += together {
				f(k)
			}
		})
	}
	group.Wait()
	return float64(n) / time.Since(began).Seconds()
}

// BenchmarkLoad compares loads with what package pgconn alone needs to have the same rows in
// memory, one at a time, over a prepared statement: of-pgx is how much of its rate they reach.
func BenchmarkLoad(b *testing.B) {
	const objects = 16
	for name, size := range map[string]int{"2M": 2 << 20, "4K": 4 << 10} {
		b.Run(name, func(b *testing.B) {
			d := ground.Shared(b).CreateDatabase(b, true)
			w := d.Writer(b)
			for oid := range zodb.Oid(objects) {
				w.Commit(put(oid, string(noise(size))))
			}
			s, at, err := Open(b.Context(), urlOf(b, d.URL()), storage.Options{})
			require.NoError(b, err)
			defer s.Close()
			load := func(k int) {
				buf, _, err := s.Load(context.Background(), zodb.Xid{At: at, Oid: zodb.Oid(k % objects)})
				require.NoError(b, err)
				buf.Release()
			}
			conn, err := pgconn.Connect(b.Context(), d.URL())
			require.NoError(b, err)
			defer discard(conn)
			require.NoError(b, prepare(b.Context(), conn))
			alone := func(k int) {
				r := conn.ExecPrepared(context.Background(), stmtLoad, [][]byte{bigint(uint64(k % objects)), bigint(uint64(at))}, binaryFormat, binaryFormat)
				require.NoError(b, rows(r, func([][]byte) error { return nil }))
			}
			b.SetBytes(int64(size))
			perSecond(objects, 1, load)
			perSecond(objects, 1, alone)
			b.ResetTimer()
			var rate, yardstick float64
			for n := b.N; n > 0; n -= 100 { // by turns: the host is not always the same
				rate += perSecond(min(n, 100), 1, load)
				b.StopTimer()
				yardstick += perSecond(min(n, 100), 1, alone)
				b.StartTimer()
			}
			b.StopTimer()
			b.ReportMetric(rate/yardstick, "of-pgx")
			b.ReportMetric(perSecond(max(b.N, 100), 4, load)*float64(size)/1e6, "MB/s-by-4")
		})
	}
}

// BenchmarkBlock loads blocks of 2 MiB over a server that is some time away: a ZBlk0, and a
// ZBlk1 of 512 chunks. trips is how many round trips one takes.
func BenchmarkBlock(b *testing.B) {
	const blksize = 2 << 20
	d := ground.Shared(b).CreateDatabase(b, true)
	zblk0, zblk1 := writeBlocks(b, d, blksize)
	for _, away := range []time.Duration{0, time.Millisecond} {
		for name, zblk := range map[string]zodb.Oid{"ZBlk0": zblk0, "ZBlk1": zblk1} {
			b.Run(fmt.Sprintf("%s/%s", name, away), func(b *testing.B) {
				r := newRelay(b, d.URL(), away)
				s, at, err := Open(b.Context(), urlOf(b, r.url), storage.Options{Poll: MaxPoll})
				require.NoError(b, err)
				defer s.Close()
				load := func(int) {
					block, err := bigfile.LoadBlock(context.Background(), s, zblk, at, blksize)
					require.NoError(b, err)
					require.Len(b, block.Data, blksize)
					block.Release()
				}
				load(0)
				b.SetBytes(blksize)
				b.ResetTimer()
				trips := r.trips.Load()
				perSecond(b.N, 1, load)
				b.StopTimer()
				b.ReportMetric(float64(r.trips.Load()-trips)/float64(b.N), "trips")
				b.ReportMetric(b.Elapsed().Seconds()*1e3/float64(b.N), "ms/block")
			})
		}
	}
}

// writeBlocks commits a ZBlk0 and a ZBlk1 of one size to a database.
func writeBlocks(t testing.TB, d *pgtest.Database, blksize int64) (zblk0, zblk1 zodb.Oid) {
	t.Helper()
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "data.fs")
	db, err := zwrite.Create(ctx, path, zwrite.Options{NoSync: true})
	require.NoError(t, err)
	defer db.Close()
	txn, err := db.Begin(ctx, zwrite.Meta{})
	require.NoError(t, err)
	defer txn.Abort()
	var files []zodb.Oid
	for _, format := range []bigfile.Format{bigfile.FormatZBlk0, bigfile.FormatZBlk1} {
		file, err := bigfile.NewFile(txn, blksize)
		require.NoError(t, err)
		w, err := bigfile.NewWriter(txn, file, format)
		require.NoError(t, err)
		require.NoError(t, w.WriteBlock(ctx, 0, noise(int(blksize))))
		w.Flush()
		files = append(files, file)
	}
	_, err = txn.Commit()
	require.NoError(t, err)
	src, at, err := fs1.Open(ctx, urlOf(t, "file://"+path), storage.Options{})
	require.NoError(t, err)
	defer src.Close()
	copyTo(t, src, d.Writer(t))
	blocks := func(file zodb.Oid) zodb.Oid {
		direct := bigfile.Direct{Direct: btree.Direct{Loader: src}}
		f, _, err := direct.File(ctx, zodb.Xid{At: at, Oid: file})
		require.NoError(t, err)
		found, err := btree.Lookup(ctx, direct, f.Table, at, 0)
		require.NoError(t, err)
		return found.Value
	}
	return blocks(files[0]), blocks(files[1])
}

// copyTo commits the transactions of a database by a writer.
func copyTo(t testing.TB, src storage.Storage, w *pythontest.Writer) {
	t.Helper()
	err := src.(storage.Iterator).Iterate(t.Context(), 0, src.Head(), func(of *storage.Txn) error {
		txn := storagetest.Txn{Tid: of.Tid}
		for _, oid := range of.Oids {
			buf, _, err := src.Load(t.Context(), zodb.Xid{At: of.Tid, Oid: oid})
			if err != nil {
				return err
			}
			txn.Records = append(txn.Records, storagetest.Record{Oid: oid, Data: buf.Data})
		}
		require.Equal(t, of.Tid, w.Do(orderOf(txn)))
		return nil
	})
	require.NoError(t, err)
}
