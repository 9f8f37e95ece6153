package harness

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
	"unsafe"

	"golang.org/x/sys/unix"
)

// NoGC keeps the Go runtime from stopping the world, which would wait for a
// thread in a page fault and so keep pins from being handled.
func NoGC() {
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
	NoGC()
	// Most clients are not Go programs: SIGBUS ends them at once.
	var byDefault [4]uint64 // struct sigaction of the kernel
	if _, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(unix.SIGBUS), uintptr(unsafe.Pointer(&byDefault)), 0, 8, 0, 0); errno != 0 {
		return errno
	}
	r := &rawLink{path: filepath.Join(args[0], "head/watch")}
	var err error
	if r.fd, err = OpenFile(r.path, unix.O_RDWR); err != nil {
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
		fmt.Println(Outcome(r.write(arg)))
	case "line":
		fmt.Println(r.line())
	case "reading":
		go func() {
			for r.line() != "EOF" {
			}
		}()
		fmt.Println("ok")
	case "close":
		fmt.Println(Outcome(unix.Close(r.fd)))
	case "fd":
		fmt.Println(r.fd)
	case "thread":
		unix.Close(r.fd)
		fmt.Println(Outcome(r.openInThread()))
	case "fork":
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), HelperEnv+"=hold-stdin")
		cmd.ExtraFiles = []*os.File{os.NewFile(uintptr(r.fd), "link")}
		if _, err := cmd.StdinPipe(); err != nil { // the child ends with us
			return err
		}
		if err := cmd.Start(); err != nil {
			return err
		}
		fmt.Println(cmd.Process.Pid)
	case "map":
		mem, err := MapFile(arg)
		if err == nil {
			err = unix.Madvise(mem, unix.MADV_RANDOM)
		}
		r.mem = mem
		fmt.Println(Outcome(err))
	case "touch":
		off, _ := strconv.ParseInt(arg, 10, 64)
		go Touch(r.mem, off)
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
		err := Uninterrupted(func() (err error) {
			n, err = unix.Read(r.fd, buf)
			return err
		})
		if err != nil {
			return Outcome(err)
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
		r.fd, err = OpenFile(r.path, unix.O_RDWR)
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
