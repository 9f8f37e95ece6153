package mount

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/wcfs/wcfs/internal/zodb/fault"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

const (
	// startPatience is how long a start waits for a server that is ending, or for
	// another one that is starting, at the same place.
	startPatience = 10 * time.Second

	// A start that waits looks again after firstLook, and then ever less often.
	firstLook = time.Millisecond
	lastLook  = 50 * time.Millisecond

	// maxSilent is how often a mount that does not answer is asked. A server that was
	// killed is gone by then; each time may leave a child behind that waits.
	maxSilent = 3
)

// Place is a directory that is ready to be mounted on.
type Place struct {
	Dir     string // absolute
	Cleared bool   // of the mount of a server that is dead
	dir     *directory
	left    bool // by Remove
}

// Prepare makes sure that something can be mounted on dir: an empty directory
// with nothing mounted on it, and no other server that is about to. A server that
// is ending there, or that was killed a moment ago, is waited for some seconds;
// the mount that it leaves is detached. With create the last element of dir is
// made when it is missing. A managed place is made in any case, since a server
// that ends may just remove it; there nothing is followed or used that is another
// user's.
//
// The caller has to call Remove when nothing is mounted there any more. Errors
// are *fault.Error, and that of ctx.
func Prepare(ctx context.Context, dir string, create bool) (*Place, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("mount point %s: %w", dir, err)
	}
	p := &preparation{dir: dir, create: create || IsManaged(dir), deadline: time.Now().Add(startPatience)}
	for pause := firstLook; ; pause = min(2*pause, lastLook) {
		d, err := p.try(ctx)
		var busy *busyError
		switch {
		case err == nil:
			return &Place{Dir: p.dir, Cleared: p.cleared, dir: d}, nil
		case !errors.As(err, &busy):
			return nil, err
		case p.late():
			return nil, busy.err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("mount point %s: %w", p.dir, ctx.Err())
		case <-time.After(pause):
		}
	}
}

// Remove removes the directory if Prepare has made it, and lets others mount there.
// Once that was done it is somebody else's.
func (p *Place) Remove() {
	if p.left {
		return
	}
	p.left = true
	if p.dir.made {
		p.dir.remove() // not empty or mounted again: somebody else's now
	}
	p.dir.close()
}

// busyError says that it is worth to look again soon.
type busyError struct{ err error }

func (e *busyError) Error() string { return e.err.Error() }

// preparation is what Prepare does.
type preparation struct {
	dir      string
	create   bool
	deadline time.Time
	cleared  bool
	silent   int // times that a server did not answer
}

// late reports whether the time is over.
func (p *preparation) late() bool { return time.Now().After(p.deadline) }

// try prepares the directory unless somebody is starting or ending there.
func (p *preparation) try(ctx context.Context) (*directory, error) {
	// mountinfo is asked before the directory is: a dead server makes stat fail.
	// It has resolved paths only.
	if err := p.clear(ctx); err != nil {
		return nil, err
	}
	if !IsManaged(p.dir) {
		if real, err := filepath.EvalSymlinks(p.dir); err == nil && real != p.dir {
			p.dir = real
			return p.try(ctx)
		}
	}
	d, err := openDirectory(p.dir, p.create)
	if err != nil {
		return nil, p.orBusy(err)
	}
	if err := p.take(d); err != nil {
		if d.made {
			d.remove()
		}
		d.close()
		return nil, p.orBusy(err)
	}
	return d, nil
}

