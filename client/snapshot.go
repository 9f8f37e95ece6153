package client

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
	"lab.nexedi.com/kirr/go123/xerr"
)

// Snapshot is a past view that is read directly. It needs no cooperation with
// the server, but shares no cache with other views. Use it to look at some blocks
// of a fixed view, and a Conn for what is worked with.
type Snapshot struct {
	w  *WCFS
	at Tid
}

// Snapshot returns the view at, which may be Head. It waits until the server
// shows that view. There is nothing to close.
func (w *WCFS) Snapshot(ctx context.Context, at Tid) (*Snapshot, error) {
	wanted := at
	if at == Head {
		wanted = 0
	}
	head, err := w.waitHead(ctx, wanted)
	if err != nil {
		return nil, fmt.Errorf("wcfs %s: snapshot @%s: %w", w.point, at, err)
	}
	if at == Head {
		at = head
	}
	return &Snapshot{w, at}, nil
}

// At returns the view.
func (s *Snapshot) At() Tid { return s.at }

// SnapshotFile is a file of a Snapshot. All methods may be called at the same
// time.
type SnapshotFile struct {
	s       *Snapshot
	oid     Oid
	size    int64
	blksize int64

	mu sync.RWMutex
	fd int // -1 when closed
}

// Open opens a file, which must have existed at the view. Errors: ErrNotBigFile,
// ErrBadFile, ErrCrashed, and those of the operating system.
func (s *Snapshot) Open(ctx context.Context, oid Oid) (_ *SnapshotFile, err error) {
	defer xerr.Contextf(&err, "wcfs %s: snapshot @%s: open f<%s>", s.w.point, s.at, oid)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	fd, err := s.w.open(fmt.Sprintf("@%s/bigfile/%s", s.at, oid), unix.O_RDONLY)
	if err != nil {
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
			err = fmt.Errorf("%w: %w", ErrNotBigFile, err)
		}
		return nil, err
	}
	size, blksize, err := stat(fd)
	if err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return &SnapshotFile{s: s, oid: oid, size: size, blksize: blksize, fd: fd}, nil
}

// Size returns the size in bytes, a multiple of BlkSize.
func (f *SnapshotFile) Size() int64 { return f.size }

// BlkSize returns the size of a block in bytes.
func (f *SnapshotFile) BlkSize() int64 { return f.blksize }

// ReadAt copies bytes from offset off. The bytes behind the end of the file
// read as zeros; io.EOF is never returned. It panics if off is negative.
func (f *SnapshotFile) ReadAt(data []byte, off int64) (int, error) {
	if off < 0 {
		panic(fmt.Sprintf("client: read at offset %d", off))
	}
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.fd < 0 {
		return 0, ErrFileClosed
	}
	n, err := pread(f.fd, data, off)
	if err != nil {
		return n, failed(fmt.Sprintf("wcfs %s: snapshot @%s: read f<%s> at %d", f.s.w.point, f.s.at, f.oid, off), err)
	}
	clear(data[n:])
	return len(data), nil
}

// Mmap maps blkCount blocks, at least one, from block blkStart on. Blocks behind
// the end of the file read as zeros. The mapping works also after Close. Errors
// and panics are those of File.Mmap.
func (f *SnapshotFile) Mmap(blkStart, blkCount int64) (*Mapping, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.fd < 0 {
		return nil, ErrFileClosed
	}
	m, err := newMapping(f.blksize, blkStart, blkCount)
	if err != nil {
		return nil, err
	}
	addr, err := reserve(uintptr(m.size))
	if err != nil {
		return nil, err
	}
	m.addr = addr
	if n := min(m.stop, f.size/f.blksize) - m.start; n > 0 {
		a := area{addr: addr, size: uintptr(n * f.blksize), prot: unix.PROT_READ, fd: uintptr(f.fd), off: m.start * f.blksize, huge: f.blksize%hugePage == 0}
		if errno := a.mapIt(); errno != 0 {
			_ = m.Unmap()
			return nil, errnoError("map", errno)
		}
	}
	return m, nil
}

// reserve returns the address of memory that reads as zeros.
func reserve(size uintptr) (uintptr, error) {
	addr, _, errno := unix.Syscall6(unix.SYS_MMAP, 0, size, unix.PROT_READ, nothing, noFd, 0)
	return addr, errnoError("map", errno)
}

// Close closes the file. A second Close does nothing.
func (f *SnapshotFile) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fd < 0 {
		return nil
	}
	fd := f.fd
	f.fd = -1
	return unix.Close(fd)
}
