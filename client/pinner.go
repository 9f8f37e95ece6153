package client

import (
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// pinner is the part of a Conn that has to go on while the Go runtime stands
// still: when a thread sits in a page fault on mapped memory, the world cannot
// be stopped, all goroutines may already wait for that, and the fault ends only
// when the server has its pin acknowledged. So serve runs as one long system
// call (see syscall.go), as does everything else that uses the tables.
//
// It holds no pointers, so nothing in it concerns the garbage collector.
type pinner struct {
	link  uintptr // head/watch
	lines uintptr // pipe, to which lines that are no pins are passed on
	dir   uintptr // the mount point

	// lock is an eventfd that holds 1 if nobody has the lock, which guards
	// all that follows. It is held while the server is asked for files of past
	// views, but the server needs nothing of us for those.
	lock uintptr

	state state
	errno syscall.Errno // of the last system call that failed

	files, maps   array
	nfiles, nmaps int64 // entries, including unused ones
	pins          pinTable

	// The fields below belong to serve.
	pin        pinMessage
	have       int // bytes in buf
	begin, end int // of the line in buf
	lost       syscall.Errno
	buf        [4096]byte
	ack        [32]byte

	// The fields below are scratch memory, guarded by the lock.
	area area
	path [64]byte
	past uintptr // descriptor of a file of a past view
	stat unix.Stat_t
	word [8]byte
}

// state is what became of a pinner. In all but the first, no mapping shows data
// any more.
type state int

const (
	stateLive     state = iota
	stateClosed         // by the client
	stateDown           // the server closed the link
	stateLost           // reading from the link failed
	stateProtocol       // the server said what cannot be understood
	statePin            // a block could not be mapped as demanded
)

// take takes the lock.
//
//go:nosplit
//go:norace
func (p *pinner) take() {
	var word [8]byte
	_, _ = call(unix.SYS_READ, p.lock, uintptr(unsafe.Pointer(&word)), 8)
}

// release gives the lock back.
//
//go:nosplit
//go:norace
func (p *pinner) release() {
	p.word = [8]byte{}
	*(*uint64)(unsafe.Pointer(&p.word)) = 1
	_, _ = call(unix.SYS_WRITE, p.lock, uintptr(unsafe.Pointer(&p.word)), 8)
}

// serve acknowledges pins until the link is closed. It is the body of a
// goroutine, which the Conn waits for.
//
//go:nosplit
//go:norace
//go:noinline
func (p *pinner) serve() {
	entersyscall()
	p.loop()
	exitsyscall()
	runtime.KeepAlive(p)
}

//go:nosplit
//go:norace
func (p *pinner) loop() {
	why := stateLive
	for why == stateLive {
		if why = p.read(); why != stateLive {
			break
		}
		for p.begin = 0; why == stateLive && p.nextLine(); p.begin = p.end + 1 {
			why = p.handle()
		}
		p.have = put(p.buf[:], p.buf[p.begin:p.have])
		if p.have >= maxLine {
			why = stateProtocol
		}
	}
	p.take()
	_ = p.fail(why)
	p.release()
	_, _ = call(unix.SYS_CLOSE, p.lines, 0, 0)
}

// read reads from the link.
//
//go:nosplit
//go:norace
func (p *pinner) read() state {
	n, errno := call(unix.SYS_READ, p.link, uintptr(unsafe.Pointer(&p.buf))+uintptr(p.have), uintptr(len(p.buf)-p.have))
	if errno != 0 {
		p.lost = errno
		return stateLost
	}
	if n == 0 {
		return stateDown
	}
	p.have += int(n)
	return stateLive
}

// nextLine looks for the end of the line that begins at begin.
//
//go:nosplit
//go:norace
func (p *pinner) nextLine() bool {
	for p.end = p.begin; p.end < p.have; p.end++ {
		if p.buf[p.end] == '\n' {
			return true
		}
	}
	return false
}

// handle does what the line buf[begin:end] says. It returns what becomes of the
// pinner: what is not understood, or has nobody to be passed on to, ends it.
//
//go:nosplit
//go:norace
func (p *pinner) handle() state {
	stream, msg, ok := parseStream(p.buf[p.begin:p.end])
	if !ok || p.end-p.begin >= maxLine {
		return stateProtocol
	}
	if stream%2 == 1 || stream == 0 {
		_, errno := call(unix.SYS_WRITE, p.lines, uintptr(unsafe.Pointer(&p.buf))+uintptr(p.begin), uintptr(p.end+1-p.begin))
		if errno != 0 {
			return stateProtocol
		}
		return stateLive
	}
	why := stateProtocol
	if parsePin(p.buf[p.begin+msg:p.end], &p.pin) {
		why = statePin
	}
	p.take()
	// If the pin cannot be applied all mappings end. Then, too, the server may
	// go on: nothing shows wrong data. Only if not even that is possible the
	// pin must not be acknowledged.
	done := why == statePin && p.setPin(p.pin.oid, p.pin.blk, p.pin.rev, false) || p.fail(why)
	p.release()
	if done {
		p.acknowledge(msg)
	}
	return stateLive
}

// acknowledge answers the line, whose message is at index msg of it.
//
//go:nosplit
//go:norace
func (p *pinner) acknowledge(msg int) {
	n := put(p.ack[:], p.buf[p.begin:p.begin+msg])
	*(*[4]byte)(p.ack[n:]) = [4]byte{'a', 'c', 'k', '\n'}
	// If this fails the link is down, which the next read will tell.
	_, _ = call(unix.SYS_WRITE, p.link, uintptr(unsafe.Pointer(&p.ack)), uintptr(n+4))
}

// fail makes all mappings fault, for good. The first reason is kept. It returns
// false if a mapping may still show data. Requires: lock.
//
//go:nosplit
//go:norace
func (p *pinner) fail(why state) (done bool) {
	if p.state == stateLive {
		p.state = why
		if why == stateLost {
			p.errno = p.lost
		}
		if why != stateClosed {
			// An empty line: who reads the pipe has to find out what happened.
			p.word[0] = '\n'
			_, _ = call(unix.SYS_WRITE, p.lines, uintptr(unsafe.Pointer(&p.word)), 1)
		}
	}
	return p.fault(-1)
}

// setPin notes what a block is pinned to, and maps it so. A file that is not
// known has nothing mapped. It returns false after an error. Requires: lock.
//
//go:nosplit
//go:norace
func (p *pinner) setPin(oid uint64, blk int64, rev uint64, own bool) bool {
	if p.state != stateLive {
		return p.fault(-1) // what could not be made to fault may be possible now
	}
	file := p.find(oid)
	if file < 0 {
		return true
	}
	if p.errno = p.pins.reserve(); p.errno != 0 {
		return false
	}
	p.pins.set(oid, blk, rev, own)
	for i := int64(0); i < p.nmaps; i++ {
		m := p.mapping(i)
		if m.addr == 0 || m.file != file || blk < m.start || blk >= m.stop {
			continue
		}
		if rev == toHead {
			p.errno = p.base(m, blk, blk+1)
		} else {
			p.errno = p.place(m, blk, rev)
		}
		if p.errno != 0 {
			return false
		}
	}
	return true
}

// find returns the index of file oid, -1 if it is not known. Requires: lock.
//
//go:nosplit
//go:norace
func (p *pinner) find(oid uint64) int64 {
	for i := int64(0); i < p.nfiles; i++ {
		if f := p.file(i); f.used && f.oid == oid {
			return i
		}
	}
	return -1
}

// place maps one block of m from revision rev. Requires: lock.
//
//go:nosplit
//go:norace
func (p *pinner) place(m *mapEntry, blk int64, rev uint64) syscall.Errno {
	f := p.file(m.file)
	if errno := p.openPast(f.oid, rev); errno != 0 {
		return errno
	}
	a := &p.area
	a.addr, a.size, a.prot = m.addr+uintptr((blk-m.start)*f.blksize), uintptr(f.blksize), unix.PROT_READ
	a.off, a.huge = blk*f.blksize, f.blksize%hugePage == 0
	if a.fd = p.past; p.stat.Size/f.blksize <= blk {
		a.fd = noFd
	}
	errno := syscall.Errno(unix.EPROTO)
	if int64(p.stat.Blksize) == f.blksize {
		errno = a.mapIt()
	}
	_, _ = call(unix.SYS_CLOSE, p.past, 0, 0)
	return errno
}

// openPast opens a file of a past view, and looks at it. Requires: lock.
//
//go:nosplit
//go:norace
func (p *pinner) openPast(oid, rev uint64) (errno syscall.Errno) {
	const middle, length = 17 + len("/bigfile/"), 17 + len("/bigfile/") + 16
	p.path[0] = '@'
	putHex16((*[16]byte)(p.path[1:17]), rev)
	*(*[9]byte)(p.path[17:middle]) = [9]byte{'/', 'b', 'i', 'g', 'f', 'i', 'l', 'e', '/'}
	putHex16((*[16]byte)(p.path[middle:length]), oid)
	p.path[length] = 0
	p.past, errno = call(unix.SYS_OPENAT, p.dir, uintptr(unsafe.Pointer(&p.path)), unix.O_RDONLY|unix.O_CLOEXEC)
	if errno != 0 {
		return errno
	}
	if _, errno = call(unix.SYS_FSTAT, p.past, uintptr(unsafe.Pointer(&p.stat)), 0); errno != 0 {
		_, _ = call(unix.SYS_CLOSE, p.past, 0, 0)
	}
	return errno
}

// base maps blocks of m, all of which it has, as if none were pinned: from
// head/ as far as that goes, and as zeros from there on. Requires: lock.
//
//go:nosplit
//go:norace
func (p *pinner) base(m *mapEntry, start, stop int64) syscall.Errno {
	f, a := p.file(m.file), &p.area
	a.prot, a.huge = unix.PROT_READ, f.blksize%hugePage == 0
	middle := max(start, min(stop, f.nblk))
	if start < middle {
		a.addr, a.size = m.addr+uintptr((start-m.start)*f.blksize), uintptr((middle-start)*f.blksize)
		a.fd, a.off = f.fd, start*f.blksize
		if errno := a.mapIt(); errno != 0 {
			return errno
		}
	}
	if middle < stop {
		a.addr, a.size = m.addr+uintptr((middle-m.start)*f.blksize), uintptr((stop-middle)*f.blksize)
		a.fd = noFd
		return a.mapIt()
	}
	return 0
}

// show maps blocks of m as they should be, pins included. Requires: lock.
//
//go:nosplit
//go:norace
func (p *pinner) show(m *mapEntry, start, stop int64) syscall.Errno {
	if errno := p.base(m, start, stop); errno != 0 {
		return errno
	}
	oid, slots := p.file(m.file).oid, p.pins.slots()
	few := uint64(stop-start) <= slots // blocks to look for, else slots to look at
	n := slots
	if few {
		n = uint64(stop - start)
	}
	for i := uint64(0); i < n; i++ {
		var e *pinEntry
		if few {
			e = p.pins.get(oid, start+int64(i))
		} else {
			e = p.pins.slot(i)
		}
		if e != nil && e.used && e.rev != toHead && e.oid == oid && start <= e.blk && e.blk < stop {
			if errno := p.place(m, e.blk, e.rev); errno != 0 {
				return errno
			}
		}
	}
	return 0
}

// fault makes all mappings of a file, or of all if file is -1, fault, and forgets
// them. It returns false if that was not possible for some. Requires: lock.
//
//go:nosplit
//go:norace
func (p *pinner) fault(file int64) (done bool) {
	done = true
	a := &p.area
	for i := int64(0); i < p.nmaps; i++ {
		m := p.mapping(i)
		if m.addr == 0 || file != -1 && m.file != file {
			continue
		}
		a.addr, a.size = m.addr, uintptr((m.stop-m.start)*p.file(m.file).blksize)
		a.prot, a.fd = unix.PROT_NONE, noFd
		if errno := a.mapIt(); errno != 0 {
			p.errno, done = errno, false
		} else {
			m.addr = 0
		}
	}
	return done
}
