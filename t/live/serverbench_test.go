package live

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/t/harness"
	"golang.org/x/sys/unix"
)

// serverBlocks is how many blocks of 2 MiB are read from databases behind a server: less
// than of files, which are faster.
const serverBlocks = 24

// benched is a served file whose blocks have content.
type benched struct {
	l     *harness.Live
	f     *harness.LiveFile
	path  string
	zhead *harness.ZHead

	cold, touch, commit []time.Duration
}

func newBenched(b *testing.B, l *harness.Live, format string) *benched {
	b.Helper()
	w := &benched{l: l, f: l.NewFile(benchBlkSize)}
	text := make([]byte, benchBlkSize)
	for blk := range int64(serverBlocks) {
		for i := range text {
			text[i] = byte(1 + rand.IntN(255))
		}
		if format == "ZBlk1" {
			w.f.CommitChunks(blk, string(text))
		} else {
			w.f.Commit(harness.Blocks{blk: string(text)})
		}
	}
	s := l.Start()
	w.path, w.zhead = w.f.Path(s, "head"), harness.OpenZHead(s)
	b.Cleanup(w.zhead.Close)
	return w
}

// run reads everything, and one page of a block, none of which is cached, and commits a
// block.
func (w *benched) run(b *testing.B, buf []byte) {
	b.Helper()
	harness.DropPages(b, w.path)
	w.cold = append(w.cold, readAll(b, w.path, buf))
	harness.DropPages(b, w.path)
	fd, err := harness.OpenFile(w.path, unix.O_RDONLY)
	require.NoError(b, err)
	start := time.Now()
	_, err = unix.Pread(fd, buf[:4096], benchBlkSize*serverBlocks/2)
	w.touch = append(w.touch, time.Since(start))
	require.NoError(b, err)
	unix.Close(fd)
	w.commit = append(w.commit, w.zhead.Published(w.l, func(tx *harness.LiveTx) { tx.Write(w.f, serverBlocks, fmt.Sprint(b.N, len(w.cold))) }))
}

// processTime returns how long a process has run on a processor.
func processTime(b *testing.B, pid int) time.Duration {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/schedstat", pid))
	require.NoError(b, err)
	var ns int64
	_, err = fmt.Fscan(strings.NewReader(string(text)), &ns)
	require.NoError(b, err)
	return time.Duration(ns)
}

// BenchmarkBehindAServer compares a database behind a ZEO server with one in a file, in one
// run: sequential reading and a first touch of what is not cached, and how long it takes
// from the end of a commit until head/at shows it. Of the reading it tells how much of the
// time the server itself, which is Python, was running.
func BenchmarkBehindAServer(b *testing.B) {
	for _, format := range []string{"ZBlk0", "ZBlk1"} {
		b.Run(format, func(b *testing.B) {
			z := harness.StartZEO(b, "6", "msgpack true", "")
			file := newBenched(b, harness.NewLive(b), format)
			zeo := newBenched(b, harness.NewLiveOn(z), format)
			buf := make([]byte, benchBlkSize)
			var server, reading time.Duration
			for b.Loop() { // interleaved, so that a busy machine slows both
				file.run(b, buf)
				before := processTime(b, z.Cmd.Process.Pid)
				zeo.run(b, buf)
				server += processTime(b, z.Cmd.Process.Pid) - before
				reading += zeo.cold[len(zeo.cold)-1]
			}
			size := float64(serverBlocks * benchBlkSize)
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(size/median(zeo.cold).Seconds()/1e9, "GB/s")
			b.ReportMetric(median(file.cold).Seconds()/median(zeo.cold).Seconds(), "x-file")
			b.ReportMetric(server.Seconds()/reading.Seconds(), "server-share")
			b.ReportMetric(float64(median(zeo.touch).Microseconds()), "touch-us")
			b.ReportMetric(float64(median(file.touch).Microseconds()), "file-touch-us")
			b.ReportMetric(float64(median(zeo.commit).Microseconds()), "commit-us")
			b.ReportMetric(float64(median(file.commit).Microseconds()), "file-commit-us")
		})
	}
}
