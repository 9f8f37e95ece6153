package client

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Mapping is blocks of a file in memory.
type Mapping struct {
	c           *Conn // nil for a past view
	blksize     int64
	start, stop int64
	size        int // bytes

	// mu is held for reading while the kernel looks at the memory for us, and
	// for writing to unmap it.
	mu   sync.RWMutex
	addr uintptr // 0 after Unmap
}

// Mmap maps blkCount blocks, at least one, from block blkStart on. Blocks behind
// the end of the file read as zeros. The address stays the same until Unmap; what
// is there follows Resync.
//
// Errors: ErrNotMappable, ErrFileClosed, ErrClosed, that of ctx, and those of
// the operating system. It panics if a number is negative or the blocks do not
// fit into memory.
func (f *File) Mmap(ctx context.Context, blkStart, blkCount int64) (*Mapping, error) {
	m, err := f.mmap(ctx, blkStart, blkCount)
	if err != nil {
		return nil, f.h.c.wrap(err, "mmap f<%s> #[%d +%d)", f.h.oid, blkStart, blkCount)
	}
	return m, nil
}

func (f *File) mmap(ctx context.Context, start, count int64) (*Mapping, error) {
	_, done, err := f.use(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	c := f.h.c
	m, err := newMapping(f.h.blksize, start, count)
	if err != nil {
		return nil, err
	}
	addr, errno := c.pinner.mapBlocks(f.h.index, m.start, m.stop)
	if errno == unix.ESHUTDOWN {
		return nil, c.lost()
	}
	if errno != 0 {
		return nil, errnoError("map", errno)
	}
	m.c, m.addr = c, addr
	c.mu.Lock()
	c.users++ // the Conn is not at its end yet, as its view is in use
	c.mu.Unlock()
	return m, nil
}

// newMapping returns a mapping without memory.
func newMapping(blksize, start, count int64) (*Mapping, error) {
	const most = 1 << 62
	if start < 0 || count <= 0 || count > most/blksize || start > most/blksize-count {
		panic(fmt.Sprintf("client: mmap of %d blocks from block %d on", count, start))
	}
	if blksize%int64(os.Getpagesize()) != 0 {
		return nil, fmt.Errorf("blksize %d: %w", blksize, ErrNotMappable)
	}
	return &Mapping{blksize: blksize, start: start, stop: start + count, size: int(count * blksize)}, nil
}

// BlkStart returns the first block.
func (m *Mapping) BlkStart() int64 { return m.start }

// BlkStop returns the block behind the last one.
func (m *Mapping) BlkStop() int64 { return m.stop }

// Data returns the memory, nil after Unmap. It must not be written to, and not
// be used after Unmap; both cannot be recovered from. See the package
// documentation for when reading it faults, and View for how to survive that.
func (m *Mapping) Data() []byte {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.addr == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(pointer(m.addr)), m.size)
}

// View calls f with the memory, and turns a fault while f reads it into a
// *FaultError. A fault in another goroutine that f starts still ends the
// process. f may be interrupted at any access: what it holds, such as locks, it
// must release in deferred functions.
func (m *Mapping) View(f func(data []byte) error) (err error) {
	data := m.Data()
	if data == nil {
		return ErrUnmapped
	}
	begin := uintptr(unsafe.Pointer(&data[0]))
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		switch r := recover().(type) {
		case nil:
		case interface {
			error
			Addr() uintptr
		}:
			if off := r.Addr() - begin; off < uintptr(len(data)) {
				err = &FaultError{Off: int64(off), Cause: m.cause()}
				return
			}
			panic(r)
		default:
			panic(r)
		}
	}()
	return f(data)
}

// cause returns why the mapping does not work any more, if that is known.
func (m *Mapping) cause() error {
	if m.c == nil {
		return nil
	}
	return context.Cause(m.c.ctx)
}

// Load loads blkCount blocks from block blkStart of the file on, all of which
// must be mapped, and makes them accessible without a fault, until the kernel or
// a commit takes pages away again. While the data is loaded it is not in the way
// of the garbage collector, as a goroutine in a fault is.
//
// Error: a *FaultError if data cannot be loaded; that of ctx, which is looked at
// between blocks; ErrUnmapped.
func (m *Mapping) Load(ctx context.Context, blkStart, blkCount int64) error {
	if blkStart < m.start || blkCount < 0 || blkStart > m.stop-blkCount {
		panic(fmt.Sprintf("client: load of %d blocks from block %d on: mapped are [%d, %d)", blkCount, blkStart, m.start, m.stop))
	}
	for blk := blkStart; blk < blkStart+blkCount; blk++ {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if err := m.load(blk); err != nil {
			return err
		}
	}
	return nil
}

func (m *Mapping) load(blk int64) error {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.addr == 0 {
		return ErrUnmapped
	}
	off := (blk - m.start) * m.blksize
	_, _, errno := unix.Syscall(unix.SYS_MADVISE, m.addr+uintptr(off), uintptr(m.blksize), unix.MADV_POPULATE_READ)
	switch errno {
	case 0:
		return nil
	case unix.EINTR:
		return m.touch(off) // pages of what was already loaded are there
	case unix.EINVAL:
		return m.touch(off) // a kernel before 5.14
	default:
		return &FaultError{Off: off, Cause: errors.Join(errno, m.cause())}
	}
}

// touch lets the kernel read a byte of each page of a block. Requires: mu.
func (m *Mapping) touch(off int64) error {
	page := int64(os.Getpagesize())
	local := []unix.Iovec{{Base: new(byte), Len: 1}}
	remote := make([]unix.RemoteIovec, 1)
	for end := off + m.blksize; off < end; off += page {
		remote[0] = unix.RemoteIovec{Base: m.addr + uintptr(off), Len: 1}
		if _, err := unix.ProcessVMReadv(os.Getpid(), local, remote, 0); err != nil {
			return &FaultError{Off: off, Cause: errors.Join(err, m.cause())}
		}
	}
	return nil
}

// Unmap ends the mapping and frees its address. Data must not be used any more.
// A second Unmap does nothing.
func (m *Mapping) Unmap() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.addr == 0 {
		return nil
	}
	var errno syscall.Errno
	if m.c != nil {
		errno = m.c.pinner.unmap(m.addr, uintptr(m.size))
	} else {
		_, errno = call(unix.SYS_MUNMAP, m.addr, uintptr(m.size), 0)
	}
	if errno != 0 {
		return errnoError("unmap", errno)
	}
	m.addr = 0
	if m.c != nil {
		m.c.unuse()
	}
	return nil
}
