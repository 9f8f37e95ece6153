package zwrite

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// lockSuffix makes the name of the lock file from that of the database.
const lockSuffix = ".lock"

// maxPidFile bounds what is taken for a lock file, and overwritten.
const maxPidFile = 64

// locks are the writer's locks of a database, one for each of its names. They tell
// the pid, as Python's zc.lockfile does it.
type locks struct {
	files []*os.File
	made  []string // the lock files that were not there
}

// lock takes the locks of a database, which applications have by any of names. The
// first name is where the file is, so of several writers one gets all. path is for
// messages.
func lock(path string, names []string, like likeness) (_ *locks, err error) {
	l := &locks{}
	defer func() {
		if err != nil {
			l.undo()
		}
	}()
	for _, name := range names {
		if err := l.take(name+lockSuffix, like); err != nil {
			var locked *LockedError
			if errors.As(err, &locked) {
				locked.Path = path
				if name != path {
					locked.Name = name
				}
			}
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
	}
	return l, nil
}

// take locks one file.
func (l *locks) take(file string, like likeness) error {
	for {
		f, made, err := openLock(file, like)
		if err != nil {
			return err
		}
		held, err := l.hold(f, file)
		if held && made {
			l.made = append(l.made, file) // and nobody else has it
		}
		if !held {
			_ = f.Close()
		}
		if err != nil {
			return err
		}
		if held || l.has(file) {
			return nil
		}
	}
}

// hold locks an open lock file. It is not held if it is another name of one that is
// held, or if it is gone: who has it may take it away when it is given up.
func (l *locks) hold(f *os.File, file string) (held bool, err error) {
	if l.has(file) {
		return false, nil
	}
	err = ignoringEINTR(func() error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) })
	if errors.Is(err, unix.EWOULDBLOCK) {
		return false, &LockedError{Pid: readPid(f)}
	}
	if err != nil {
		return false, err
	}
	if now, err := os.Stat(file); errors.Is(err, os.ErrNotExist) || err == nil && !isFile(f, now) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	l.files = append(l.files, f)
	return true, writePid(f)
}

// has reports whether a lock file is held.
func (l *locks) has(file string) bool {
	fi, err := os.Stat(file)
	return err == nil && slices.ContainsFunc(l.files, func(f *os.File) bool { return isFile(f, fi) })
}

func isFile(f *os.File, fi os.FileInfo) bool {
	other, err := f.Stat()
	return err == nil && os.SameFile(other, fi)
}

func openLock(file string, like likeness) (f *os.File, made bool, err error) {
	for {
		f, err = os.OpenFile(file, os.O_RDWR, 0)
		if !errors.Is(err, os.ErrNotExist) {
			return f, false, err
		}
		f, err = like.create(file)
		if !errors.Is(err, os.ErrExist) {
			return f, err == nil, err
		}
		if fi, err := os.Lstat(file); err == nil && fi.Mode()&os.ModeSymlink != 0 {
			return nil, false, &os.PathError{Op: "open", Path: file, Err: errors.New("is a symbolic link to nothing")}
		}
	}
}

// close gives up the locks. The files stay, as those of ZODB do.
func (l *locks) close() error {
	var errs []error
	for _, f := range l.files {
		errs = append(errs, f.Close())
	}
	l.files = nil
	return errors.Join(errs...)
}

// undo gives up the locks, and takes away the files that were made for them. The
// files go while the locks are held: a process that has opened one just before finds
// it locked.
func (l *locks) undo() {
	for _, file := range l.made {
		_ = os.Remove(file)
	}
	_ = l.close()
}

// writePid writes the pid into a lock file. A file that cannot be a lock file
// is left alone.
func writePid(f *os.File) error {
	if fi, err := f.Stat(); err != nil || fi.Size() > maxPidFile {
		return err
	}
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt(fmt.Appendf(nil, " %d\n", os.Getpid()), 0)
	return err
}

// readPid returns the pid that stands in a lock file, 0 if there is none.
func readPid(f *os.File) int {
	text, err := io.ReadAll(io.NewSectionReader(f, 0, 32))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid < 0 {
		return 0
	}
	return pid
}

func ignoringEINTR(f func() error) error {
	for {
		if err := f(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
