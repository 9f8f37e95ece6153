package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/wcfs/wcfs/internal/transfer"
)

// fileExistsError refuses to replace a file. It counts as a name that is taken.
type fileExistsError struct{ path string }

func (e *fileExistsError) Error() string {
	return e.path + " exists already; choose another name, or use --force to replace it"
}

func (e *fileExistsError) Unwrap() error { return &transfer.ExistsError{Name: e.path} }

// writeFile has write write a file, which appears when it is complete and on the
// disk. One that exists is replaced only by force. Devices and pipes are written
// as they are, until ctx ends.
func writeFile(ctx context.Context, path string, force bool, write func(io.Writer) error) error {
	switch fi, err := os.Stat(path); {
	case err == nil && fi.IsDir():
		return &usageError{msg: path + " is a directory; name a file in it"}
	case err == nil && !fi.Mode().IsRegular():
		return writeThrough(ctx, path, write)
	case err == nil && !force:
		return &fileExistsError{path}
	}
	beside := filepath.Join(filepath.Dir(path), fmt.Sprintf(".%s.%08x", filepath.Base(path), rand.Uint32()))
	defer os.Remove(beside) // in vain if it was renamed
	err := writeNew(beside, write)
	if err == nil {
		err = rename(beside, path, force)
	}
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) && pathErr.Path == beside {
		err = pathErr.Err // that there is another name for some time is of no interest
	}
	if errors.Is(err, fs.ErrExist) {
		return &fileExistsError{path}
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
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

// rename gives a file another name, which may be in use if it is by force.
func rename(from, to string, force bool) error {
	if force {
		return os.Rename(from, to)
	}
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) { // not with this kind of filesystem
		err = os.Link(from, to)
	}
	return err
}

func writeThrough(ctx context.Context, path string, write func(io.Writer) error) error {
	f, err := transfer.OpenPipe(ctx, path)
	if err != nil {
		return err
	}
	return errors.Join(buffered(f, write), f.Close())
}

// writeStdout has write write the standard output. If that is a pipe, the end of
// ctx ends waiting for who reads it.
func writeStdout(ctx context.Context, write func(io.Writer) error) error {
	var out io.Writer = os.Stdout
	if fi, err := os.Stdout.Stat(); err == nil && fi.Mode()&fs.ModeNamedPipe != 0 {
		// It is opened anew because other processes share the mode of ours.
		if f, err := transfer.OpenPipe(ctx, "/proc/self/fd/1"); err == nil {
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
