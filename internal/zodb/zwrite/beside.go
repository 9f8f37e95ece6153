package zwrite

import (
	"os"
	"syscall"
)

// likeness says whose the files beside a data file are: those of its owner and group,
// open to whom it is open. Otherwise the owner is locked out, and others can read
// what they must not. The zero likeness leaves that to the process.
type likeness struct {
	known    bool
	uid, gid int
	mode     os.FileMode
}

func likenessOf(fi os.FileInfo) likeness {
	st := fi.Sys().(*syscall.Stat_t)
	return likeness{known: true, uid: int(st.Uid), gid: int(st.Gid), mode: fi.Mode().Perm() & 0o666}
}

// nlink returns how many names a file has in its directories.
func nlink(fi os.FileInfo) uint64 { return uint64(fi.Sys().(*syscall.Stat_t).Nlink) }

// fileID returns the numbers that no other file has.
func fileID(fi os.FileInfo) (dev, ino uint64) {
	st := fi.Sys().(*syscall.Stat_t)
	return uint64(st.Dev), st.Ino
}

// create creates a file, which must not exist, for writing.
func (l likeness) create(path string) (*os.File, error) {
	mode := os.FileMode(0o666)
	if l.known {
		mode = 0o600 // until it has its owner
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, mode)
	if err == nil && l.known {
		l.give(f)
	}
	return f, err
}

// give makes f look alike as far as the process may do that. If it may not give it to
// the group, the group has no more rights than all others.
func (l likeness) give(f *os.File) {
	mode := l.mode | 0o600 // a data file that is not writable now may be so later
	if f.Chown(l.uid, l.gid) != nil && f.Chown(-1, l.gid) != nil {
		mode = mode&^0o070 | mode&0o007<<3
	}
	_ = f.Chmod(mode) // not with every filesystem
}
