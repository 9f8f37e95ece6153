// Package mount puts a FUSE filesystem on a directory and takes it off again.
//
// # Nouns
//
// A mount point is the directory clients look at. Without one, wcfs chooses it from the
// url of the database: Point computes the usual place, as every client of wcfs does. The
// managed places are this one and one for each user (Points). A Place is a
// directory that is ready to be mounted on. A Device is an open /dev/fuse together
// with the mount that hangs on it. It is handed to the FUSE library as the "mount
// point" /dev/fd/N.
//
// # Other users
//
// The usual mount points are in a directory where every user may put what they
// like: links, files, directories, mounts, and locks. So these managed places are
// opened one element after the other without following anything, nothing of
// another user is used, and all operations use the descriptors that were opened.
// A user who finds the usual place taken by another one gets a place that nobody
// else can take (Points, Choose).
//
// # Why not the mount of the FUSE library
//
// Its direct mount leaves /dev/fuse open in programs the server executes: when
// the server dies, clients then hang until the last such child is gone,
// instead of getting ENOTCONN. Its way through fusermount3 gives neither the
// helper's words nor a way to check the mount point first.
//
// # Ownership
//
// Place.Mount returns a Device. Its server owns the descriptor; the mount goes away
// by Unmount, by Detach, or by the death of the process. /proc/self/mountinfo is
// asked what is mounted, since even stat(2) of a mount point may hang or fail. A
// mount itself is only asked by the child of a Prober, within a limit. The rule
// includes the mount of one's own: a process in which a thread waits for a mount
// that the process serves cannot end.
//
// The same sources tell, without asking a mount, which mounts there are (List)
// and who uses them (Entry.Users).
package mount

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/wcfs/wcfs/internal/zodb/fault"
)

// Options says what to mount.
type Options struct {
	Source  string // shown as the device in mountinfo; any text
	Subtype string // the type is shown as fuse.<Subtype>
	MaxRead int    // bytes, the largest READ request

	// AllowOther lets other users in, as far as modes say, which the kernel enforces
	// then. See CheckAllowOther.
	AllowOther bool
}

// Device is a mounted /dev/fuse.
type Device struct {
	place      *Place
	fd         int
	watch      int    // another descriptor of the same; -1 if there is none
	minor      int    // of the device number of the mount
	fusermount string // helper that mounted and has to unmount; "" when we did it ourselves
}

// FUSEPath is the "mount point" that makes the FUSE library serve this device.
func (d *Device) FUSEPath() string { return "/dev/fd/" + strconv.Itoa(d.fd) }

// Mount mounts on the directory of the place: on that very one, whatever its path
// leads to by now. Root mounts by itself, others through fusermount3. Errors are
// *fault.Error.
func (p *Place) Mount(opt Options) (*Device, error) {
	// Since Prepare looked, a database may have been opened for minutes.
	if err := checkNotMounted(p.Dir); err != nil {
		return nil, err
	}
	if !p.dir.isNamed() {
		return nil, &fault.Error{Kind: fault.BadMountpoint, About: pointPrefix + p.Dir, Msg: "somebody has removed it", Hint: "try again"}
	}
	way := p.mountHelper
	if os.Geteuid() == 0 {
		way = p.mountDirect
	}
	d, err := way(opt)
	if err != nil {
		return nil, err
	}
	d.place = p
	d.minor, _ = mountedMinor(p.Dir)
	if d.watch, err = unix.FcntlInt(uintptr(d.fd), unix.F_DUPFD_CLOEXEC, 0); err != nil {
		d.watch = -1
	}
	return d, nil
}

// mountDirect mounts by mount(2).
func (p *Place) mountDirect(opt Options) (*Device, error) {
	fd, err := openFUSE()
	if err != nil {
		return nil, err
	}
	data := fmt.Sprintf("fd=%d,rootmode=%o,user_id=%d,group_id=%d,max_read=%d",
		fd, unix.S_IFDIR, os.Geteuid(), os.Getegid(), opt.MaxRead)
	if opt.AllowOther {
		data += "," + otherOptions
	}
	err = unix.Mount(opt.Source, selfFD(p.dir.self), "fuse."+opt.Subtype, unix.MS_NOSUID|unix.MS_NODEV, data)
	if err != nil {
		unix.Close(fd)
		return nil, mountError(p.Dir, err)
	}
	return &Device{fd: fd}, nil
}

