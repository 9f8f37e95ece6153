package watch

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"unsafe"

	"github.com/wcfs/wcfs/t/harness"
	"golang.org/x/sys/unix"
	"lab.nexedi.com/kirr/neo/go/zodb"
)

// helperIsolated is a whole client in another process: it maps a file twice and
// sees it at its view. Arguments: the mount, file, block size, number of blocks.
// Commands, with what they print:
//
//	watch TID   the reply, when it comes
//	get BLK     the block as the client sees it, quoted
//	get2 BLK    the same through the other mapping, which pins do not change
//	pins        the pins received since it was asked last
//	fstat       from now on un-pins do fstat: "ok"
//	hold        from now on pins wait for "go": "ok"
//	go          lets one pin go on: "ok", when one waits
func helperIsolated(args []string) error {
	harness.NoGC()
	c := &isolatedClient{dir: args[0], file: args[1], goOn: make(chan struct{})}
	c.blksize, _ = strconv.ParseInt(args[2], 10, 64)
	n, _ := strconv.ParseInt(args[3], 10, 64)
	var err error
	if c.fd, err = harness.OpenFile(c.path("head"), unix.O_RDONLY); err != nil {
		return err
	}
	for i := range c.mem {
		if c.mem[i], err = unix.Mmap(c.fd, 0, int(n*c.blksize), unix.PROT_READ, unix.MAP_SHARED); err != nil {
			return err
		}
		if err := unix.Madvise(c.mem[i], unix.MADV_RANDOM); err != nil {
			return err
		}
	}
	if c.link, err = harness.OpenWatchLink(filepath.Join(c.dir, "head/watch"), true); err != nil {
		return err
	}
	c.link.OnPin = c.remap
	oid, _ := strconv.ParseUint(c.file, 16, 64)
	fmt.Println("ready")
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		command, arg, _ := strings.Cut(in.Text(), " ")
		c.do(zodb.Oid(oid), command, arg)
	}
	return c.link.Bye()
}

type isolatedClient struct {
	dir, file string
	blksize   int64
	fd        int
	mem       [2][]byte
	link      *harness.WatchLink

	mu          sync.Mutex
	fstat, hold bool
	goOn        chan struct{}
}

func (c *isolatedClient) path(view string) string {
	return filepath.Join(c.dir, view, "bigfile", c.file)
}

func (c *isolatedClient) do(oid zodb.Oid, command, arg string) {
	switch command {
	case "watch":
		at, _ := strconv.ParseUint(arg, 16, 64)
		go func() {
			reply, err := c.link.TryAsk(harness.WatchRequest(oid, zodb.Tid(at)))
			if err != nil {
				reply = err.Error()
			}
			// The kernel learns that the file has grown when somebody asks.
			_ = unix.Fstat(c.fd, new(unix.Stat_t))
			fmt.Println(reply)
		}()
	case "get", "get2":
		blk, _ := strconv.ParseInt(arg, 10, 64)
		mem := c.mem[len(command)-len("get")]
		fmt.Printf("%q\n", harness.CopyOut(mem[blk*c.blksize:][:c.blksize]))
	case "pins":
		seen := harness.Pins{}
		c.link.Change(func() {
			for _, p := range c.link.Seen {
				seen[p.Blk] = p.Rev
			}
			c.link.Seen = nil
		})
		fmt.Println(seen)
	case "fstat", "hold":
		c.mu.Lock()
		c.fstat = c.fstat || command == "fstat"
		c.hold = c.hold || command == "hold"
		c.mu.Unlock()
		fmt.Println("ok")
	case "go":
		c.goOn <- struct{}{}
		fmt.Println("ok")
	}
}

// remap maps a block of the first mapping as a pin says. Blocks beyond the end
// of the file there are zeros.
func (c *isolatedClient) remap(p harness.WatchPin) error {
	c.mu.Lock()
	fstat, hold := c.fstat, c.hold
	c.mu.Unlock()
	if hold {
		<-c.goOn
	}
	fd := c.fd
	if p.Rev == harness.ToHead {
		if fstat {
			var st unix.Stat_t
			if err := unix.Fstat(fd, &st); err != nil {
				return err
			}
		}
	} else {
		var err error
		if fd, err = harness.OpenFile(c.path("@"+p.Rev.String()), unix.O_RDONLY); err != nil {
			return err
		}
		defer unix.Close(fd)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	off, flags := p.Blk*c.blksize, unix.MAP_SHARED|unix.MAP_FIXED
	if off >= st.Size && p.Rev != harness.ToHead {
		fd, flags = -1, unix.MAP_PRIVATE|unix.MAP_FIXED|unix.MAP_ANONYMOUS
	}
	if off >= int64(len(c.mem[0])) {
		return nil
	}
	addr := unsafe.Pointer(&c.mem[0][off])
	at, err := unix.MmapPtr(fd, off, addr, uintptr(c.blksize), unix.PROT_READ, flags)
	if err == nil && at != addr {
		err = fmt.Errorf("mapped elsewhere")
	}
	if err == nil {
		err = unix.Madvise(c.mem[0][off:][:c.blksize], unix.MADV_RANDOM)
	}
	return err
}
