package t

import (
	"bufio"
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// helperCheck reads an array made by BuildDatabase in pieces, blocks in random
// order, and compares. It prints "ready", waits for a line, reads, and prints
// "done"; with mode until-error it prints "reading", and in the end the errno.
// Arguments: file, block size, bytes of a piece, seed, mode. Blocks are not
// distinct if mode is "same".
func helperCheck(args []string) error {
	blksize, _ := strconv.ParseInt(args[1], 10, 64)
	piece, _ := strconv.ParseInt(args[2], 10, 64)
	seed, _ := strconv.ParseUint(args[3], 10, 64)
	mode := args[4]
	fd, err := openFile(args[0], unix.O_RDONLY)
	if err != nil {
		return err
	}
	if err := unix.Fadvise(fd, 0, 0, unix.FADV_RANDOM); err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	rnd := rand.New(rand.NewPCG(seed, 1))
	order := rnd.Perm(int(st.Size / blksize))
	fmt.Println("ready")
	bufio.NewScanner(os.Stdin).Scan()
	for round := 0; ; round++ {
		for i, blk := range order {
			err := checkBlock(fd, blk, blksize, piece, mode == "same", rnd)
			if errno, ok := err.(unix.Errno); ok && mode == "until-error" {
				fmt.Println(unix.ErrnoName(errno))
				return nil
			}
			if err != nil {
				return err
			}
			if mode == "until-error" && round+i == 0 {
				fmt.Println("reading")
			}
		}
		if mode != "until-error" {
			fmt.Println("done")
			return nil
		}
		if err := unix.Fadvise(fd, 0, 0, unix.FADV_DONTNEED); err != nil {
			return err
		}
	}
}

func checkBlock(fd, blk int, blksize, piece int64, same bool, rnd *rand.Rand) error {
	want := RandomBlock(uint64(blk), blksize)
	if same {
		want = RandomBlock(0, blksize)
	}
	data := make([]byte, piece)
	for _, i := range rnd.Perm(int(blksize / piece)) {
		off := int64(i) * piece
		n, err := unix.Pread(fd, data, int64(blk)*blksize+off)
		if err != nil {
			return err
		}
		if n != len(data) || !bytes.Equal(data, want[off:off+piece]) {
			return fmt.Errorf("block %d: %d bytes at %d read wrong", blk, piece, off)
		}
	}
	return nil
}

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
		fd, err := openFile(path, unix.O_RDONLY|unix.O_CLOEXEC)
		if err != nil {
			return err
		}
		mem, _ := mapFile(path) // directories and small files have no mapping
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
			fmt.Println(outcome(err))
		case "next":
			fmt.Println(outcome(uninterrupted(func() error {
				_, err := unix.Read(fds[n], make([]byte, 4096))
				return err
			})))
		case "touch":
			fmt.Println(touch(maps[n], off))
		case "open":
			fd, err := openFile(fields[1], unix.O_RDONLY|unix.O_CLOEXEC)
			if err == nil {
				unix.Close(fd)
			}
			fmt.Println(outcome(err))
		case "close":
			fmt.Println(outcome(unix.Close(fds[n])))
		case "unmap":
			fmt.Println(outcome(unix.Munmap(maps[n])))
		}
	}
	return nil
}

func outcome(err error) string {
	if errno, ok := err.(unix.Errno); ok {
		return unix.ErrnoName(errno)
	}
	return "ok"
}

// touch reads a byte through a mapping.
func touch(mem []byte, off int64) (result string) {
	defer func() {
		if recover() != nil {
			result = "SIGBUS"
		}
	}()
	touched = mem[off]
	return "ok"
}

// touched makes the compiler do the read.
var touched byte
