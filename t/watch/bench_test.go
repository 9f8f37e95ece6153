package watch

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/t/harness"
	"golang.org/x/sys/unix"
	"lab.nexedi.com/kirr/neo/go/zodb"
)

// bareLink is a client that does as little as possible: it acknowledges pins
// while it waits for the reply to a request.
type bareLink struct {
	fd     int
	in     []byte // read, not looked at
	out    []byte // acknowledgements to be written
	stream int
	npins  int
	each   bool // acknowledge pins one by one
}

func openBareLink(s *harness.Server) *bareLink {
	s.T.Helper()
	fd, err := harness.OpenFile(s.Path("head/watch"), unix.O_RDWR)
	require.NoError(s.T, err)
	s.T.Cleanup(func() { unix.Close(fd) })
	return &bareLink{fd: fd, in: make([]byte, 0, 1<<16), stream: -1}
}

// ask sends a request, handles pins, and returns the reply.
func (l *bareLink) ask(msg string) (string, error) {
	l.stream += 2
	if _, err := fmt.Fprintf(fdWriter(l.fd), "%d %s\n", l.stream, msg); err != nil {
		return "", err
	}
	for {
		for {
			line, rest, ok := bytes.Cut(l.in, []byte("\n"))
			if !ok {
				break
			}
			stream, msg, _ := bytes.Cut(line, []byte(" "))
			if !bytes.HasPrefix(msg, []byte("pin ")) {
				reply := string(msg)
				l.in = append(l.in[:0], rest...)
				return reply, l.flush()
			}
			l.npins++
			l.out = append(append(l.out, stream...), " ack\n"...)
			l.in = rest
			if l.each {
				if err := l.flush(); err != nil {
					return "", err
				}
			}
		}
		if err := l.flush(); err != nil {
			return "", err
		}
		buf := make([]byte, 1<<16)
		n := 0
		if err := harness.Uninterrupted(func() (err error) { n, err = unix.Read(l.fd, buf); return err }); err != nil {
			return "", err
		}
		if n == 0 {
			return "", fmt.Errorf("link is down")
		}
		l.in = append(l.in, buf[:n]...)
	}
}

func (l *bareLink) flush() (err error) {
	if len(l.out) > 0 {
		_, err = unix.Write(l.fd, l.out)
		l.out = l.out[:0]
	}
	return err
}

// must is ask for what must succeed.
func (l *bareLink) must(t testing.TB, msg string) {
	reply, err := l.ask(msg)
	if err != nil || reply != "ok" {
		t.Fatalf("%s: %q, %v", msg, reply, err)
	}
}

// bye ends the link.
func (l *bareLink) bye() {
	_, _ = fdWriter(l.fd).Write([]byte("1 bye\n"))
	unix.Close(l.fd)
}

type fdWriter int

func (fd fdWriter) Write(p []byte) (int, error) { return unix.Write(int(fd), p) }

// changedScene has n blocks that were read and all changed in the last commit.
func changedScene(b *testing.B, n int64) (sc *harness.Scene, before zodb.Tid) {
	sc = harness.NewSceneOf(b, 0, 4096)
	write := func(text string) zodb.Tid {
		at := sc.Live.Commit(func(tx *harness.LiveTx) {
			for blk := range n {
				tx.Write(sc.File, blk, fmt.Sprint(text, blk))
			}
		})
		sc.Server.WaitAt(at)
		return at
	}
	before = write("a")
	write("b")
	require.Len(b, harness.Content(b, sc.File.Path(sc.Server, "head")), int(n)*4096)
	return sc, before
}

// BenchmarkPinRoundTrip sends pins for 1000 blocks and takes the
// acknowledgements, written together or one by one.
func BenchmarkPinRoundTrip(b *testing.B) {
	for _, each := range []bool{false, true} {
		b.Run(fmt.Sprintf("ack-each=%t", each), func(b *testing.B) {
			sc, before := changedScene(b, 1000)
			l := openBareLink(sc.Server)
			l.each = each
			start := time.Now()
			for b.Loop() {
				l.must(b, harness.WatchRequest(sc.File.Oid, before))
				l.must(b, "watch "+sc.File.Oid.String()+" -")
			}
			b.ReportMetric(float64(l.npins)/time.Since(start).Seconds(), "pins/s")
			l.bye()
		})
	}
}

// BenchmarkPinLatency has READs wait for one pin each.
func BenchmarkPinLatency(b *testing.B) {
	sc := harness.NewSceneOf(b, 0, 4096)
	sc.Commit(0)
	w := sc.Server.Watcher()
	fd, err := harness.OpenFile(sc.File.Path(sc.Server, "head"), unix.O_RDONLY)
	require.NoError(b, err)
	defer unix.Close(fd)
	buf := make([]byte, 4096)
	var times []time.Duration
	for b.Loop() {
		b.StopTimer()
		w.Watch(sc.File, sc.Live.Head())
		sc.Commit(0)
		b.StartTimer()
		start := time.Now()
		_, err := unix.Pread(fd, buf, 0)
		times = append(times, time.Since(start))
		require.NoError(b, err)
	}
	require.GreaterOrEqual(b, w.NPins, len(times))
	b.ReportMetric(float64(harness.Percentile(times, 0.5).Microseconds()), "p50-us")
	b.ReportMetric(float64(harness.Percentile(times, 0.99).Microseconds()), "p99-us")
}

