package mount

import (
	"fmt"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/wcfs/wcfs/internal/zodb/fault"
)

// complaints is what fusermount3 says when it does not mount (fusermount.c of libfuse),
// and what that means for our users. The first that fits counts.
var complaints = []struct {
	words string // some of its
	kind  fault.Kind
	msg   string
	hint  string
}{
	{"only allowed if 'user_allow_other'", fault.NoFUSE, noOthersMsg, noOthersHint},
	{"could not determine username", fault.NoFUSE, "this user has no name, and fusermount3 asks for it", "give it one, as by useradd"},
	{"mount options too long", fault.NoFUSE, "the url of the database is too long", "let it have a shorter path"},
	{"too many FUSE filesystems", fault.NoFUSE, "users have as many FUSE mounts as they may", "raise mount_max in /etc/fuse.conf"},
	{"no write access to mountpoint", fault.BadMountpoint, "this user may not write there", "choose a directory you own"},
	{"not owned by user", fault.BadMountpoint, "belongs to another user", "choose a directory you own"},
	{"mounting over filesystem type", fault.BadMountpoint, "users cannot mount on this kind of filesystem", "choose a directory elsewhere, as below /tmp"},
	{"/dev/fuse: Permission denied", fault.NoFUSE, "no permission to open /dev/fuse", "check its mode, or give the container --device /dev/fuse"},
	{"/dev/fuse", fault.NoFUSE, "there is no usable /dev/fuse", noFUSEHint},
	{"fuse device not found", fault.NoFUSE, "there is no usable /dev/fuse", noFUSEHint},
	{"No such device", fault.NoFUSE, "the kernel has no FUSE", noFUSEHint},
	{"Operation not permitted", fault.NoFUSE, "fusermount3 is not permitted to mount", "it has to be setuid root: install fuse3 again; or give the container --cap-add SYS_ADMIN"},
	{"bad mount point", fault.BadMountpoint, "cannot be mounted on by this user", "choose an empty directory you own"},
	{"mountpoint", fault.BadMountpoint, "cannot be mounted on by this user", "choose an empty directory you own"},
}

const noFUSEHint = "load the module (modprobe fuse), or give the container --device /dev/fuse"

// helperError says why fusermount3 did not mount on dir. Its words are not for users:
// they are about a directory "." and options that nobody typed.
func helperError(dir, words string, err error) *fault.Error {
	for _, c := range complaints {
		if strings.Contains(words, c.words) {
			return &fault.Error{Kind: c.kind, About: pointPrefix + dir, Msg: c.msg, Hint: c.hint, Err: err}
		}
	}
	return &fault.Error{Kind: fault.NoFUSE, About: pointPrefix + dir, Msg: fmt.Sprintf("fusermount3 could not mount on it (%s)", how(err)),
		Hint: "see whether it is installed as it should be: apt-get install --reinstall fuse3", Err: err}
}

// helperUnmountError says why fusermount3 did not unmount.
func helperUnmountError(words string, err error) error {
	switch {
	case strings.Contains(words, "busy"):
		return unix.EBUSY
	case strings.Contains(words, "not found in"), strings.Contains(words, "Invalid argument"):
		return unix.EINVAL
	case strings.Contains(words, "not permitted"), strings.Contains(words, "Permission denied"):
		return unix.EPERM
	}
	return fmt.Errorf("fusermount3 could not do it (%s)", how(err))
}

// how says how a program ended.
func how(err error) string {
	if exit, ok := err.(*exec.ExitError); ok {
		return exit.ProcessState.String()
	}
	return err.Error()
}
