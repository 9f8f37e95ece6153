package zwrite

import (
	"io"
	"os"
)

// File is a data file opened for writing.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer

	// Sync returns when everything written is on the disk.
	Sync() error

	// Truncate sets the length in bytes.
	Truncate(size int64) error

	// Size returns the length in bytes.
	Size() (int64, error)
}

// osFile is a File of the operating system.
type osFile struct{ *os.File }

func (f osFile) Size() (int64, error) {
	fi, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return fi.Size(), nil
}

// noSync is a File that trusts the operating system to stay alive.
type noSync struct{ File }

func (noSync) Sync() error { return nil }

// Pieces that are written at once. Small ones are put together in a buffer, big
// ones are written from where they are.
const (
	appendBuffer = 256 << 10
	appendDirect = 32 << 10
)

// appender writes a file from off on.
type appender struct {
	f   File
	off int64 // where buf begins
	buf []byte
}

// pos returns where the next byte goes.
func (a *appender) pos() int64 { return a.off + int64(len(a.buf)) }

// write appends b, which must not be modified until flush.
func (a *appender) write(b []byte) error {
	if len(b) >= appendDirect || len(a.buf)+len(b) > appendBuffer {
		if err := a.flush(); err != nil {
			return err
		}
	}
	if len(b) < appendDirect {
		a.buf = append(a.buf, b...)
		return nil
	}
	n, err := a.f.WriteAt(b, a.off)
	a.off += int64(n)
	return err
}

func (a *appender) flush() error {
	if len(a.buf) == 0 {
		return nil
	}
	n, err := a.f.WriteAt(a.buf, a.off)
	a.off += int64(n)
	if err != nil {
		return err
	}
	a.buf = a.buf[:0]
	return nil
}
