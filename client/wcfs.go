package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"lab.nexedi.com/kirr/go123/xerr"

	"github.com/wcfs/wcfs/internal/serve/mount"
	"github.com/wcfs/wcfs/internal/zodb/fault"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// WCFS is a mounted database.
type WCFS struct {
	point string // mount point
	zurl  string
	dir   int // the mount point, for openat
	alive int // .wcfs/zurl: that it is open tells the server that it is used

	mu     sync.Mutex
	closed bool
	conns  map[*Conn]struct{}
}

// Join uses the server of the database zurl at its usual mount point, or, if
// another user has that, where wcfs mount puts it then. It does not start one.
// Errors: ErrNotRunning, ErrCrashed, ErrForeign, that of ctx, of a zurl that is not
// understood, and those of the operating system.
func Join(ctx context.Context, zurl string) (*WCFS, error) {
	points, err := mount.Points(zurl)
	if err != nil {
		return nil, fmt.Errorf("join: %w", err)
	}
	var failures []error
	for _, point := range points {
		w, err := joinDatabase(ctx, point, zurl)
		if err == nil {
			return w, nil
		}
		failures = append(failures, fmt.Errorf("join %s: %w", point, err))
	}
	return nil, worst(failures)
}

// worst returns the first error that says more than that there is nothing.
func worst(failures []error) error {
	for _, err := range failures {
		if !errors.Is(err, ErrNotRunning) {
			return err
		}
	}
	return failures[0]
}

// joinDatabase is joinMount for a given database.
func joinDatabase(ctx context.Context, point, zurl string) (*WCFS, error) {
	w, err := joinMount(ctx, point)
	if err != nil || storage.SameDatabase(w.zurl, zurl) {
		return w, err
	}
	w.closeFds()
	return nil, fmt.Errorf("%w: the server there serves another database", ErrNotRunning)
}

// JoinMount uses the server that is mounted on point, whatever database it serves.
// A mount that is not of wcfs, or is of another user, is refused, unless root lets
// others in. Errors are those of Join.
func JoinMount(ctx context.Context, point string) (_ *WCFS, err error) {
	defer xerr.Contextf(&err, "join %s", point)
	return joinMount(ctx, point)
}

func joinMount(ctx context.Context, point string) (w *WCFS, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if point, err = filepath.Abs(point); err != nil {
		return nil, err
	}
	dir, _, err := mount.At(point)
	if err != nil {
		return nil, notRunning(err)
	}
	return joinDir(point, dir)
}

// joinDir joins what is mounted at the directory dir, which it takes over.
func joinDir(point string, dir int) (w *WCFS, err error) {
	w = &WCFS{point: point, dir: dir, alive: -1, conns: make(map[*Conn]struct{})}
	if w.alive, err = open(w.dir, ".wcfs/zurl", unix.O_RDONLY); err != nil {
		w.closeFds()
		return nil, notRunning(err)
	}
	zurl := make([]byte, 64<<10)
	n, err := pread(w.alive, zurl, 0)
	if err != nil {
		w.closeFds()
		return nil, notRunning(err)
	}
	w.zurl = string(zurl[:n])
	return w, nil
}

// notRunning gives a failure to join its meaning.
func notRunning(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENOTDIR):
		return fmt.Errorf("%w: %w", ErrNotRunning, err)
	case errors.Is(err, unix.EACCES), fault.Is(err, fault.ForeignPoint, fault.Taken):
		return fmt.Errorf("%w: %w", ErrForeign, err)
	}
	return failed("open .wcfs/zurl", err)
}

// Mountpoint returns where the database is mounted.
func (w *WCFS) Mountpoint() string { return w.point }

// ZURL returns which database it is, as the server was told.
func (w *WCFS) ZURL() string { return w.zurl }

// Close closes all Conns, and tells the server that it is not used any more.
// Snapshots fail from now on; what is mapped of them stays. A second Close does
// nothing.
func (w *WCFS) Close() error {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return nil
	}
	w.closed = true
	var conns []*Conn
	for c := range w.conns {
		conns = append(conns, c)
	}
	w.mu.Unlock()
	var errs []error
	for _, c := range conns {
		errs = append(errs, c.Close())
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closeFds()
	return errors.Join(errs...)
}

// closeFds closes descriptors. Requires: nobody uses w, or mu.
func (w *WCFS) closeFds() {
	for _, fd := range []*int{&w.dir, &w.alive} {
		if *fd >= 0 {
			_ = unix.Close(*fd)
			*fd = -1
		}
	}
}

// open opens a path below the mount point.
func (w *WCFS) open(path string, flags int) (int, error) {
	w.mu.Lock()
	dir := -1
	err := error(nil)
	if w.closed && w.dir < 0 {
		err = ErrClosed
	} else {
		dir, err = unix.FcntlInt(uintptr(w.dir), unix.F_DUPFD_CLOEXEC, 0)
	}
	w.mu.Unlock()
	if err != nil {
		return -1, fmt.Errorf("open %s: %w", path, err)
	}
	defer unix.Close(dir) // of our own, since Close may come meanwhile
	fd, err := open(dir, path, flags)
	if err != nil {
		return -1, failed("open "+path, err)
	}
	return fd, nil
}

// Head returns the newest view: head/at.
func (w *WCFS) Head() (Tid, error) {
	fd, err := w.open("head/at", unix.O_RDONLY)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	return readAt(fd)
}

// readAt reads head/at.
func readAt(fd int) (Tid, error) {
	text := make([]byte, 64)
	n, err := pread(fd, text, 0)
	if err != nil {
		return 0, failed("read head/at", err)
	}
	at, err := ParseTid(string(bytes.TrimSuffix(text[:n], []byte("\n"))))
	if err != nil {
		return 0, fmt.Errorf("read head/at: %w", err)
	}
	return at, nil
}

// pollInterval is how often head/at is looked at while waiting for it. Nothing
// tells about changes of it.
const pollInterval = time.Millisecond

// waitHead waits until the newest view is at least at, and returns it.
func (w *WCFS) waitHead(ctx context.Context, at Tid) (head Tid, err error) {
	fd, err := w.open("head/at", unix.O_RDONLY)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	if head, err = readAt(fd); err != nil || head >= at {
		return head, err
	}
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return 0, fmt.Errorf("wait for head/at >= %s: %w", at, context.Cause(ctx))
		}
		if head, err = readAt(fd); err != nil || head >= at {
			return head, err
		}
	}
}

// open is openat(2). It does not make the runtime poll the file, which FUSE
// files do not support.
func open(dir int, path string, flags int) (fd int, err error) {
	err = uninterrupted(func() error {
		fd, err = unix.Openat(dir, path, flags|unix.O_CLOEXEC, 0)
		return err
	})
	return fd, err
}

// pread is pread(2). It reads nothing behind the end.
func pread(fd int, data []byte, off int64) (n int, err error) {
	for n < len(data) {
		var got int
		err := uninterrupted(func() (err error) {
			got, err = unix.Pread(fd, data[n:], off+int64(n))
			return err
		})
		if err != nil {
			return n, err
		}
		if got == 0 {
			break
		}
		n += got
	}
	return n, nil
}

// uninterrupted calls f again when a signal interrupted it. The Go runtime sends
// signals to its own threads.
func uninterrupted(f func() error) error {
	for {
		if err := f(); err != unix.EINTR {
			return err
		}
	}
}