// BenchmarkWatchSetup sets a watch up that takes so many pins.
func BenchmarkWatchSetup(b *testing.B) {
	for _, n := range []int64{0, 100, 1000, 10000} {
		b.Run(fmt.Sprintf("pins=%d", n), func(b *testing.B) {
			sc, before := changedScene(b, max(n, 1))
			if n == 0 {
				before = sc.Live.Head()
			}
			l := openBareLink(sc.Server)
			var times []time.Duration
			for b.Loop() {
				start := time.Now()
				l.must(b, harness.WatchRequest(sc.File.Oid, before))
				times = append(times, time.Since(start))
				b.StopTimer()
				l.must(b, "watch "+sc.File.Oid.String()+" -")
				b.StartTimer()
			}
			require.Equal(b, int(n)*len(times), l.npins)
			b.ReportMetric(float64(harness.Percentile(times, 0.5).Microseconds()), "p50-us")
			b.ReportMetric(float64(harness.Percentile(times, 0.5).Nanoseconds())/float64(max(n, 1)), "ns/pin")
			l.bye()
		})
	}
}

// BenchmarkReadWithWatches reads blocks of a file that so many clients watch,
// none of which needs a pin.
func BenchmarkReadWithWatches(b *testing.B) {
	const nblk = 512
	for _, n := range []int{0, 10, 100, 1000} {
		b.Run(fmt.Sprintf("watches=%d", n), func(b *testing.B) {
			sc, _ := changedScene(b, nblk)
			for range n {
				openBareLink(sc.Server).must(b, harness.WatchRequest(sc.File.Oid, sc.Live.Head()))
			}
			path := sc.File.Path(sc.Server, "head")
			f := harness.OpenRandom(b, path)
			defer f.Close()
			buf := make([]byte, 4096)
			var times []time.Duration
			for i := int64(0); b.Loop(); i++ {
				if i%nblk == 0 {
					b.StopTimer()
					harness.DropPages(b, path)
					b.StartTimer()
				}
				start := time.Now()
				if _, err := unix.Pread(int(f.Fd()), buf, i%nblk*4096); err != nil {
					b.Fatal(err)
				}
				times = append(times, time.Since(start))
			}
			b.ReportMetric(float64(harness.Percentile(times, 0.5).Nanoseconds())/1000, "p50-us")
			b.ReportMetric(float64(harness.Percentile(times, 0.99).Nanoseconds())/1000, "p99-us")
			require.Zero(b, sc.Server.Stats()["pin"])
		})
	}
}

// BenchmarkHeadAt reads head/at, while nobody and while one client is stalled.
func BenchmarkHeadAt(b *testing.B) {
	for _, stalled := range []bool{false, true} {
		b.Run(fmt.Sprintf("stalled=%t", stalled), func(b *testing.B) {
			sc := newStallScene(b)
			if stalled {
				sc.stall()
			}
			fd, err := harness.OpenFile(sc.Server.Path("head/at"), unix.O_RDONLY)
			require.NoError(b, err)
			buf := make([]byte, 16)
			var times []time.Duration
			for b.Loop() {
				start := time.Now()
				if _, err := unix.Pread(fd, buf, 0); err != nil {
					b.Fatal(err)
				}
				times = append(times, time.Since(start))
			}
			unix.Close(fd)
			if stalled {
				sc.recover()
			}
			b.ReportMetric(float64(harness.Percentile(times, 0.5).Nanoseconds())/1000, "p50-us")
			b.ReportMetric(float64(harness.Percentile(times, 0.99).Nanoseconds())/1000, "p99-us")
		})
	}
}

// BenchmarkManyLinks commits, with and without 1000 links that watch 10 files
// each: how long until head/at shows it, and what memory the links take.
func BenchmarkManyLinks(b *testing.B) {
	for _, links := range []int{0, 1000} {
		b.Run(fmt.Sprintf("links=%d", links), func(b *testing.B) {
			sc := harness.NewSceneOf(b, 0, 4096)
			var files []*harness.LiveFile
			at := sc.Live.Commit(func(tx *harness.LiveTx) {
				for range 10 {
					f := tx.NewFile(4096)
					for blk := range int64(10) {
						tx.Write(f, blk, "text")
					}
					files = append(files, f)
				}
			})
			sc.Server.WaitAt(at)
			for _, f := range files {
				harness.Content(b, f.Path(sc.Server, "head"))
			}
			before := sc.Server.RSS()
			start := time.Now()
			for range links {
				l := openBareLink(sc.Server)
				for _, f := range files {
					l.must(b, harness.WatchRequest(f.Oid, at))
				}
			}
			grown, setup := sc.Server.RSS()-before, time.Since(start)
			var times []time.Duration
			n := 0
			for b.Loop() {
				n++
				at := sc.Live.Commit(func(tx *harness.LiveTx) {
					for _, f := range files {
						tx.Write(f, int64(n%10), strings.Repeat("x", n%100))
					}
				})
				start := time.Now()
				for harness.Content(b, sc.Server.Path("head/at")) != at.String() {
				}
				times = append(times, time.Since(start))
			}
			b.ReportMetric(float64(harness.Percentile(times, 0.5).Microseconds()), "p50-us")
			b.ReportMetric(float64(harness.Percentile(times, 0.99).Microseconds()), "p99-us")
			b.ReportMetric(float64(grown)/1024, "rss-KiB")
			b.ReportMetric(setup.Seconds(), "setup-s")
			require.Equal(b, 10*links, sc.Server.Stats()["Watch"])
		})
	}
}
