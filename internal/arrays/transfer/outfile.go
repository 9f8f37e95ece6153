package transfer

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/wcfs/wcfs/internal/zodb/fault"
)

// OutFile is a file that is to be written.
type OutFile struct {
	path  string
	force bool         // replaces one that exists
	check func() error // returns why it must not be replaced nevertheless; may be nil
	names namer
}

// NewOutFile returns a file that is to be written, which replaces one that exists if that is
// forced, unless check returns why it must not.
func NewOutFile(path string, force bool, check func() error) *OutFile {
	return &OutFile{path: path, force: force, check: check, names: newNamer()}
}

// Write has write write the file, which appears when it is complete and on the
// disk. One that exists is replaced only by force. Devices and pipes are written
// as they are, until ctx ends.
func (o *OutFile) Write(ctx context.Context, write func(io.Writer) error) error {
	switch fi, err := os.Stat(o.path); {
	case err == nil && fi.IsDir():
		return &fault.Error{Kind: fault.Usage, Msg: o.path + " is a directory", Hint: "name a file in it"}
	case strings.HasSuffix(o.path, "/"):
		return &fault.Error{Kind: fault.Usage, Msg: o.path + " is no directory", Hint: "make it first, and name a file in it"}
	case err == nil && !fi.Mode().IsRegular():
		return writeThrough(ctx, o.path, write)
	case err == nil && !o.force:
		return cmp.Or(o.allowed(), o.exists())
	}
	if err := o.allowed(); err != nil {
		return err
	}
	beside := filepath.Join(filepath.Dir(o.path), fmt.Sprintf(".%s.%08x", filepath.Base(o.path), rand.Uint32()))
	defer func() { _ = os.Remove(beside) }() // in vain if it was renamed
	err := writeNew(beside, write)
	if err == nil {
		if err := o.allowed(); err != nil { // it may have come into being meanwhile
			return err
		}
		err = o.names.give(beside, o.path, o.force)
	}
	var pathErr *fs.PathError
	var linkErr *os.LinkError
	switch {
	case errors.As(err, &pathErr) && pathErr.Path == beside:
		err = pathErr.Err // that there is another name for some time is of no interest
	case errors.As(err, &linkErr):
		err = linkErr.Err
	}
	if errors.Is(err, fs.ErrExist) {
		return o.exists()
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", o.path, err)
	}
	return nil
}

// exists refuses to replace the file.
func (o *OutFile) exists() error {
	return &fault.Error{Kind: fault.Exists, Msg: o.path + " exists already", Hint: "choose another name, or use --force to replace it"}
}

func (o *OutFile) allowed() error {
	if o.check == nil {
		return nil
	}
	return o.check()
}

// writeNew has write write a file that must not exist, to the disk.
func writeNew(path string, write func(io.Writer) error) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	if err = buffered(f, write); err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// namer gives files names, with what the operating system has for that.
type namer struct {
	noReplace, link, rename func(from, to string) error
}

func newNamer() namer {
	return namer{
		noReplace: func(from, to string) error {
			return unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
		},
		link:   os.Link,
		rename: os.Rename,
	}
}

// give gives a file another name, which may be in use if it is by force.
func (n namer) give(from, to string, force bool) error {
	if force {
		return n.rename(from, to)
	}
	err := n.noReplace(from, to)
	if notSupported(err) {
		err = n.link(from, to)
	}
	if notSupported(err) {
		err = n.reserve(from, to)
	}
	return err
}

// notSupported reports whether a filesystem may not have what was asked for: FAT and
// exFAT have no links, most that are made with FUSE neither, and older ones no
// RENAME_NOREPLACE. See rename(2) and link(2).
func notSupported(err error) bool {
	for _, errno := range []unix.Errno{unix.EINVAL, unix.ENOSYS, unix.EOPNOTSUPP, unix.EPERM, unix.EMLINK} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// reserve takes the name by an empty file, which fails if there is one already, and
// then replaces that.
func (n namer) reserve(from, to string) error {
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	// Another process that writes into it, or replaces it, has taken it.
	ours := func() bool {
		fi, err := os.Lstat(to)
		return err == nil && fi.Mode().IsRegular() && fi.Size() == 0
	}
	if !ours() {
		return fs.ErrExist
	}
	if err := n.rename(from, to); err != nil {
		if ours() {
			_ = os.Remove(to)
		}
		return err
	}
	return nil
}

func writeThrough(ctx context.Context, path string, write func(io.Writer) error) error {
	f, err := OpenPipe(ctx, path)
	if err != nil {
		return err
	}
	return errors.Join(buffered(f, write), f.Close())
}

// WriteStdout has write write the standard output. If that is a pipe, the end of
// ctx ends waiting for who reads it.
func WriteStdout(ctx context.Context, write func(io.Writer) error) error {
	var out io.Writer = os.Stdout
	if fi, err := os.Stdout.Stat(); err == nil && fi.Mode()&fs.ModeNamedPipe != 0 {
		// It is opened anew because other processes share the mode of ours.
		if f, err := OpenPipe(ctx, "/proc/self/fd/1"); err == nil {
			defer f.Close()
			out = &stdoutPipe{f}
		}
	}
	return buffered(out, write)
}

// stdoutPipe is the standard output, opened anew.
type stdoutPipe struct{ f *os.File }

// Write writes p. When nobody reads it any more, writing the standard output itself
// has SIGPIPE end the process, as it should be.
func (p *stdoutPipe) Write(b []byte) (int, error) {
	n, err := p.f.Write(b)
	if errors.Is(err, unix.EPIPE) {
		return os.Stdout.Write(b[n:])
	}
	return n, err
}

// buffered puts small pieces together.
func buffered(f io.Writer, write func(io.Writer) error) error {
	w := bufio.NewWriterSize(f, 256<<10)
	if err := write(w); err != nil {
		return err
	}
	return w.Flush()
}
