package client

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The tables of a pinner are in memory of their own, since they must be able to
// grow where Go's memory cannot be allocated. See syscall.go.

// array is memory that grows. New memory is zero.
type array struct{ addr, size uintptr }

//go:nosplit
//go:norace
func (a *array) grow(size uintptr) syscall.Errno {
	var addr uintptr
	var errno syscall.Errno
	if a.addr == 0 {
		addr, _, errno = syscall.RawSyscall6(unix.SYS_MMAP, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS, noFd, 0)
	} else {
		addr, _, errno = syscall.RawSyscall6(unix.SYS_MREMAP, a.addr, a.size, size, unix.MREMAP_MAYMOVE, 0, 0)
	}
	if errno == 0 {
		a.addr, a.size = addr, size
	}
	return errno
}

//go:nosplit
//go:norace
func (a *array) free() {
	if a.addr != 0 {
		_, _ = call(unix.SYS_MUNMAP, a.addr, a.size, 0)
		*a = array{}
	}
}

// firstSize is the size of a table that gets its first entry.
const firstSize = 16 << 10

// fileEntry is a file that is watched, or about to be.
type fileEntry struct {
	used    bool
	oid     uint64
	fd      uintptr // of head/
	blksize int64
	nblk    int64 // whole blocks of head/ that mappings use; zeros follow
}

// mapEntry is a mapping that shows data. Its address is 0 if it is none.
type mapEntry struct {
	addr        uintptr
	file        int64
	start, stop int64 // blocks
}

//go:nosplit
//go:norace
//go:nocheckptr
func (p *pinner) file(i int64) *fileEntry {
	return (*fileEntry)(pointer(p.files.addr + uintptr(i)*unsafe.Sizeof(fileEntry{})))
}

//go:nosplit
//go:norace
//go:nocheckptr
func (p *pinner) mapping(i int64) *mapEntry {
	return (*mapEntry)(pointer(p.maps.addr + uintptr(i)*unsafe.Sizeof(mapEntry{})))
}

// newFile returns the index of an unused entry.
//
//go:nosplit
//go:norace
func (p *pinner) newFile() (int64, syscall.Errno) {
	for i := int64(0); i < p.nfiles; i++ {
		if !p.file(i).used {
			return i, 0
		}
	}
	if uintptr(p.nfiles+1)*unsafe.Sizeof(fileEntry{}) > p.files.size {
		if errno := p.files.grow(max(2*p.files.size, firstSize)); errno != 0 {
			return 0, errno
		}
	}
	p.nfiles++
	return p.nfiles - 1, 0
}

// newMapping returns the index of an unused entry.
//
//go:nosplit
//go:norace
func (p *pinner) newMapping() (int64, syscall.Errno) {
	for i := int64(0); i < p.nmaps; i++ {
		if p.mapping(i).addr == 0 {
			return i, 0
		}
	}
	if uintptr(p.nmaps+1)*unsafe.Sizeof(mapEntry{}) > p.maps.size {
		if errno := p.maps.grow(max(2*p.maps.size, firstSize)); errno != 0 {
			return 0, errno
		}
	}
	p.nmaps++
	return p.nmaps - 1, 0
}

// pinEntry says that a block is not shown from head/.
type pinEntry struct {
	used bool
	own  bool // not demanded by the server
	oid  uint64
	blk  int64
	rev  uint64 // toHead if it is not pinned any more
}

// pinTable is a hash table with open addressing. Entries are not removed before
// it grows, which keeps searching simple.
type pinTable struct {
	array
	mask uint64 // number of slots - 1
	used uint64
}

//go:nosplit
//go:norace
//go:nocheckptr
func (t *pinTable) slot(i uint64) *pinEntry {
	return (*pinEntry)(pointer(t.addr + uintptr(i)*unsafe.Sizeof(pinEntry{})))
}

// slots returns how many there are.
//
//go:nosplit
//go:norace
func (t *pinTable) slots() uint64 {
	if t.addr == 0 {
		return 0
	}
	return t.mask + 1
}

// find returns the entry of a block, or an unused one in its place. There must
// be memory.
//
//go:nosplit
//go:norace
func (t *pinTable) find(oid uint64, blk int64) *pinEntry {
	hash := (oid*0x9e3779b97f4a7c15 ^ uint64(blk)) * 0xd6e8feb86659fd93
	for i := hash ^ hash>>32; ; i++ {
		e := t.slot(i & t.mask)
		if !e.used || e.oid == oid && e.blk == blk {
			return e
		}
	}
}

// get returns the pinned block, or nil.
//
//go:nosplit
//go:norace
func (t *pinTable) get(oid uint64, blk int64) *pinEntry {
	if t.addr == 0 {
		return nil
	}
	if e := t.find(oid, blk); e.used && e.rev != toHead {
		return e
	}
	return nil
}

// set pins a block, or notes that it is not any more. There must be room.
//
//go:nosplit
//go:norace
func (t *pinTable) set(oid uint64, blk int64, rev uint64, own bool) {
	if e := t.get(oid, blk); e != nil { // the table stays as it is: callers may walk it
		e.rev, e.own = rev, own
		return
	}
	e := t.find(oid, blk)
	if !e.used {
		t.used++
	}
	e.used, e.own, e.oid, e.blk, e.rev = true, own, oid, blk, rev
}

// reserve makes room for one more block. If there is none, it moves what is
// pinned to a table with room for as much again.
//
//go:nosplit
//go:norace
func (t *pinTable) reserve() syscall.Errno {
	if 2*(t.used+1) <= t.slots() {
		return 0
	}
	pinned := uint64(0)
	for i := uint64(0); i < t.slots(); i++ {
		if e := t.slot(i); e.used && e.rev != toHead {
			pinned++
		}
	}
	slots := uint64(256)
	for slots < 4*(pinned+1) {
		slots *= 2
	}
	var old array
	old, t.array = t.array, old
	if errno := t.grow(uintptr(slots) * unsafe.Sizeof(pinEntry{})); errno != 0 {
		t.array = old
		return errno
	}
	n := t.mask + 1
	t.mask, t.used = slots-1, 0
	for i := uint64(0); old.addr != 0 && i < n; i++ {
		e := (*pinEntry)(pointer(old.addr + uintptr(i)*unsafe.Sizeof(pinEntry{})))
		if e.used && e.rev != toHead {
			*t.find(e.oid, e.blk) = *e
			t.used++
		}
	}
	old.free()
	return 0
}
