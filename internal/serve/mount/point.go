package mount

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/wcfs/wcfs/internal/zodb/fault"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

const (
	// Root is where the usual mount points are, shared by all users of the host.
	Root = "/dev/shm/wcfs"

	// ownRoot, followed by a user id, is where the mount points of one user are.
	ownRoot = Root + "-"

	// sharedMode and ownMode are those of the two.
	sharedMode = 0o777 | unix.S_ISVTX
	ownMode    = 0o700

	// pointPrefix and a directory are what errors about a mount point begin with.
	pointPrefix = "mount point "
)

// Point returns the usual mount point for the database zurl. Every client
// computes the same one: Root and the sha1 of the normalised url.
func Point(zurl string) (string, error) { return pointBelow(Root, zurl) }

// Points returns where this user may have the database mounted when no place is
// named: the usual mount point, and one that other users cannot take, for when
// the usual one is another user's.
func Points(zurl string) ([]string, error) {
	usual, err := Point(zurl)
	if err != nil {
		return nil, err
	}
	own, err := pointBelow(fmt.Sprint(ownRoot, os.Geteuid()), zurl)
	return []string{usual, own}, err
}

func pointBelow(root, zurl string) (string, error) {
	normal, err := storage.Normalize(zurl)
	if err != nil {
		return "", err
	}
	sum := sha1.Sum([]byte(normal))
	return filepath.Join(root, hex.EncodeToString(sum[:])), nil
}

// Choose returns which of Points a new server has to take. foreign says why it is
// not the usual one. Nothing is made.
func Choose(zurl string) (dir, foreign string, err error) {
	points, err := Points(zurl)
	if err != nil {
		return "", "", err
	}
	if e := foreignAt(points[0]); e != nil {
		return points[1], strings.TrimPrefix(e.About, pointPrefix) + ": " + e.Msg, nil
	}
	return points[0], "", nil
}

// IsManaged reports whether dir is at a place that Points may name, for any user.
// Other users may put there what they like, so nothing is followed there.
func IsManaged(dir string) bool {
	root := filepath.Dir(dir)
	if root == Root {
		return true
	}
	uid, ok := strings.CutPrefix(root, ownRoot)
	return ok && uid != "" && strings.Trim(uid, "0123456789") == ""
}

// foreignAt returns an error if the managed place dir is another user's.
func foreignAt(dir string) *fault.Error {
	if top, err := topmost(dir); err == nil && top != nil {
		if isOthers(top) {
			return foreignMount(dir, userID(top.VFSOptions))
		}
		return nil // ours, or for all; the directory below cannot be looked at
	}
	root, err := openRoot(filepath.Dir(dir), false)
	if err != nil {
		return asForeign(err)
	}
	defer root.Close()
	var st unix.Stat_t
	switch err := unix.Fstatat(int(root.Fd()), filepath.Base(dir), &st, unix.AT_SYMLINK_NOFOLLOW); {
	case err == nil && int(st.Uid) != os.Geteuid():
		return foreign(dir, int(st.Uid))
	case err == nil:
		return nil
	}
	if err := unix.Faccessat(int(root.Fd()), ".", unix.W_OK|unix.X_OK, unix.AT_EACCESS); err == unix.EACCES {
		var st unix.Stat_t
		_ = unix.Fstat(int(root.Fd()), &st)
		return foreign(filepath.Dir(dir), int(st.Uid))
	}
	return nil
}

// openRoot opens the directory of managed places, which is made if that is wanted.
// Anything else that another user may have put there is refused.
func openRoot(root string, create bool) (*os.File, error) {
	shm, err := openPath(unix.AT_FDCWD, filepath.Dir(root), 0)
	if err != nil {
		return nil, badDir(filepath.Dir(root), err)
	}
	defer shm.Close()
	mode := uint32(sharedMode)
	if root != Root {
		mode = ownMode
	}
	base := filepath.Base(root)
	if create {
		if err := unix.Mkdirat(int(shm.Fd()), base, mode); err != nil && err != unix.EEXIST {
			return nil, badDir(root, &fs.PathError{Op: "mkdir", Path: root, Err: err})
		}
	}
	dir, err := openPath(int(shm.Fd()), base, unix.O_NOFOLLOW)
	if err != nil {
		return nil, badEntry(shm, root, err)
	}
	err = checkRoot(dir, root)
	if err == nil && create {
		err = setMode(dir, mode)
	}
	if err != nil {
		_ = dir.Close()
		return nil, err
	}
	return dir, nil
}

// checkRoot makes sure of the owner of a directory of managed places. The shared
// one may belong to anybody, if it keeps users from removing what is not theirs.
func checkRoot(dir *os.File, root string) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(dir.Fd()), &st); err != nil {
		return badDir(root, err)
	}
	switch {
	case int(st.Uid) == os.Geteuid():
		return nil
	case root != Root:
		return foreign(root, int(st.Uid))
	case st.Mode&0o002 != 0 && st.Mode&unix.S_ISVTX == 0:
		return &fault.Error{Kind: fault.ForeignPoint, About: pointPrefix + root,
			Msg:  fmt.Sprintf("anybody may remove what is in it (mode %o)", st.Mode&0o7777),
			Hint: "its owner, " + UserName(int(st.Uid)) + ", should say: chmod 1777 " + root}
	}
	return nil
}

// setMode gives a directory that is ours the mode that the umask has a say in.
func setMode(dir *os.File, mode uint32) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(dir.Fd()), &st); err != nil {
		return badDir(dir.Name(), err)
	}
	if int(st.Uid) != os.Geteuid() || st.Mode&0o7777 == mode {
		return nil
	}
	if err := unix.Chmod(selfFD(dir), mode); err != nil {
		return badDir(dir.Name(), err)
	}
	return nil
}

// badEntry says why path, which is in the directory parent, cannot be opened. At
// managed places it may be anything, and anybody's.
func badEntry(parent *os.File, path string, err error) error {
	managed := IsManaged(path) || IsManaged(path+"/x")
	var st unix.Stat_t
	if !managed || unix.Fstatat(int(parent.Fd()), filepath.Base(path), &st, unix.AT_SYMLINK_NOFOLLOW) != nil || st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return badDir(path, err)
	}
	kind := "not a directory"
	if st.Mode&unix.S_IFMT == unix.S_IFLNK {
		kind = "a symbolic link, which is not followed here"
	}
	return &fault.Error{Kind: fault.ForeignPoint, About: pointPrefix + path, Err: err,
		Msg: fmt.Sprintf("%s; it belongs to %s", kind, UserName(int(st.Uid))), Hint: "remove it: rm " + path}
}
