package demo

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// arrayFile is the array as an open file of the mount.
type arrayFile struct {
	path string
	fd   int
	mem  []byte // mapping of the file, which is never touched; see cached
}

func openArray(path string) (*arrayFile, error) {
	fd, err := openFile(path)
	if err != nil {
		return nil, err
	}
	mem, err := unix.Mmap(fd, 0, nblk*blkSize, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		_ = unix.Close(fd)
		return nil, &os.PathError{Op: "mmap", Path: path, Err: err}
	}
	return &arrayFile{path: path, fd: fd, mem: mem}, nil
}

func (f *arrayFile) close() {
	_ = unix.Munmap(f.mem)
	_ = unix.Close(f.fd)
}

// read reads the whole file, and the kernel what it has not cached of that.
func (f *arrayFile) read() ([]byte, error) {
	return readFile(f.fd, f.path, nblk*blkSize)
}

// missing returns how many bytes of the file are not in the page cache, and the
// blocks of which nothing is.
func (f *arrayFile) missing() (bytes int64, blks []int64, err error) {
	page := os.Getpagesize()
	cached := make([]byte, len(f.mem)/page)
	_, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&f.mem[0])), uintptr(len(f.mem)), uintptr(unsafe.Pointer(&cached[0])))
	if errno != 0 {
		return 0, nil, fmt.Errorf("mincore %s: %w", f.path, errno)
	}
	for blk := range int64(nblk) {
		gone := int64(0)
		for _, c := range cached[int(blk)*blkSize/page:][:blkSize/page] {
			if c&1 == 0 {
				gone += int64(page)
			}
		}
		if bytes += gone; gone == blkSize {
			blks = append(blks, blk)
		}
	}
	return bytes, blks, nil
}

// openFile opens a file of the mount. The descriptor is not that of an os.File,
// which would have the runtime poll it; FUSE files do not support that.
func openFile(path string) (fd int, err error) {
	err = uninterrupted(func() error {
		fd, err = unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return fd, nil
}

// readFile returns at most limit bytes from the beginning of a file.
func readFile(fd int, path string, limit int) ([]byte, error) {
	data := make([]byte, limit)
	for n := 0; n < limit; {
		var got int
		err := uninterrupted(func() (err error) {
			got, err = unix.Pread(fd, data[n:], int64(n))
			return err
		})
		if err != nil {
			return nil, &os.PathError{Op: "read", Path: path, Err: err}
		}
		if got == 0 {
			return data[:n], nil
		}
		n += got
	}
	return data, nil
}

// uninterrupted calls f again when a signal interrupted it. The Go runtime sends
// signals to its own threads.
func uninterrupted(f func() error) error {
	for {
		if err := f(); err != unix.EINTR {
			return err
		}
	}
}