// clear takes away what a server that is gone has left mounted.
func (p *preparation) clear(ctx context.Context) error {
	top, err := topmost(p.dir)
	if err != nil {
		return fmt.Errorf("mount point %s: read mountinfo: %w", p.dir, err)
	}
	if top == nil {
		return nil
	}
	if IsManaged(p.dir) && isOthers(top) {
		return foreignMount(p.dir, userID(top.VFSOptions))
	}
	if top.FSType != FSType {
		return alreadyMounted(p.dir, top)
	}
	switch condition := (Prober{Limit: answerTimeout}).Condition(ctx, p.dir); condition {
	case Dead:
		err := detachDead(ctx, p.dir)
		p.cleared = p.cleared || err == nil
		return &busyError{&fault.Error{Kind: fault.Mounted, About: pointPrefix + p.dir, Err: err,
			Msg: fmt.Sprintf("still has the mount of a dead server: %v", err), Hint: "unmount it: umount -l " + p.dir}}
	case Ending:
		return &busyError{otherWCFS(p.dir, nil)}
	case Silent:
		silent := &fault.Error{Kind: fault.Mounted, About: pointPrefix + p.dir, Msg: "there is a server that does not answer",
			Hint: "see wcfs status " + p.dir + ", or stop it: wcfs stop " + p.dir}
		if p.silent++; p.silent == maxSilent {
			return silent
		}
		return &busyError{silent}
	case Vanished:
		return &busyError{otherWCFS(p.dir, nil)}
	}
	return alreadyMounted(p.dir, top)
}

// orBusy turns an error that says that the directory was there a moment ago into
// one that is worth another look.
func (p *preparation) orBusy(err error) error {
	if !p.create || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if _, errParent := os.Lstat(filepath.Dir(p.dir)); errParent != nil && !IsManaged(p.dir) {
		return err
	}
	return &busyError{err}
}

// take makes the directory ours.
func (p *preparation) take(d *directory) error {
	if err := d.lock(p.late()); err != nil || !d.isNamed() {
		d.made = false // it is the place of somebody else by now
		return &busyError{otherWCFS(p.dir, err)}
	}
	if top, err := topmost(p.dir); err != nil || top != nil {
		return &busyError{otherWCFS(p.dir, err)}
	}
	return d.checkEmpty()
}

func otherWCFS(dir string, err error) *fault.Error {
	return &fault.Error{Kind: fault.Mounted, About: pointPrefix + dir, Msg: "another wcfs is starting or ending there", Hint: "try again", Err: err}
}

func checkNotMounted(dir string) error {
	top, err := topmost(dir)
	if err != nil {
		return fmt.Errorf("mount point %s: read mountinfo: %w", dir, err)
	}
	if top == nil {
		return nil
	}
	return alreadyMounted(dir, top)
}

func alreadyMounted(dir string, top *mountinfo.Info) *fault.Error {
	hint := "choose another directory"
	if top.FSType == FSType {
		hint = "use it, or unmount it first: umount " + dir
	}
	return &fault.Error{Kind: fault.Mounted, About: pointPrefix + dir,
		Msg: fmt.Sprintf("already mounted: %s (type %s)", storage.Redact(top.Source), top.FSType), Hint: hint}
}

// checkEmpty fails if there is something in the directory.
func (d *directory) checkEmpty() error {
	fd, err := unix.Openat(int(d.self.Fd()), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return badDir(d.path, err)
	}
	f := os.NewFile(uintptr(fd), d.path)
	defer f.Close()
	switch _, err := f.ReadDir(1); {
	case err == io.EOF:
		return nil
	case err == nil:
		return &fault.Error{Kind: fault.BadMountpoint, About: pointPrefix + d.path, Msg: "not empty", Hint: "choose an empty directory"}
	default:
		return badDir(d.path, err)
	}
}

// badDir puts err, met while looking at dir, into words.
func badDir(dir string, err error) error {
	kind := fault.BadMountpoint
	if fault.IsFull(err) {
		kind = fault.NoSpace
	}
	e := &fault.Error{Kind: kind, About: pointPrefix + dir, Msg: err.Error(), Err: err}
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

// OwnPlace returns the directory that only this user can put something into, which
// is made if that is wanted.
func OwnPlace(create bool) (dir string, err error) {
	dir = fmt.Sprint(ownRoot, os.Geteuid())
	f, err := openRoot(dir, create)
	if err != nil {
		return "", err
	}
	return dir, f.Close()
}
