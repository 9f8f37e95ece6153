package observe

import "golang.org/x/sys/unix"

// Op is a kind of request.
type Op uint8

const (
	Lookup Op = iota
	GetAttr
	Open
	Read
	StreamRead // of a file whose every open is a stream
	Write
	Flush
	Release
	OpenDir
	ReadDir
	ReleaseDir
	StatFs
	Access
	Fsync
	Lseek
	Ioctl
	Lock
	Statx
	Readlink
	SetAttr
	Create
	Mknod
	Mkdir
	Unlink
	Rmdir
	Rename
	Link
	Symlink
	Fallocate
	CopyFileRange
	ops // how many there are
)

var opNames = [ops]string{"lookup", "getattr", "open", "read", "stream_read", "write", "flush", "release",
	"opendir", "readdir", "releasedir", "statfs", "access", "fsync", "lseek", "ioctl", "lock", "statx", "readlink",
	"setattr", "create", "mknod", "mkdir", "unlink", "rmdir", "rename", "link", "symlink", "fallocate", "copy_file_range"}

func (op Op) String() string { return opNames[op] }

// usual are the ops that every server gets: they are shown from the beginning.
var usual = []Op{Lookup, GetAttr, Open, Read, StreamRead, Write, Release, ReadDir}

// errnoName returns OK, or the name of an errno.
func errnoName(e unix.Errno) string {
	if e == 0 {
		return "OK"
	}
	if name := unix.ErrnoName(e); name != "" {
		return name
	}
	return "other"
}
