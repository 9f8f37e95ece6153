package mount

import (
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/wcfs/wcfs/internal/storage"
)

// Root is where the usual mount points are, shared by all users of the host.
const Root = "/dev/shm/wcfs"

// Point returns the usual mount point for the database zurl. Every client
// computes the same one: Root and the sha1 of the normalised url.
func Point(zurl string) (string, error) {
	normal, err := storage.Normalize(zurl)
	if err != nil {
		return "", err
	}
	sum := sha1.Sum([]byte(normal))
	return filepath.Join(Root, hex.EncodeToString(sum[:])), nil
}

// Place is a directory that is ready to be mounted on.
type Place struct {
	Dir     string // absolute
	Cleared bool   // of the mount of a server that is dead
	remove  bool   // Dir at the end, since Prepare has made it
	lock    *os.File
}

// Prepare checks that something can be mounted on dir: an empty directory with
// nothing mounted on it, and no other server that is about to. With create the
// last element of dir is made when it is missing. The caller has to call Remove
// when nothing is mounted there any more. Errors are *Error.
func Prepare(dir string, create bool) (*Place, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("mount point %s: %w", dir, err)
	}
	// mountinfo is asked before the directory is: a dead server makes stat fail.
	// It has resolved paths only.
	cleared, err := clearDead(dir)
	if err != nil {
		return nil, err
	}
	if real, err := filepath.EvalSymlinks(dir); err == nil && real != dir {
		dir = real
		if cleared, err = clearDead(dir); err != nil {
			return nil, err
		}
	}
	place := &Place{Dir: dir, Cleared: cleared}
	made := false
	if create {
		if made, err = makeDir(dir); err != nil {
			return nil, err
		}
	}
	if place.lock, err = lockDir(dir); err == nil {
		place.remove = made // without the lock it is the place of somebody else by now
		if err = checkNotMounted(dir); err == nil {
			err = checkEmptyDir(dir)
		}
	}
	if err != nil {
		place.Remove()
		if create && errors.Is(err, fs.ErrNotExist) { // it was there a moment ago
			return nil, otherWCFS(dir, err)
		}
		return nil, err
	}
	return place, nil
}

// Remove removes the directory if Prepare has made it, and lets others mount there.
func (p *Place) Remove() {
	if p.remove {
		_ = unix.Rmdir(p.Dir) // not empty or mounted again: somebody else's now
	}
	if p.lock != nil {
		p.lock.Close()
	}
}

// lockDir makes sure that of several servers that start on dir at the same time
// one goes on. The lock is on the directory itself, below the mount to come: it
// needs no file, and the kernel lets go of it with the process.
func lockDir(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, badDir(dir, err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == unix.EWOULDBLOCK || !isDir(f, dir) {
		f.Close()
		return nil, otherWCFS(dir, err)
	}
	return f, nil // filesystems that cannot lock are left to the check before mount(2)
}

func otherWCFS(dir string, err error) *Error {
	return &Error{Reason: AlreadyMounted, Dir: dir, Msg: "another wcfs is starting or ending there", Hint: "try again", Err: err}
}

// isDir reports whether f is what dir names. It is not if a server that ended
// has removed dir since f was opened, and somebody made it again.
func isDir(f *os.File, dir string) bool {
	is, err := f.Stat()
	named, errNamed := os.Stat(dir)
	return err == nil && errNamed == nil && os.SameFile(is, named)
}

func makeDir(dir string) (made bool, err error) {
	if filepath.Dir(dir) == Root {
		if err := makeRoot(); err != nil {
			return false, badDir(Root, err)
		}
	}
	switch err := os.Mkdir(dir, 0o755); {
	case err == nil:
		return true, nil
	case errors.Is(err, fs.ErrExist):
		return false, nil
	default:
		return false, badDir(dir, err)
	}
}

// makeRoot makes Root usable by all users, each owning what is theirs.
func makeRoot() error {
	if err := os.Mkdir(Root, 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	var st unix.Stat_t
	if err := unix.Lstat(Root, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return unix.ENOTDIR // also a symlink: who made it would choose where we mount
	}
	if int(st.Uid) == os.Geteuid() && st.Mode&0o7777 != 0o1777 {
		return os.Chmod(Root, 0o777|fs.ModeSticky)
	}
	return nil
}

func checkNotMounted(dir string) error {
	top, err := topmost(dir)
	if err != nil {
		return fmt.Errorf("mount point %s: read mountinfo: %w", dir, err)
	}
	if top == nil {
		return nil
	}
	hint := "choose another directory"
	if top.FSType == FSType {
		hint = "use it, or unmount it first: umount " + dir
	}
	return &Error{Reason: AlreadyMounted, Dir: dir,
		Msg: fmt.Sprintf("already mounted: %s (type %s)", storage.Redact(top.Source), top.FSType), Hint: hint}
}

func checkEmptyDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return badDir(dir, err)
	}
	defer f.Close()
	switch _, err := f.ReadDir(1); {
	case err == io.EOF:
		return nil
	case err == nil:
		return &Error{Reason: BadMountpoint, Dir: dir, Msg: "not empty", Hint: "choose an empty directory"}
	default:
		return badDir(dir, err)
	}
}

// badDir puts err, met while looking at dir, into words.
func badDir(dir string, err error) error {
	e := &Error{Reason: BadMountpoint, Dir: dir, Msg: err.Error(), Err: err}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		e.Msg, e.Hint = "does not exist", "create it: mkdir "+dir
	case errors.Is(err, unix.ENOTDIR):
		e.Msg, e.Hint = "not a directory", "choose an empty directory"
	case errors.Is(err, fs.ErrPermission):
		e.Msg, e.Hint = "permission denied", "choose a directory you own"
	}
	return e
}
