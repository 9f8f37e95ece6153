package fusefs

import (
	"fmt"
	"os"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// Access says who may read the tree. Zero is for a mount that lets in nobody but the
// user of the server.
type Access struct {
	Others   bool   // the mount lets in other users, and the kernel enforces modes
	UID, GID uint32 // whose the database is
	Read     uint32 // who may read it, as bits of 0o444
}

// String says who that is.
func (a Access) String() string {
	return fmt.Sprintf("uid %d, gid %d, mode %04o", a.UID, a.GID, a.Read)
}

const (
	readBits    = 0o444
	ownReadBits = 0o400
)

// orOwn returns a, or what a mount without other users shows: there the kernel does
// not look at modes.
func (a Access) orOwn() Access {
	if a.Others {
		a.Read &= readBits
		return a
	}
	return Access{UID: uint32(os.Getuid()), GID: uint32(os.Getgid()), Read: readBits}
}

// file says that out is a file for all who may read the database.
func (a Access) file(out *fuse.Attr) {
	out.Mode, out.Uid, out.Gid = fuse.S_IFREG|a.Read, a.UID, a.GID
}

// dir says that out is a directory for them.
func (a Access) dir(out *fuse.Attr) {
	out.Mode, out.Uid, out.Gid = fuse.S_IFDIR|a.Read|a.Read>>2, a.UID, a.GID
}

// link says that out is a file for them to talk to the server.
func (a Access) link(out *fuse.Attr) {
	a.file(out)
	if a.Others {
		out.Mode |= a.Read >> 1
	} else {
		out.Mode |= 0o200
	}
}

// own says that out, a file or directory by kind, tells about other processes: that
// is for the user of the server.
func (a Access) own(out *fuse.Attr, kind uint32) {
	read := uint32(readBits)
	if a.Others {
		read = ownReadBits
	}
	if kind == fuse.S_IFDIR {
		read |= read >> 2
	}
	out.Mode, out.Uid, out.Gid = kind|read, uint32(os.Getuid()), uint32(os.Getgid())
}
