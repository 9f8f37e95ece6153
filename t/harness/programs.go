package harness

import (
	"fmt"
	"os"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// common are the helpers that tests of several packages start.
func common() Helpers {
	return Helpers{
		"fault":      helperFault,
		"goclient":   helperGoClient,
		"hold":       helperHold,
		"map":        helperMap,
		"rawlink":    helperRawLink,
		"hold-stdin": helperHoldStdin,
		"resident":   helperResident,
	}
}

// MapFile maps a whole file read-only.
func MapFile(path string) ([]byte, error) {
	fd, err := OpenFile(path, unix.O_RDONLY|unix.O_CLOEXEC)
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
	mem, err := MapFile(args[0])
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
