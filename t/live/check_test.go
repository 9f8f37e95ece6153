package live

import (
	"bufio"
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"

	"github.com/wcfs/wcfs/t/harness"
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
	fd, err := harness.OpenFile(args[0], unix.O_RDONLY)
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
	want := harness.RandomBlock(uint64(blk), blksize)
	if same {
		want = harness.RandomBlock(0, blksize)
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

// helperSum maps a file and prints the sum of its bytes. Argument: file.
func helperSum(args []string) error {
	mem, err := harness.MapFile(args[0])
	if err != nil {
		return err
	}
	sum := 0
	for _, b := range mem {
		sum += int(b)
	}
	fmt.Print(sum)
	return nil
}
