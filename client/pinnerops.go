package client

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// The operations here are what goroutines do with a pinner. Each is one system
// call for the runtime, so that a goroutine cannot be stopped while it has the
// lock.

// newPinner returns a pinner for a link, which serve has to be called for.
func newPinner(link, dir, lines int) (*pinner, error) {
	lock, err := unix.Eventfd(1, unix.EFD_CLOEXEC)
	if err != nil {
		return nil, failed("eventfd", err)
	}
	return &pinner{link: uintptr(link), dir: uintptr(dir), lines: uintptr(lines), lock: uintptr(lock)}, nil
}

// destroy frees what serve, which must have returned, does not.
func (p *pinner) destroy() {
	_ = unix.Close(int(p.lock))
	p.files.free()
	p.maps.free()
	p.pins.free()
}

// why returns what became of the pinner.
//
//go:nosplit
//go:norace
//go:noinline
func (p *pinner) why() (state, syscall.Errno) {
	entersyscall()
	p.take()
	s, errno := p.state, p.errno
	p.release()
	exitsyscall()
	return s, errno
}

// shut makes all mappings fault. Pins that still come are acknowledged. It
// returns false if a mapping may still show data.
//
//go:nosplit
//go:norace
//go:noinline
func (p *pinner) shut() (done bool) {
	entersyscall()
	p.take()
	done = p.fail(stateClosed)
	p.release()
	exitsyscall()
	return done
}

// addFile makes a file known. Blocks that are pinned are noted from now on.
//
//go:nosplit
//go:norace
//go:noinline
func (p *pinner) addFile(oid Oid, fd int, blksize, nblk int64) (file int64, errno syscall.Errno) {
	entersyscall()
	p.take()
	if file, errno = p.newFile(); errno == 0 {
		*p.file(file) = fileEntry{used: true, oid: uint64(oid), fd: uintptr(fd), blksize: blksize, nblk: nblk}
	}
	p.release()
	exitsyscall()
	return file, errno
}

// faultFile makes all mappings of a file fault. It stays known.
//
//go:nosplit
//go:norace
//go:noinline
func (p *pinner) faultFile(file int64) (errno syscall.Errno) {
	entersyscall()
	p.take()
	if !p.fault(file) {
		errno = p.errno
	}
	p.release()
	exitsyscall()
	return errno
}

// dropFile forgets a file, which must have no mappings, and its pins.
//
//go:nosplit
//go:norace
//go:noinline
func (p *pinner) dropFile(file int64) {
	entersyscall()
	p.take()
	f := p.file(file)
	for i := uint64(0); i < p.pins.slots(); i++ {
		if e := p.pins.slot(i); e.used && e.oid == f.oid {
			e.rev = toHead
		}
	}
	f.used = false
	p.release()
	exitsyscall()
}

// resize notes how many blocks of head/ a file has from now on, and maps what
// that changes. After an error the mappings of the file are not as they should.
//
//go:nosplit
//go:norace
//go:noinline
func (p *pinner) resize(file, nblk int64) (errno syscall.Errno) {
	entersyscall()
	p.take()
	f := p.file(file)
	from, to := min(f.nblk, nblk), max(f.nblk, nblk)
	f.nblk = nblk
	for i := int64(0); i < p.nmaps && errno == 0; i++ {
		m := p.mapping(i)
		if m.addr == 0 || m.file != file {
			continue
		}
		if start, stop := max(from, m.start), min(to, m.stop); start < stop {
			errno = p.show(m, start, stop)
		}
	}
	p.release()
	exitsyscall()
	return errno
}

// pinOwn pins blocks of a file to rev which the server did not demand to pin.
//
//go:nosplit
//go:norace
//go:noinline
func (p *pinner) pinOwn(file, start, stop int64, rev Tid) (errno syscall.Errno) {
	entersyscall()
	p.take()
	oid := p.file(file).oid
	for blk := start; blk < stop && errno == 0; blk++ {
		if p.pins.get(oid, blk) == nil && !p.setPin(oid, blk, uint64(rev), true) {
			errno = p.errno
		}
	}
	p.release()
	exitsyscall()
	return errno
}

// unpinOwn undoes pinOwn.
//
//go:nosplit
//go:norace
//go:noinline
func (p *pinner) unpinOwn(file int64) (errno syscall.Errno) {
	entersyscall()
	p.take()
	oid := p.file(file).oid
	for i := uint64(0); i < p.pins.slots() && errno == 0; i++ {
		if e := p.pins.slot(i); e.used && e.own && e.oid == oid && e.rev != toHead && !p.setPin(oid, e.blk, toHead, false) {
			errno = p.errno
		}
	}
	p.release()
	exitsyscall()
	return errno
}

// mapBlocks maps blocks [start, stop) of a file at a new address.
//
//go:nosplit
//go:norace
//go:noinline
func (p *pinner) mapBlocks(file, start, stop int64) (addr uintptr, errno syscall.Errno) {
	entersyscall()
	p.take()
	addr, errno = p.mapNew(file, start, stop)
	p.release()
	exitsyscall()
	return addr, errno
}

//go:nosplit
//go:norace
func (p *pinner) mapNew(file, start, stop int64) (addr uintptr, errno syscall.Errno) {
	if p.state != stateLive {
		return 0, unix.ESHUTDOWN
	}
	i, errno := p.newMapping()
	if errno != 0 {
		return 0, errno
	}
	size := uintptr((stop - start) * p.file(file).blksize)
	addr, _, errno = syscall.RawSyscall6(unix.SYS_MMAP, 0, size, unix.PROT_NONE, nothing, noFd, 0)
	if errno != 0 {
		return 0, errno
	}
	m := p.mapping(i)
	*m = mapEntry{addr: addr, file: file, start: start, stop: stop}
	if errno = p.show(m, start, stop); errno != 0 {
		_, _ = call(unix.SYS_MUNMAP, addr, size, 0)
		m.addr = 0
		return 0, errno
	}
	return addr, 0
}

// unmap unmaps what mapBlocks mapped.
//
//go:nosplit
//go:norace
//go:noinline
func (p *pinner) unmap(addr, size uintptr) (errno syscall.Errno) {
	entersyscall()
	p.take()
	if _, errno = call(unix.SYS_MUNMAP, addr, size, 0); errno == 0 {
		for i := int64(0); i < p.nmaps; i++ {
			if m := p.mapping(i); m.addr == addr {
				m.addr = 0
			}
		}
	}
	p.release()
	exitsyscall()
	return errno
}

// pinned returns what a block is pinned to, toHead if it is not, and whether pins
// are still being noted.
//
//go:nosplit
//go:norace
//go:noinline
func (p *pinner) pinned(oid Oid, blk int64) (rev uint64, live bool) {
	entersyscall()
	p.take()
	rev, live = toHead, p.state == stateLive
	if e := p.pins.get(uint64(oid), blk); e != nil {
		rev = e.rev
	}
	p.release()
	exitsyscall()
	return rev, live
}
