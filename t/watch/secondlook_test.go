package watch

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/t/harness"
	"golang.org/x/sys/unix"
)

// chaser follows the newest state of an array of pages as fast as it can, by the protocol
// and nothing else.
type chaser struct {
	mnt, oid string
	link     *os.File
	head     int // descriptor of the array
	mem      []byte
	replies  chan string
}

// helperChase moves to the newest state and touches all blocks of an array, again and
// again. It prints how often. Arguments: mount point, oid, number of blocks, seconds.
func helperChase(args []string) (err error) {
	harness.NoGC() // it would wait for the thread that is in a page fault
	blks, _ := strconv.Atoi(args[2])
	seconds, _ := strconv.Atoi(args[3])
	c := &chaser{mnt: args[0], oid: args[1], replies: make(chan string, 1)}
	if c.link, err = os.OpenFile(c.mnt+"/head/watch", os.O_RDWR, 0); err != nil {
		return err
	}
	if c.head, err = harness.OpenFile(c.mnt+"/head/bigfile/"+c.oid, unix.O_RDONLY); err != nil {
		return err
	}
	if c.mem, err = unix.Mmap(c.head, 0, blks*4096, unix.PROT_READ, unix.MAP_SHARED); err != nil {
		return err
	}
	failed := make(chan error, 1)
	go func() { failed <- c.answer() }()
	rounds := 0
	for end := time.Now().Add(time.Duration(seconds) * time.Second); time.Now().Before(end); rounds++ {
		at, err := os.ReadFile(c.mnt + "/head/at")
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(c.link, "%d watch %s @%s\n", 2*rounds+1, c.oid, at); err != nil {
			return err
		}
		select {
		case reply := <-c.replies:
			if reply != "ok" {
				return fmt.Errorf("watch: %s", reply)
			}
		case err := <-failed:
			return err
		}
		for off := 0; off < len(c.mem); off += 4096 {
			if c.mem[off] == 0 {
				return fmt.Errorf("zero at %d", off)
			}
		}
	}
	fmt.Println(rounds)
	return nil
}

// answer acknowledges pins and hands on replies, on a thread of its own.
func (c *chaser) answer() error {
	runtime.LockOSThread()
	for in := bufio.NewScanner(c.link); in.Scan(); {
		stream, text, _ := strings.Cut(in.Text(), " ")
		n, _ := strconv.ParseUint(stream, 10, 64)
		switch {
		case n == 0:
			return fmt.Errorf("last words: %s", text)
		case n%2 == 1:
			c.replies <- text
		default:
			if err := c.pin(text); err != nil {
				return err
			}
			if _, err := fmt.Fprintf(c.link, "%d ack\n", n); err != nil {
				return err
			}
		}
	}
	return fmt.Errorf("the link ended")
}

func (c *chaser) pin(text string) error {
	words := strings.Fields(text) // pin <oid> #<blk> @<tid>
	blk, _ := strconv.Atoi(words[2][1:])
	fd := c.head
	if words[3] != "@head" {
		var err error
		if fd, err = harness.OpenFile(c.mnt+"/"+words[3]+"/bigfile/"+c.oid, unix.O_RDONLY); err != nil {
			return err
		}
		defer unix.Close(fd)
	}
	_, _, errno := unix.Syscall6(unix.SYS_MMAP, uintptr(unsafe.Pointer(&c.mem[blk*4096])), 4096,
		unix.PROT_READ, unix.MAP_SHARED|unix.MAP_FIXED, uintptr(fd), uintptr(blk*4096))
	if errno != 0 {
		return fmt.Errorf("map block %d: %w", blk, errno)
	}
	return nil
}

// TestClientThatIsInAPageFaultDuringACommitIsNotEnded: the kernel keeps the memory map
// locked when a fault has to read a second time.
func TestClientThatIsInAPageFaultDuringACommitIsNotEnded(t *testing.T) {
	l := harness.NewLive(t)
	f := l.NewFile(4096)
	all := func(text string) harness.Blocks {
		blocks := harness.Blocks{}
		for blk := range int64(8) {
			blocks[blk] = text
		}
		return blocks
	}
	f.Commit(all("first"))
	s := l.Start("-pintimeout", "4s")
	seconds := 10 // without early pins it is ended within 20 in two of three runs
	if testing.Short() {
		seconds = 1
	}
	h := harness.StartHelper(t, "chase", s.Dir, f.Oid.String(), "8", fmt.Sprint(seconds))
	for i, end := 0, time.Now().Add(time.Duration(seconds)*time.Second); time.Now().Before(end); i++ {
		f.Commit(all(fmt.Sprint(i)))
		time.Sleep(300 * time.Microsecond) // lets others run: it is no wait for anything
	}
	rounds, err := strconv.Atoi(h.Line())
	require.NoError(t, err)
	require.Zero(t, h.Wait())
	t.Logf("%d rounds", rounds)
	require.Positive(t, rounds)
	s.Stop()
}