func openFUSE() (fd int, err error) {
	fd, err = unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	switch {
	case err == nil && isFUSE(fd):
		return fd, nil
	case err == nil:
		unix.Close(fd)
		return -1, &fault.Error{Kind: fault.NoFUSE, Msg: "/dev/fuse is not the FUSE device", Hint: "make it again: mknod -m 666 /dev/fuse c 10 229"}
	case errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENXIO):
		return -1, &fault.Error{Kind: fault.NoFUSE, Msg: "there is no usable /dev/fuse",
			Hint: "load the module (modprobe fuse), or give the container --device /dev/fuse", Err: err}
	case errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM):
		return -1, &fault.Error{Kind: fault.NoFUSE, Msg: "no permission to open /dev/fuse",
			Hint: "check its mode, or give the container --device /dev/fuse", Err: err}
	}
	return -1, &fault.Error{Kind: fault.NoFUSE, Msg: fmt.Sprintf("cannot open /dev/fuse: %s", err), Err: err}
}

// isFUSE reports whether fd is the FUSE device: 10:229, see devices.txt of Linux.
func isFUSE(fd int) bool {
	var st unix.Stat_t
	return unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == unix.Mkdev(10, 229)
}

func mountError(dir string, err error) error {
	switch {
	case errors.Is(err, unix.EPERM):
		return &fault.Error{Kind: fault.NoFUSE, About: pointPrefix + dir, Msg: "no permission to mount",
			Hint: "give the container --cap-add SYS_ADMIN, or run as a user who has fusermount3", Err: err}
	case errors.Is(err, unix.ENODEV):
		return &fault.Error{Kind: fault.NoFUSE, About: pointPrefix + dir, Msg: "the kernel has no FUSE", Hint: "load the module: modprobe fuse", Err: err}
	}
	return &fault.Error{Kind: fault.BadMountpoint, About: pointPrefix + dir, Msg: fmt.Sprintf("cannot mount: %s", err), Err: err}
}

// Mounted reports whether the mount is still on its directory.
func (d *Device) Mounted() bool {
	minor, ok := mountedMinor(d.place.Dir)
	return ok && minor == d.minor
}

// OnDirectory reports whether the mount is on its directory, or may be: also below
// something else that is mounted there.
func (d *Device) OnDirectory() bool {
	infos, err := mountinfo.GetMounts(func(info *mountinfo.Info) (skip, stop bool) {
		return info.Mountpoint != d.place.Dir || info.Minor != d.minor, false
	})
	return err != nil || d.minor == 0 || len(infos) > 0
}

// LeaveDirectory lets others mount on the directory of a mount that is not there any
// more. The lock is for one server at a place; who still uses the mount, which is
// detached, has nothing to do with that.
func (d *Device) LeaveDirectory() { d.place.Remove() }

// Disconnected reports whether the kernel has given up the connection: somebody
// has unmounted, or aborted it. Requests that are being handled may not have
// noticed yet.
func (d *Device) Disconnected() bool {
	// fuse_dev_poll of Linux gives an error for that and for nothing else.
	poll := []unix.PollFd{{Fd: int32(d.watch)}}
	n, err := unix.Poll(poll, 0)
	return d.watch >= 0 && err == nil && n > 0 && poll[0].Revents&unix.POLLERR != 0
}

// Abort makes the kernel give up the connection.
func (d *Device) Abort() error { return Entry{Minor: d.minor}.Abort() }

// mountedMinor returns the minor device number of what is mounted on dir.
func mountedMinor(dir string) (minor int, ok bool) {
	top, err := topmost(dir)
	if err != nil || top == nil {
		return 0, false
	}
	return top.Minor, true
}

// Unmount takes the mount off its directory. It fails with unix.EBUSY in the
// chain while somebody uses the mount.
func (d *Device) Unmount() error { return d.unmount(0) }

// Detach takes the mount off its directory although it is in use. Those who use
// it get ENOTCONN as soon as the process that serves it ends.
func (d *Device) Detach() error { return d.unmount(unix.MNT_DETACH) }

// errNotOurs says that our mount is gone, or under that of somebody else.
var errNotOurs = errors.New("the mount of this server is not there any more, or something is mounted on top of it")

func (d *Device) unmount(flags int) error {
	if !d.Mounted() {
		return fmt.Errorf("unmount %s: %w", d.place.Dir, errNotOurs)
	}
	if d.fusermount != "" {
		return runFusermountUnmount(d.fusermount, d.place.Dir, flags)
	}
	if err := unix.Unmount(d.place.dir.mounted(), unix.UMOUNT_NOFOLLOW|flags); err != nil {
		return fmt.Errorf("unmount %s: %w", d.place.Dir, err)
	}
	return nil
}

// IsBusy reports whether err says that a mount could not go since it is used.
func IsBusy(err error) bool {
	return errors.Is(err, unix.EBUSY) || err != nil && strings.Contains(err.Error(), "busy")
}
