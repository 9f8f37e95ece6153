package harness

import (
	"bufio"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Mapped is a file that a helper process has open and mapped.
type Mapped struct {
	t      testing.TB
	Helper *Helper
}

// Map maps n blocks of a file, of which some may be behind its end. Pages that
// are read stay resident until the server drops them, and the kernel reads
// ahead nothing.
func Map(t testing.TB, path string, blksize, n int64) *Mapped {
	t.Helper()
	h := StartHelper(t, "map", path, fmt.Sprint(blksize), fmt.Sprint(n))
	require.Equal(t, "ready", h.Line())
	return &Mapped{t, h}
}

// Cache tells for every block of the file whether all of it is in the page
// cache.
func (m *Mapped) Cache() string {
	m.t.Helper()
	return strings.TrimPrefix(m.Helper.Ask("cache"), "cache ")
}

// Block reads a block through the mapping and returns it without the zeros at
// its end, or "SIGBUS". Afterwards all of it is cached: what the server stores
// of it may come a moment later than what was asked for.
func (m *Mapped) Block(blk int64) string {
	m.t.Helper()
	text, err := strconv.Unquote(m.Helper.Ask(fmt.Sprintf("get %d", blk)))
	require.NoError(m.t, err)
	return text
}

// Blocks reads the first n blocks.
func (m *Mapped) Blocks(n int64) (texts []string) {
	m.t.Helper()
	for blk := range n {
		texts = append(texts, m.Block(blk))
	}
	return texts
}

// Touch reads one byte of each page of the first n blocks.
func (m *Mapped) Touch(n int64) {
	m.t.Helper()
	require.Equal(m.t, "ok", m.Helper.Ask(fmt.Sprintf("touch %d", n)))
}

// Close ends the helper, and with it open and mapping.
func (m *Mapped) Close() {
	m.t.Helper()
	require.Zero(m.t, m.Helper.Wait())
}

// helperMap maps a file and does what Mapped asks for. Arguments: file, block
// size, number of blocks.
func helperMap(args []string) error {
	debug.SetPanicOnFault(true)
	blksize, _ := strconv.ParseInt(args[1], 10, 64)
	n, _ := strconv.ParseInt(args[2], 10, 64)
	fd, err := OpenFile(args[0], unix.O_RDONLY)
	if err != nil {
		return fmt.Errorf("open %s: %w", args[0], err)
	}
	mem, err := unix.Mmap(fd, 0, int(n*blksize), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("mmap %s: %w", args[0], err)
	}
	if err := unix.Madvise(mem, unix.MADV_RANDOM); err != nil {
		return err
	}
	// Without the permission the kernel could drop pages, which it does only
	// when memory is short.
	_, _, _ = unix.Syscall(unix.SYS_MLOCK2, uintptr(unsafe.Pointer(&mem[0])), uintptr(len(mem)), unix.MLOCK_ONFAULT)
	fmt.Println("ready")
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		command, arg, _ := strings.Cut(in.Text(), " ")
		i, _ := strconv.ParseInt(arg, 10, 64)
		switch command {
		case "cache":
			vector, err := residency(fd, mem, blksize)
			if err != nil {
				return err
			}
			fmt.Println("cache", vector)
		case "get":
			fmt.Printf("%q\n", CopyOut(mem[i*blksize:][:blksize]))
		case "touch":
			for at := int64(0); at < i*blksize; at += 4096 {
				if Touch(mem, at) != "ok" {
					return fmt.Errorf("SIGBUS at %d", at)
				}
			}
			fmt.Println("ok")
		}
	}
	return nil
}

// CopyOut returns what is mapped, without the zeros at its end.
func CopyOut(mem []byte) (text string) {
	defer func() {
		if recover() != nil {
			text = "SIGBUS"
		}
	}()
	return strings.TrimRight(string(mem), "\x00")
}

// residency tells for every block of a mapped file whether it is cached.
func residency(fd int, mem []byte, blksize int64) (string, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Size == 0 {
		return "", err
	}
	size := min(st.Size, int64(len(mem)))
	page := int64(os.Getpagesize())
	vec := make([]byte, (size+page-1)/page)
	_, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&mem[0])), uintptr(size), uintptr(unsafe.Pointer(&vec[0])))
	if errno != 0 {
		return "", fmt.Errorf("mincore: %w", errno)
	}
	var vector strings.Builder
	for at := int64(0); at < size; at += blksize {
		whole := byte(1)
		for _, v := range vec[at/page : (at+blksize+page-1)/page] {
			whole &= v
		}
		vector.WriteByte('0' + whole&1)
	}
	return vector.String(), nil
}

// helperFault maps a file, prints the id of the thread that will touch it, and
// touches the bytes whose offsets it is told. Signals do not end it. Arguments:
// file, size.
func helperFault(args []string) error {
	debug.SetPanicOnFault(true)
	runtime.LockOSThread()
	signal.Notify(make(chan os.Signal, 1), unix.SIGUSR1)
	size, _ := strconv.Atoi(args[1])
	fd, err := OpenFile(args[0], unix.O_RDONLY)
	if err != nil {
		return err
	}
	mem, err := unix.Mmap(fd, 0, size, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	if err := unix.Madvise(mem, unix.MADV_RANDOM); err != nil {
		return err
	}
	fmt.Println(unix.Gettid())
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		off, _ := strconv.ParseInt(in.Text(), 10, 64)
		fmt.Println(Touch(mem, off))
	}
	return nil
}
