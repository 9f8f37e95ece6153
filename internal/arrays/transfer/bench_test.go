package transfer

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/zwrite"
)

const benchBytes = 256 << 20

// benchFile writes a file of noise, and returns its path.
func benchFile(b *testing.B) string {
	path := filepath.Join(b.TempDir(), "noise")
	f, err := os.Create(path)
	require.NoError(b, err)
	rnd := newRand(b, 1)
	piece := randomBytes(rnd, 1<<20)
	for range benchBytes >> 20 {
		piece[0]++
		_, err = f.Write(piece)
		require.NoError(b, err)
	}
	require.NoError(b, f.Sync())
	require.NoError(b, f.Close())
	return path
}

// BenchmarkImport imports into a new database, synced, and copies the same file
// with fsync in turn: "x-cp" is how much faster than that it is.
func BenchmarkImport(b *testing.B) {
	for _, format := range []bigfile.Format{bigfile.FormatAuto, bigfile.FormatZBlk0, bigfile.FormatZBlk1} {
		b.Run(format.String(), func(b *testing.B) {
			from := benchFile(b)
			dir := b.TempDir()
			var copying, importing time.Duration
			b.SetBytes(benchBytes)
			for i := 0; b.Loop(); i++ {
				b.StopTimer()
				copying += copySynced(b, from, filepath.Join(dir, "copy"))
				b.StartTimer()
				start := time.Now()
				importFile(b, from, filepath.Join(dir, fmt.Sprint(i, ".fs")), Options{Format: format})
				importing += time.Since(start)
			}
			b.ReportMetric(copying.Seconds()/importing.Seconds(), "x-cp")
		})
	}
}

func importFile(b *testing.B, from, path string, opt Options) {
	src, err := OpenSource(ctx, from, Layout{})
	require.NoError(b, err)
	defer src.Close()
	db, err := zwrite.Create(ctx, path, zwrite.Options{})
	require.NoError(b, err)
	_, err = Import(ctx, db, src, "a", opt)
	require.NoError(b, err)
	require.NoError(b, db.Close())
	require.NoError(b, os.Remove(path))
}

// copySynced copies a file as cp and fsync do, and returns how long it takes.
func copySynced(b *testing.B, from, to string) time.Duration {
	start := time.Now()
	in, err := os.Open(from)
	require.NoError(b, err)
	defer in.Close()
	out, err := os.Create(to)
	require.NoError(b, err)
	_, err = io.Copy(out, in)
	require.NoError(b, err)
	require.NoError(b, out.Sync())
	require.NoError(b, out.Close())
	took := time.Since(start)
	require.NoError(b, os.Remove(to))
	return took
}

// BenchmarkExport exports to a file that is not synced.
func BenchmarkExport(b *testing.B) {
	for _, format := range []bigfile.Format{bigfile.FormatZBlk0, bigfile.FormatZBlk1} {
		b.Run(format.String(), func(b *testing.B) {
			src, err := OpenSource(ctx, benchFile(b), Layout{})
			require.NoError(b, err)
			defer src.Close()
			db, err := zwrite.Create(ctx, filepath.Join(b.TempDir(), "Data.fs"), zwrite.Options{NoSync: true})
			require.NoError(b, err)
			defer db.Close()
			res, err := Import(ctx, db, src, "a", Options{Format: format})
			require.NoError(b, err)
			store := openReader(b, db.Path())
			out, err := os.Create(filepath.Join(b.TempDir(), "out"))
			require.NoError(b, err)
			defer out.Close()
			b.SetBytes(benchBytes)
			for b.Loop() {
				_, err = out.Seek(0, io.SeekStart)
				require.NoError(b, err)
				require.NoError(b, Export(ctx, store, res.Tid, &res.Array, out, true, nil))
			}
		})
	}
}

// BenchmarkAppend appends 800 bytes to an array of 64 MiB, not synced.
func BenchmarkAppend(b *testing.B) {
	db, err := zwrite.Create(ctx, filepath.Join(b.TempDir(), "Data.fs"), zwrite.Options{NoSync: true})
	require.NoError(b, err)
	defer db.Close()
	_, err = Import(ctx, db, source(b, make([]byte, 64<<20), false, Layout{}), "a", Options{})
	require.NoError(b, err)
	piece := randomBytes(newRand(b, 1), 800)
	for b.Loop() {
		_, err := Append(ctx, db, source(b, piece, false, Layout{}), "a", Options{Format: bigfile.FormatAuto})
		require.NoError(b, err)
	}
}
