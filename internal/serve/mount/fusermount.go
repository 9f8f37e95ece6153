package mount

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wcfs/wcfs/internal/zodb/fault"
)

// fusermountDirs are searched besides $PATH: mount(8) and some supervisors run
// programs with no PATH at all.
var fusermountDirs = []string{"/usr/bin", "/bin"}

// helperLimit is how long the helper may take to unmount. The mount may be one that
// does not answer.
const helperLimit = 2 * time.Second

// findFusermount returns the path of the setuid helper that mounts for
// ordinary users.
func findFusermount() (string, error) {
	for _, name := range []string{"fusermount3", "fusermount"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
		for _, dir := range fusermountDirs {
			if path, err := exec.LookPath(dir + "/" + name); err == nil {
				return path, nil
			}
		}
	}
	return "", &fault.Error{Kind: fault.NoFUSE, Msg: "fusermount3 is not installed and only root can mount without it",
		Hint: "install it: apt-get install fuse3"}
}

// mountHelper mounts through fusermount3, which sends the open /dev/fuse back
// over a socket (protocol: fusermount.c of libfuse). Its current directory is the
// one to mount on.
func (p *Place) mountHelper(opt Options) (*Device, error) {
	dir := p.Dir
	helper, err := findFusermount()
	if err != nil {
		return nil, err
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("mount %s: socketpair: %w", dir, err)
	}
	ours, theirs := pair[0], os.NewFile(uintptr(pair[1]), "fusermount")
	defer unix.Close(ours)
	defer theirs.Close()

	cmd := exec.Command(helper, "-o", helperOptions(opt), "--", ".")
	cmd.Dir = selfFD(p.dir.self)
	cmd.Env = append(os.Environ(), "_FUSE_COMMFD=3")
	cmd.ExtraFiles = []*os.File{theirs}
	var words bytes.Buffer
	cmd.Stderr = &words
	if err := cmd.Run(); err != nil {
		return nil, helperError(dir, words.String(), err)
	}
	fd, err := receiveFD(ours)
	if err != nil {
		return nil, &fault.Error{Kind: fault.NoFUSE, About: pointPrefix + dir, Err: err, Msg: fmt.Sprintf("%s sent no device: %s", helper, err)}
	}
	return &Device{fd: fd, fusermount: helper}, nil
}

func helperOptions(opt Options) string {
	escape := strings.NewReplacer(`\`, `\\`, `,`, `\,`)
	options := []string{
		"fsname=" + escape.Replace(opt.Source),
		"subtype=" + escape.Replace(opt.Subtype),
		"max_read=" + strconv.Itoa(opt.MaxRead),
		"nosuid", "nodev",
	}
	if opt.AllowOther {
		options = append(options, otherOptions)
	}
	return strings.Join(options, ",")
}

func receiveFD(socket int) (int, error) {
	var data [8]byte
	control := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(socket, data[:], control, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("receive: %w", err)
	}
	messages, err := unix.ParseSocketControlMessage(control[:n])
	if err != nil || len(messages) == 0 {
		return -1, fmt.Errorf("no descriptor in the message")
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return -1, fmt.Errorf("no descriptor in the message")
	}
	return fds[0], nil
}

func runFusermountUnmount(helper, dir string, flags int) error {
	args := []string{"-u"}
	if flags&unix.MNT_DETACH != 0 {
		args = append(args, "-z")
	}
	ctx, cancel := context.WithTimeout(context.Background(), helperLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, helper, append(args, "--", dir)...)
	cmd.Dir = "/" // ours may be in the mount
	cmd.WaitDelay = helperLimit
	var words bytes.Buffer
	cmd.Stderr = &words
	if err := cmd.Run(); err != nil {
		err = fmt.Errorf("unmount %s: %w", dir, helperUnmountError(words.String(), err))
		if IsBusy(err) {
			return err
		}
		if other := runUmount(dir, flags); other == nil || IsBusy(other) {
			return other
		}
		return err
	}
	return nil
}

// runUmount unmounts by umount(8). This program lets users take away their FUSE
// mounts, too, and reads /proc: fusermount3 needs /etc/mtab, which a system that was
// never booted, as in a container, may not have.
func runUmount(dir string, flags int) error {
	path, err := exec.LookPath("umount")
	if err != nil {
		return err
	}
	var args []string
	if flags&unix.MNT_DETACH != 0 {
		args = append(args, "-l")
	}
	ctx, cancel := context.WithTimeout(context.Background(), helperLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, append(args, "--", dir)...)
	cmd.Dir = "/"
	cmd.WaitDelay = helperLimit
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	var words bytes.Buffer
	cmd.Stderr = &words
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("unmount %s: %w", dir, helperUnmountError(words.String(), err))
	}
	return nil
}
