package client

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// This file lets a goroutine do many system calls as if they were one. Between
// entersyscall and exitsyscall the runtime takes the thread for one that is in
// the kernel: stopping the world does not wait for it, and it needs no processor
// to go on. In exchange nothing may be done there that needs the runtime. Every
// function that runs there
//
//   - is nosplit, since the stack cannot grow,
//   - writes no pointers to the heap, since there may be no processor to note
//     them for the garbage collector, and allocates nothing,
//   - is norace and uses no package sync: the race detector needs a processor.
//     With it, copy and comparisons with strings would call the runtime, too,
//   - uses no more than a few hundred bytes of stack, which the linker checks.
//     So calls are not nested deeply, and what could be an argument or a
//     variable is often a field.
//
// Package syscall does the same around each single call. The runtime keeps both
// functions available for that use.

//go:linkname entersyscall runtime.entersyscall
func entersyscall()

//go:linkname exitsyscall runtime.exitsyscall
func exitsyscall()

// call does a system call, again if a signal interrupts it.
//
//go:nosplit
//go:norace
func call(trap, a, b, c uintptr) (uintptr, syscall.Errno) {
	for {
		r, _, errno := syscall.RawSyscall6(trap, a, b, c, 0, 0, 0)
		if errno != unix.EINTR {
			return r, errno
		}
	}
}

// area is memory with what to map there.
type area struct {
	addr, size uintptr
	prot       uintptr
	fd         uintptr // noFd for memory that reads as zeros
	off        int64   // in the file
	huge       bool    // load whole huge pages
}

// noFd is the descriptor of no file.
const noFd = ^uintptr(0)

// hugePage is how much the kernel loads at once where it is asked to.
const hugePage = 2 << 20

// nothing are the flags of memory without a file, which costs nothing as long as
// it is not written to.
const nothing = unix.MAP_PRIVATE | unix.MAP_ANONYMOUS | unix.MAP_NORESERVE

// mapIt maps over what is there.
//
// Where blocks are made of whole huge pages, each page fault shall ask the
// server for one aligned huge page. Random alone would ask for single small
// pages, so it is not given if the kernel knows no huge pages. Advice that is
// not taken costs time only.
//
//go:nosplit
//go:norace
func (a *area) mapIt() (errno syscall.Errno) {
	if a.fd == noFd {
		_, _, errno = syscall.RawSyscall6(unix.SYS_MMAP, a.addr, a.size, a.prot, nothing|unix.MAP_FIXED, a.fd, 0)
		return errno
	}
	_, _, errno = syscall.RawSyscall6(unix.SYS_MMAP, a.addr, a.size, a.prot, unix.MAP_SHARED|unix.MAP_FIXED, a.fd, uintptr(a.off))
	if errno != 0 || !a.huge {
		return errno
	}
	if _, _, e := syscall.RawSyscall6(unix.SYS_MADVISE, a.addr, a.size, unix.MADV_HUGEPAGE, 0, 0, 0); e == 0 {
		_, _, _ = syscall.RawSyscall6(unix.SYS_MADVISE, a.addr, a.size, unix.MADV_RANDOM, 0, 0, 0)
	}
	return 0
}

// pointer returns the address of memory that is not Go's as a pointer. The
// detour is needed since the usual conversion is only meant for Go's own.
//
//go:nosplit
//go:norace
//go:nocheckptr
func pointer(addr uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&addr)) }
