package mount

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/wcfs/wcfs/internal/serve/proc"
)

// directory is an open directory that is to be mounted on, and the one it is in.
// All operations use these descriptors, and not whatever the path leads to by
// then.
type directory struct {
	path   string
	parent *os.File // O_PATH
	self   *os.File // below the mount to come
	made   bool     // by us

	anybodys bool // it is only to be removed, whoever it belongs to
}

// openDirectory opens the directory path, which must not be mounted on. With
// create it is made when it is missing. Its last element is not followed.
func openDirectory(path string, create bool) (d *directory, err error) {
	d = &directory{path: path}
	if IsManaged(path) {
		d.parent, err = openRoot(filepath.Dir(path), create)
	} else if d.parent, err = openPath(unix.AT_FDCWD, filepath.Dir(path), 0); err != nil {
		err = badDir(path, err)
	}
	if err != nil {
		return nil, err
	}
	if create {
		if err := d.make(); err != nil {
			d.close()
			return nil, err
		}
	}
	if err := d.open(); err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

// openLeftOver opens a directory at a managed place for being removed.
func openLeftOver(path string) (*directory, error) {
	shm, err := openPath(unix.AT_FDCWD, filepath.Dir(Root), 0)
	if err != nil {
		return nil, err
	}
	defer shm.Close()
	d := &directory{path: path, anybodys: true}
	if d.parent, err = openPath(int(shm.Fd()), filepath.Base(filepath.Dir(path)), unix.O_NOFOLLOW); err != nil {
		return nil, err
	}
	if err := d.open(); err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

func (d *directory) base() string { return filepath.Base(d.path) }

// make makes the directory, unless it is there. Others have no business in one
// at a managed place: they could lock it.
func (d *directory) make() error {
	mode := uint32(0o755)
	if IsManaged(d.path) {
		mode = ownMode
	}
	switch err := unix.Mkdirat(int(d.parent.Fd()), d.base(), mode); err {
	case nil:
		d.made = true
		return nil
	case unix.EEXIST:
		return nil
	default:
		return badDir(d.path, &fs.PathError{Op: "mkdir", Path: d.path, Err: err})
	}
}

// open opens the directory itself. A mount that has come onto it meanwhile is
// not asked anything.
func (d *directory) open() error {
	self, err := openPath(int(d.parent.Fd()), d.base(), unix.O_NOFOLLOW)
	if err != nil {
		return badEntry(d.parent, d.path, err)
	}
	defer self.Close()
	if mountID(self) != mountID(d.parent) {
		return &busyError{otherWCFS(d.path, nil)}
	}
	if err := d.checkOwner(self); err != nil {
		return err
	}
	fd, err := unix.Openat(int(self.Fd()), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return badDir(d.path, err)
	}
	d.self = os.NewFile(uintptr(fd), d.path)
	return nil
}

// checkOwner refuses a directory of another user at a managed place, and keeps
// others out of ours.
func (d *directory) checkOwner(self *os.File) error {
	if !IsManaged(d.path) || d.anybodys {
		return nil
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(self.Fd()), &st); err != nil {
		return badDir(d.path, err)
	}
	if int(st.Uid) != os.Geteuid() {
		return foreign(d.path, int(st.Uid))
	}
	return setMode(self, ownMode)
}

// isNamed reports whether the directory is still what the path names in its
// parent. It is not if a server that ended has removed it since, and somebody
// made it again.
func (d *directory) isNamed() bool {
	var is, named unix.Stat_t
	return unix.Fstat(int(d.self.Fd()), &is) == nil &&
		unix.Fstatat(int(d.parent.Fd()), d.base(), &named, unix.AT_SYMLINK_NOFOLLOW) == nil &&
		is.Dev == named.Dev && is.Ino == named.Ino
}

// remove removes the directory, if it is empty and nothing is mounted on it.
func (d *directory) remove() { _ = unix.Unlinkat(int(d.parent.Fd()), d.base(), unix.AT_REMOVEDIR) }

// mounted is a path of what is mounted on the directory, for umount(2) with
// UMOUNT_NOFOLLOW.
func (d *directory) mounted() string { return filepath.Join(selfFD(d.parent), d.base()) }

func (d *directory) close() {
	for _, f := range []*os.File{d.self, d.parent} {
		if f != nil {
			_ = f.Close()
		}
	}
}

// openPath opens a directory for use in paths only: that asks no filesystem but
// those on the way there.
func openPath(at int, path string, flags int) (*os.File, error) {
	fd, err := unix.Openat(at, path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC|flags, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// selfFD is a path of exactly the file f, whatever its name leads to by now.
func selfFD(f *os.File) string { return fmt.Sprintf("/proc/self/fd/%d", f.Fd()) }

// mountID returns the number of the mount that an open file is in, 0 if it is not
// known.
func mountID(f *os.File) int {
	id, _ := proc.FDField(os.Getpid(), int(f.Fd()), "mnt_id")
	return id
}
