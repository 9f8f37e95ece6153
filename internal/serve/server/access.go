package server

import (
	"os"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/wcfs/wcfs/internal/serve/fusefs"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// accessTo lets those read the mount who may read all files of the database.
func accessTo(store storage.Storage) fusefs.Access {
	files := storage.DataFiles(store)
	if len(files) == 0 {
		return accessLike("")
	}
	a := accessLike(files[0])
	for _, path := range files[1:] {
		a = both(a, accessLike(path))
	}
	return a
}

// both lets those in whom a and b let in. Where they belong to different users, modes
// cannot say that exactly, and nobody is let in on a guess.
func both(a, b fusefs.Access) fusefs.Access {
	read := a.Read & b.Read
	if a.UID != b.UID {
		if read&0o400 == 0 {
			read &^= 0o044 // one of both owners would be another user to the mount
		}
		a.UID, read = uint32(os.Geteuid()), read|0o400
	}
	if a.GID != b.GID {
		if read&0o040 == 0 {
			read &^= 0o004
		}
		a.GID, read = uint32(os.Getegid()), read&^0o040
	}
	a.Read = read
	if !lets(a) {
		a.UID, a.Read = uint32(os.Geteuid()), a.Read|0o400
	}
	return a
}

// accessLike lets those read the mount who may read the file path. Later changes of
// the file are not looked at. Where path is no file here the user of the server
// decides, who lets in all.
func accessLike(path string) fusefs.Access {
	a := fusefs.Access{Others: true, UID: uint32(os.Geteuid()), GID: uint32(os.Getegid()), Read: 0o444}
	if path == "" {
		return a
	}
	info, err := os.Stat(path)
	if err != nil {
		a.Read = 0o400 // it was there a moment ago; nobody is let in on a guess
		return a
	}
	st := info.Sys().(*syscall.Stat_t)
	a.UID, a.GID, a.Read = st.Uid, st.Gid, st.Mode&0o444
	// With an access list the bits of the group are a mask, and not what the group may.
	if _, err := unix.Getxattr(path, "system.posix_acl_access", nil); err == nil {
		a.Read &^= 0o040
	}
	if !lets(a) {
		a.UID, a.Read = uint32(os.Geteuid()), a.Read|0o400
	}
	return a
}

// lets reports whether the server itself is let in: it has to see its own mount.
func lets(a fusefs.Access) bool {
	groups, _ := os.Getgroups()
	switch {
	case os.Geteuid() == 0:
		return true
	case int(a.UID) == os.Geteuid():
		return a.Read&0o400 != 0
	case int(a.GID) == os.Getegid() || slices.Contains(groups, int(a.GID)):
		return a.Read&0o040 != 0
	}
	return a.Read&0o004 != 0
}
