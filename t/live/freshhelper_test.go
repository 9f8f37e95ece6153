package live

import (
	"bufio"
	encoding "encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"unsafe"

	"github.com/wcfs/wcfs/t/harness"
	"golang.org/x/sys/unix"
	"lab.nexedi.com/kirr/neo/go/zodb"
)

// versions is a history in which every word of a block says which commit wrote
// it, and everybody can compute which commits change which blocks. Block 0
// changes in every commit, any other in one of three.
type versions struct {
	base zodb.Tid // commit n is base + n<<8
	seed uint64
}

func (v versions) tid(n int) zodb.Tid { return v.base + zodb.Tid(n)<<8 }

// commit returns the number of the last commit up to tid.
func (v versions) commit(tid zodb.Tid) int { return int(tid-v.base) >> 8 }

// changes reports whether commit n, counted from 1, changes block blk.
func (v versions) changes(n, blk int) bool {
	return n == 1 || blk == 0 || rand.NewPCG(v.seed+uint64(n), uint64(blk)).Uint64()%3 == 0
}

// last returns the last commit up to n that changed block blk.
func (v versions) last(n, blk int) int {
	for !v.changes(n, blk) {
		n--
	}
	return n
}

// data returns block blk as commit n writes it.
func (v versions) data(n, blk int, blksize int64) string {
	word := encoding.NativeEndian.AppendUint64(nil, uint64(n)<<16|uint64(blk))
	data := make([]byte, 0, blksize)
	for int64(len(data)) < blksize {
		data = append(data, word...)
	}
	return string(data)
}

// readers are the ways to read that helperFresh knows.
var readers = []string{"pread", "direct", "plain", "random", "huge"}

// helperFresh reads an array of versions in random places until it is told to
// stop, and checks that nothing is older than what head/at showed before. It
// prints "ready", and in the end how often it has checked. Arguments: how to
// read, head/at, file, block size, number of blocks, base, seed.
func helperFresh(args []string) error {
	debug.SetPanicOnFault(true)
	r := &freshReader{how: args[0]}
	r.blksize, _ = strconv.ParseInt(args[3], 10, 64)
	r.nblk, _ = strconv.Atoi(args[4])
	base, _ := strconv.ParseUint(args[5], 16, 64)
	seed, _ := strconv.ParseUint(args[6], 10, 64)
	r.v = versions{zodb.Tid(base), seed}
	var err error
	if r.at, err = harness.OpenFile(args[1], unix.O_RDONLY); err != nil {
		return err
	}
	if err := r.open(args[2]); err != nil {
		return err
	}
	var stop atomic.Bool
	go func() {
		bufio.NewScanner(os.Stdin).Scan()
		stop.Store(true)
	}()
	rnd := rand.New(rand.NewPCG(rand.Uint64(), 0))
	checks := 0
	for ; !stop.Load() || checks == 0; checks++ {
		if err := r.check(rnd); err != nil {
			fmt.Println(r.how, err)
			return nil
		}
		if checks == 0 {
			fmt.Println("ready")
		}
	}
	fmt.Println(checks)
	return nil
}

type freshReader struct {
	v       versions
	how     string
	blksize int64
	nblk    int
	at, fd  int
	mem     []byte           // if mapped
	buf     []byte           // else
	seen    map[[2]int64]int // oldest version of what was seen last, by block and page
}

func (r *freshReader) open(path string) (err error) {
	flags := unix.O_RDONLY
	if r.how == "direct" {
		flags |= unix.O_DIRECT
	}
	r.seen = make(map[[2]int64]int)
	if r.fd, err = harness.OpenFile(path, flags); err != nil {
		return err
	}
	var advice []int
	switch r.how {
	case "pread", "direct":
		r.buf = aligned(int(r.blksize))
		return nil
	case "huge":
		advice = []int{unix.MADV_HUGEPAGE, unix.MADV_RANDOM}
	case "random":
		advice = []int{unix.MADV_RANDOM}
	}
	r.mem, err = unix.Mmap(r.fd, 0, r.nblk*int(r.blksize), unix.PROT_READ, unix.MAP_SHARED)
	for _, a := range advice {
		if err := unix.Madvise(r.mem, a); err != nil {
			return err
		}
	}
	return err
}

// check reads some pages and compares them with what head/at showed before.
func (r *freshReader) check(rnd *rand.Rand) error {
	text := make([]byte, 16)
	if n, err := unix.Pread(r.at, text, 0); err != nil || n != 16 {
		return fmt.Errorf("head/at: %d bytes, %w", n, err)
	}
	at, err := strconv.ParseUint(string(text), 16, 64)
	if err != nil {
		return err
	}
	blk := 0 // the one that always changes
	if rnd.IntN(3) > 0 {
		blk = rnd.IntN(r.nblk)
	}
	page, n := rnd.Int64N(r.blksize/4096), int64(1)
	if rnd.IntN(8) == 0 {
		page, n = 0, r.blksize/4096
	}
	oldest := r.v.last(r.v.commit(zodb.Tid(at)), blk)
	data, err := r.read(int64(blk)*r.blksize+page*4096, n*4096)
	if err != nil {
		return fmt.Errorf("#%d page %d+%d at %x: %w", blk, page, n, at, err)
	}
	for i := range n {
		if err := r.checkPage(data[i*4096:][:4096], blk, page+i, oldest); err != nil {
			return fmt.Errorf("#%d page %d while head/at showed %x: %w", blk, page+i, at, err)
		}
	}
	return nil
}

func (r *freshReader) read(off, n int64) (data []byte, err error) {
	if r.mem != nil {
		return r.mem[off:][:n], nil
	}
	got, err := unix.Pread(r.fd, r.buf[:n], off)
	if err == nil && int64(got) != n {
		err = fmt.Errorf("%d bytes", got)
	}
	return r.buf[:n], err
}

// checkPage checks that no word of a page is older than version oldest, or than
// the oldest of what was seen there before, and that all are words of that
// block. A page may be torn before head/at shows the commit: what the server
// stores around a READ replaces old content in place.
func (r *freshReader) checkPage(data []byte, blk int, page int64, oldest int) (err error) {
	defer func() {
		if recover() != nil {
			err = fmt.Errorf("SIGBUS")
		}
	}()
	key, least := [2]int64{int64(blk), page}, math.MaxInt
	for _, word := range unsafe.Slice((*uint64)(unsafe.Pointer(&data[0])), len(data)/8) {
		n := int(word >> 16)
		least = min(least, n)
		switch {
		case word&0xffff != uint64(blk) || n < 1 || !r.v.changes(n, blk):
			return fmt.Errorf("WRONG: word %x", word)
		case n < oldest:
			return fmt.Errorf("STALE: version %d, want at least %d", n, oldest)
		case n < r.seen[key]:
			return fmt.Errorf("BACK: version %d after %d", n, r.seen[key])
		}
	}
	r.seen[key] = least
	return nil
}
