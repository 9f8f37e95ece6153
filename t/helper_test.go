package t

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// helperEnv names the helper that this binary is started as.
const helperEnv = "WCFS_T_HELPER"

// helpers are the programs that run in processes of their own.
var helpers = map[string]func(args []string) error{
	"check":    helperCheck,
	"fault":    helperFault,
	"grow":     helperGrow,
	"fresh":    helperFresh,
	"hold":     helperHold,
	"map":      helperMap,
	"resident": helperResident,
	"scan":     helperScan,
	"sum":      helperSum,
}

func runHelper(name string, args []string) int {
	helper := helpers[name]
	if helper == nil {
		fmt.Fprintf(os.Stderr, "no helper %q\n", name)
		return 2
	}
	if err := helper(args); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// mapFile maps a whole file read-only.
func mapFile(path string) ([]byte, error) {
	fd, err := openFile(path, unix.O_RDONLY|unix.O_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, fmt.Errorf("stat %s: %w", path, err)
	}
	if st.Size == 0 {
		return nil, nil
	}
	mem, err := unix.Mmap(fd, 0, int(st.Size), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("mmap %s: %w", path, err)
	}
	return mem, nil
}

// helperResident prints 1 or 0 for every block: whether all of it is in the
// page cache. Arguments: file, block size.
func helperResident(args []string) error {
	mem, err := mapFile(args[0])
	if err != nil {
		return err
	}
	blksize, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	page := os.Getpagesize()
	vec := make([]byte, (len(mem)+page-1)/page)
	if len(mem) > 0 {
		_, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&mem[0])), uintptr(len(mem)), uintptr(unsafe.Pointer(&vec[0])))
		if errno != 0 {
			return fmt.Errorf("mincore: %w", errno)
		}
	}
	for at := 0; at < len(mem); at += blksize {
		whole := 1
		for _, v := range vec[at/page : (at+blksize+page-1)/page] {
			whole &= int(v & 1)
		}
		fmt.Print(whole)
	}
	return nil
}

// helperSum maps a file and prints the sum of its bytes. Argument: file.
func helperSum(args []string) error {
	mem, err := mapFile(args[0])
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

// helperScan maps a file and prints how many nanoseconds a scan of it takes,
// for every line it gets. Arguments: files.
func helperScan(args []string) error {
	mem, err := mapFile(args[0])
	if err != nil {
		return err
	}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		start := time.Now()
		total := uint64(0)
		for _, word := range unsafe.Slice((*uint64)(unsafe.Pointer(&mem[0])), len(mem)/8) {
			total += word
		}
		fmt.Println(time.Since(start).Nanoseconds(), total)
	}
	return nil
}
