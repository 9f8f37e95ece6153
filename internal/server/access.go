package server

import (
	"os"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/wcfs/wcfs/internal/fusefs"
	"github.com/wcfs/wcfs/internal/storage"
)

// dataFileOf returns the file that a database is, "" if it is none.
func dataFileOf(store storage.Storage) string {
	if s, ok := store.(interface{ DataFile() string }); ok {
		return s.DataFile()
	}
	return ""
}

// accessLike lets those read the mount who may read the file path. That is as of now:
// later changes of the file are not looked at. Of what is no file here the user of the
// server decides, who lets in all.
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
