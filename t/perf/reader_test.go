package perf

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/t/harness"
	"golang.org/x/sys/unix"
)

const (
	blkSize  = 2 << 20
	pageSize = 4096
)

// Ways to read a file.
const (
	byRead  = "read"  // read(2), or pread(2), into a buffer of a block
	byMmap  = "mmap"  // a mapping without advice
	byHuge  = "huge"  // a mapping with MADV_HUGEPAGE and MADV_RANDOM
	bySum   = "sum"   // a mapping without advice, of which every word is added up
	byPread = "pread" // pread(2) of a page
)

// Reader is a helper process that reads and maps files, and takes the time of it.
type Reader struct{ *harness.Helper }

func startReader(t testing.TB) Reader {
	t.Helper()
	return Reader{harness.StartHelper(t, "reader")}
}

// drop drops what the page cache has of a file.
func (r Reader) drop(path string) {
	r.T.Helper()
	require.Equal(r.T, "ok", r.Ask("drop "+path))
}

// read reads the first n blocks once, by so many threads, each of which has a part.
func (r Reader) read(how string, threads int, n int64, path string) time.Duration {
	r.T.Helper()
	return duration(r.T, r.Ask(fmt.Sprintf("all %s %d %d %s", how, threads, n, path)))
}

// touch reads one page of each of the first n blocks, in the order of a seed.
func (r Reader) touch(how string, seed int, n int64, path string) (times []time.Duration) {
	r.T.Helper()
	for ns := range strings.FieldsSeq(r.Ask(fmt.Sprintf("touch %s %d %d %s", how, seed, n, path))) {
		times = append(times, duration(r.T, ns))
	}
	require.Len(r.T, times, int(n))
	return times
}

// helperReader does what Reader asks for.
func helperReader([]string) error {
	harness.NoGC()
	runtime.GOMAXPROCS(8) // a thread in a page fault keeps its place
	buf := make([]byte, blkSize)
	clear(buf)
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		if err := obey(in.Text(), buf); err != nil {
			return fmt.Errorf("reader: %s: %w", in.Text(), err)
		}
	}
	return nil
}

func obey(line string, buf []byte) error {
	var what, how string
	var arg int
	var n int64
	path := line[strings.LastIndexByte(line, ' ')+1:]
	fd, err := harness.OpenFile(path, unix.O_RDONLY)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if strings.HasPrefix(line, "drop ") {
		if err := unix.Fadvise(fd, 0, 0, unix.FADV_DONTNEED); err != nil {
			return err
		}
		fmt.Println("ok")
		return nil
	}
	if _, err := fmt.Sscan(line, &what, &how, &arg, &n); err != nil {
		return err
	}
	if what == "all" {
		return readAll(fd, how, arg, n, buf)
	}
	return touchAll(fd, how, uint64(arg), n, buf)
}

// readAll reads n blocks, and prints how many nanoseconds it took.
func readAll(fd int, how string, threads int, n int64, buf []byte) error {
	if how == byRead {
		start := time.Now()
		for range n {
			if got, err := unix.Read(fd, buf); err != nil || got != blkSize {
				return fmt.Errorf("read %d bytes: %w", got, err)
			}
		}
		fmt.Println(time.Since(start).Nanoseconds())
		return nil
	}
	mem, err := mapped(fd, how, n)
	if err != nil {
		return err
	}
	begin := make(chan struct{})
	var wg, there sync.WaitGroup
	there.Add(threads)
	for i := range threads {
		part := mem[len(mem)/threads*i:][:len(mem)/threads]
		wg.Go(func() {
			runtime.LockOSThread()
			there.Done()
			<-begin
			look(how, part)
		})
	}
	there.Wait()
	start := time.Now()
	close(begin)
	wg.Wait()
	fmt.Println(time.Since(start).Nanoseconds())
	return unix.Munmap(mem)
}

func mapped(fd int, how string, n int64) ([]byte, error) {
	mem, err := unix.Mmap(fd, 0, int(n*blkSize), unix.PROT_READ, unix.MAP_SHARED)
	if err == nil && how == byHuge {
		if err = unix.Madvise(mem, unix.MADV_HUGEPAGE); err == nil {
			err = unix.Madvise(mem, unix.MADV_RANDOM)
		}
	}
	return mem, err
}

// look looks at one byte of each page, or adds up everything. The result is nobody's, but
// the compiler does not know.
func look(how string, mem []byte) {
	total := uint64(0)
	if how == bySum {
		for _, word := range unsafe.Slice((*uint64)(unsafe.Pointer(&mem[0])), len(mem)/8) {
			total += word
		}
	} else {
		for at := 0; at < len(mem); at += pageSize {
			total += uint64(mem[at])
		}
	}
	runtime.KeepAlive(&total)
}

// touchAll reads one page of each block, and prints how many nanoseconds each took. The
// page is not the first of its block, behind which the kernel could believe that somebody
// reads on.
func touchAll(fd int, how string, seed uint64, n int64, buf []byte) error {
	runtime.LockOSThread()
	mem, err := mapped(fd, how, n)
	if err != nil {
		return err
	}
	rnd := rand.New(rand.NewPCG(seed, 0))
	var out strings.Builder
	for _, blk := range rnd.Perm(int(n)) {
		off := blk*blkSize + pageSize*(64+rnd.IntN(blkSize/pageSize-128))
		start := time.Now()
		if how == byPread {
			_, err = unix.Pread(fd, buf[:pageSize], int64(off))
		} else {
			harness.Touched = mem[off]
		}
		fmt.Fprint(&out, time.Since(start).Nanoseconds(), " ")
		if err != nil {
			return fmt.Errorf("pread: %w", err)
		}
	}
	fmt.Println(out.String())
	return unix.Munmap(mem)
}
