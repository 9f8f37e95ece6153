package harness

import (
	"bufio"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// helperHold opens and maps files and does what it is told. Arguments: files.
// Commands, with what they print:
//
//	read N OFF    "ok", or the errno of reading a page of file N
//	next N        "ok", or the errno of reading on in the stream N
//	touch N OFF   "ok", or "SIGBUS"
//	open PATH     "ok", or the errno
//	close N       "ok"
//	unmap N       "ok"
func helperHold(args []string) error {
	debug.SetPanicOnFault(true)
	var fds []int
	var maps [][]byte
	for _, path := range args {
		fd, err := OpenFile(path, unix.O_RDONLY|unix.O_CLOEXEC)
		if err != nil {
			return err
		}
		mem, _ := MapFile(path) // directories and small files have no mapping
		fds, maps = append(fds, fd), append(maps, mem)
	}
	fmt.Println("ready")
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		fields := strings.Fields(in.Text())
		n, off := 0, int64(0)
		if fields[0] != "open" {
			n, _ = strconv.Atoi(fields[1])
		}
		if len(fields) > 2 {
			off, _ = strconv.ParseInt(fields[2], 10, 64)
		}
		switch fields[0] {
		case "read":
			_, err := unix.Pread(fds[n], make([]byte, 4096), off)
			fmt.Println(Outcome(err))
		case "next":
			fmt.Println(Outcome(Uninterrupted(func() error {
				_, err := unix.Read(fds[n], make([]byte, 4096))
				return err
			})))
		case "touch":
			fmt.Println(Touch(maps[n], off))
		case "open":
			fd, err := OpenFile(fields[1], unix.O_RDONLY|unix.O_CLOEXEC)
			if err == nil {
				unix.Close(fd)
			}
			fmt.Println(Outcome(err))
		case "close":
			fmt.Println(Outcome(unix.Close(fds[n])))
		case "unmap":
			fmt.Println(Outcome(unix.Munmap(maps[n])))
		}
	}
	return nil
}

// Outcome returns the name of an errno, or "ok".
func Outcome(err error) string {
	if errno, ok := err.(unix.Errno); ok {
		return unix.ErrnoName(errno)
	}
	return "ok"
}

// Touch reads a byte through a mapping.
func Touch(mem []byte, off int64) (result string) {
	defer func() {
		if recover() != nil {
			result = "SIGBUS"
		}
	}()
	Touched = mem[off]
	return "ok"
}

// Touched makes the compiler do the read.
var Touched byte
