package zwrite

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// maxLinks is how many symbolic links are followed, as in path_resolution(7).
const maxLinks = 40

// UnsafeError refuses to write to a database that has names of which not all can be
// found, so that nobody knows which lock an application has.
type UnsafeError struct {
	Path string
	Why  string
	Hint string
}

func (e *UnsafeError) Error() string { return fmt.Sprintf("%s %s; %s", e.Path, e.Why, e.Hint) }

// namesOf returns the names that a path leads through: where the file is, and before
// that each symbolic link to it. Directories need not be looked at: the lock is
// in the same one by whatever name of that.
func namesOf(path string) ([]string, error) {
	names := []string{path}
	for range maxLinks {
		target, err := os.Readlink(path)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, os.ErrNotExist) { // no link, or nothing
			slices.Reverse(names)
			return names, nil
		}
		if err != nil {
			return nil, err
		}
		if !filepath.IsAbs(target) {
			dir, err := filepath.EvalSymlinks(filepath.Dir(path)) // so that .. leads where the kernel goes
			if err != nil {
				return nil, err
			}
			target = filepath.Join(dir, target)
		}
		path = filepath.Clean(target)
		names = append(names, path)
	}
	return nil, &os.PathError{Op: "readlink", Path: path, Err: unix.ELOOP}
}

// checkNames returns *UnsafeError if the file, which is at path, has names that are
// no symbolic links.
func checkNames(path string, fi os.FileInfo) error {
	if n := nlink(fi); n > 1 {
		return hardLinked(path, n)
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	// A file can be mounted by any name, but who does that seldom renames it. No
	// mount is touched that cannot be one of a file.
	infos, err := mountinfo.GetMounts(func(info *mountinfo.Info) (skip, stop bool) {
		return info.Mountpoint != real && (info.Root == "/" || filepath.Base(info.Root) != filepath.Base(real)), false
	})
	if err != nil {
		return nil // without /proc nothing is known
	}
	for _, info := range infos {
		other, err := os.Stat(info.Mountpoint)
		if err == nil && os.SameFile(fi, other) {
			return &UnsafeError{Path: path,
				Why:  fmt.Sprintf("is bind mounted by itself at %s, and an application that uses one of these names does not see the lock of the other", info.Mountpoint),
				Hint: "mount its directory instead, or import where the application runs before the file is mounted"}
		}
	}
	return nil
}

func hardLinked(path string, n uint64) error {
	return &UnsafeError{Path: path,
		Why:  fmt.Sprintf("has %d names (hard links), and an application that uses another one does not see the lock of this one", n),
		Hint: fmt.Sprintf("find them with find -samefile %s, and leave the one that the application uses", path)}
}
