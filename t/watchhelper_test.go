package t

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
	"lab.nexedi.com/kirr/neo/go/zodb"
)

func init() {
	helpers["rawlink"] = helperRawLink
	helpers["isolated"] = helperIsolated
	helpers["hold-stdin"] = helperHoldStdin
}

// noGC keeps the Go runtime from stopping the world, which would wait for a
// thread in a page fault and so keep pins from being handled.
func noGC() {
	debug.SetPanicOnFault(true)
	debug.SetGCPercent(-1)
	runtime.GOMAXPROCS(4)
}

// helperRawLink opens head/watch and does what it is told, however bad.
// Argument: the mount. Commands, with what they print:
//
//	write QUOTED   "ok" or the errno of writing that; after "N " that often
//	line           the next line of the server, quoted, or "EOF"
//	reading        starts to read for good, ignoring it all: "ok"
//	close          "ok"; closes the link
//	fd             the number of its descriptor
//	thread         opens the link anew in a thread that ends: "ok"
//	fork           lets a process that does nothing inherit the link: its pid
//	map PATH       maps a file
//	touch OFF      touches a byte, in another thread: "ok"
//	exit           ends at once
//	stop           stops by SIGSTOP: "ok", before
func helperRawLink(args []string) error {
	noGC()
	// Most clients are not Go programs: SIGBUS ends them at once.
	var byDefault [4]uint64 // struct sigaction of the kernel
	if _, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(unix.SIGBUS), uintptr(unsafe.Pointer(&byDefault)), 0, 8, 0, 0); errno != 0 {
		return errno
	}
	r := &rawLink{path: filepath.Join(args[0], "head/watch")}
	var err error
	if r.fd, err = openFile(r.path, unix.O_RDWR); err != nil {
		return err
	}
	fmt.Println("ready")
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 16<<20)
	for in.Scan() {
		command, arg, _ := strings.Cut(in.Text(), " ")
		if err := r.do(command, arg); err != nil {
			return err
		}
	}
	return in.Err()
}

type rawLink struct {
	path string
	fd   int
	data []byte // read, no full line yet
	mem  []byte
}

func (r *rawLink) do(command, arg string) error {
	switch command {
	case "write":
		fmt.Println(outcome(r.write(arg)))
	case "line":
		fmt.Println(r.line())
	case "reading":
		go func() {
			for r.line() != "EOF" {
			}
		}()
		fmt.Println("ok")
	case "close":
		fmt.Println(outcome(unix.Close(r.fd)))
	case "fd":
		fmt.Println(r.fd)
	case "thread":
		unix.Close(r.fd)
		fmt.Println(outcome(r.openInThread()))
	case "fork":
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), helperEnv+"=hold-stdin")
		cmd.ExtraFiles = []*os.File{os.NewFile(uintptr(r.fd), "link")}
		if _, err := cmd.StdinPipe(); err != nil { // the child ends with us
			return err
		}
		if err := cmd.Start(); err != nil {
			return err
		}
		fmt.Println(cmd.Process.Pid)
	case "map":
		mem, err := mapFile(arg)
		if err == nil {
			err = unix.Madvise(mem, unix.MADV_RANDOM)
		}
		r.mem = mem
		fmt.Println(outcome(err))
	case "touch":
		off, _ := strconv.ParseInt(arg, 10, 64)
		go touch(r.mem, off)
		fmt.Println("ok")
	case "exit":
		unix.Exit(3)
	case "stop":
		fmt.Println("ok")
		return unix.Kill(os.Getpid(), unix.SIGSTOP)
	}
	return nil
}

func (r *rawLink) write(arg string) error {
	n := 1
	if before, after, ok := strings.Cut(arg, " "); ok && arg[0] != '"' {
		n, _ = strconv.Atoi(before)
		arg = after
	}
	text, err := strconv.Unquote(arg)
	if err != nil {
		return err
	}
	for range n {
		if _, err := unix.Write(r.fd, []byte(text)); err != nil {
			return err
		}
	}
	return nil
}

func (r *rawLink) line() string {
	for {
		line, rest, ok := strings.Cut(string(r.data), "\n")
		if ok {
			r.data = []byte(rest)
			return strconv.Quote(line)
		}
		buf := make([]byte, 4096)
		n := 0
		err := uninterrupted(func() (err error) {
			n, err = unix.Read(r.fd, buf)
			return err
		})
		if err != nil {
			return outcome(err)
		}
		if n == 0 {
			return "EOF"
		}
		r.data = append(r.data, buf[:n]...)
	}
}

// openInThread opens the link in a thread that has ended when it returns.
func (r *rawLink) openInThread() error {
	opened := make(chan error)
	id := 0
	var open func()
	open = func() {
		runtime.LockOSThread() // and it ends with the goroutine
		if id = unix.Gettid(); id == os.Getpid() {
			go open() // the first thread does not end
			select {}
		}
		var err error
		r.fd, err = openFile(r.path, unix.O_RDWR)
		opened <- err
	}
	go open()
	if err := <-opened; err != nil {
		return err
	}
	for {
		if _, err := os.Stat(fmt.Sprintf("/proc/self/task/%d", id)); errors.Is(err, os.ErrNotExist) {
			return nil
		}
		runtime.Gosched()
	}
}

// helperHoldStdin ends when its standard input does.
func helperHoldStdin([]string) error {
	bufio.NewScanner(os.Stdin).Scan()
	return nil
}

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
	noGC()
	c := &isolatedClient{dir: args[0], file: args[1], goOn: make(chan struct{})}
	c.blksize, _ = strconv.ParseInt(args[2], 10, 64)
	n, _ := strconv.ParseInt(args[3], 10, 64)
	var err error
	if c.fd, err = openFile(c.path("head"), unix.O_RDONLY); err != nil {
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
	if c.link, err = openWatchLink(filepath.Join(c.dir, "head/watch"), true); err != nil {
		return err
	}
	c.link.onPin = c.remap
	oid, _ := strconv.ParseUint(c.file, 16, 64)
	fmt.Println("ready")
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		command, arg, _ := strings.Cut(in.Text(), " ")
		c.do(zodb.Oid(oid), command, arg)
	}
	return c.link.bye()
}

type isolatedClient struct {
	dir, file string
	blksize   int64
	fd        int
	mem       [2][]byte
	link      *watchLink

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
			reply, err := c.link.ask(watchRequest(oid, zodb.Tid(at)))
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
		fmt.Printf("%q\n", copyOut(mem[blk*c.blksize:][:c.blksize]))
	case "pins":
		seen := pins{}
		c.link.change(func() {
			for _, p := range c.link.seen {
				seen[p.blk] = p.rev
			}
			c.link.seen = nil
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

// remap maps a block of the first mapping as a pin says. What is beyond the end
// of the file there is zeros.
func (c *isolatedClient) remap(p watchPin) error {
	c.mu.Lock()
	fstat, hold := c.fstat, c.hold
	c.mu.Unlock()
	if hold {
		<-c.goOn
	}
	fd := c.fd
	if p.rev == toHead {
		if fstat {
			var st unix.Stat_t
			if err := unix.Fstat(fd, &st); err != nil {
				return err
			}
		}
	} else {
		var err error
		if fd, err = openFile(c.path("@"+p.rev.String()), unix.O_RDONLY); err != nil {
			return err
		}
		defer unix.Close(fd)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	off, flags := p.blk*c.blksize, unix.MAP_SHARED|unix.MAP_FIXED
	if off >= st.Size && p.rev != toHead {
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
