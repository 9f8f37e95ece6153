package mount

import (
	"errors"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/wcfs/wcfs/internal/zodb/fault"
)

// TestWordsOfTheHelperAreNotForUsers: whatever fusermount3 says, our error says what is
// wrong and what to do, in words of ours.
func TestWordsOfTheHelperAreNotForUsers(t *testing.T) {
	failed := exec.Command("false").Run()
	for words, want := range map[string]struct {
		kind fault.Kind
		text string
	}{
		"fusermount3: option allow_other only allowed if 'user_allow_other' is set in /etc/fuse.conf\n":                                     {fault.NoFUSE, "add a line user_allow_other"},
		"fusermount3: too many FUSE filesystems mounted; mount_max=1000 can be set in /etc/fuse.conf\n":                                     {fault.NoFUSE, "raise mount_max in /etc/fuse.conf"},
		"fusermount3: could not determine username\n":                                                                                       {fault.NoFUSE, "has no name"},
		"fusermount3: mount options too long\n":                                                                                             {fault.NoFUSE, "a shorter path"},
		"fusermount3: unknown parameter in /etc/fuse.conf at line 1: 'user_allow_other = 1'\nfusermount3: mountpoint . not owned by user\n": {fault.BadMountpoint, "belongs to another user"},
		"fusermount3: user has no write access to mountpoint .\n":                                                                           {fault.BadMountpoint, "choose a directory you own"},
		"fusermount3: mountpoint . not owned by user\n":                                                                                     {fault.BadMountpoint, "belongs to another user"},
		"fusermount3: mounting over filesystem type 0x01021997 is forbidden\n":                                                              {fault.BadMountpoint, "kind of filesystem"},
		"fusermount3: failed to open /dev/fuse: Permission denied\n":                                                                        {fault.NoFUSE, "no permission to open /dev/fuse"},
		"fusermount3: failed to open /dev/fuse: No such file or directory\n":                                                                {fault.NoFUSE, "modprobe fuse"},
		"fusermount3: fuse device not found, try 'modprobe fuse' first\n":                                                                   {fault.NoFUSE, "modprobe fuse"},
		"fusermount3: mount failed: Operation not permitted\n":                                                                              {fault.NoFUSE, "not permitted to mount"},
		"fusermount3: mount failed: No such device\n":                                                                                       {fault.NoFUSE, "the kernel has no FUSE"},
		"fusermount3: bad mount point .: Permission denied\n":                                                                               {fault.BadMountpoint, "choose an empty directory you own"},
		"fusermount3: failed to access mountpoint .: Permission denied\n":                                                                   {fault.BadMountpoint, "choose an empty directory you own"},
		"fusermount3: mount failed: Something that nobody has heard of\nfusermount3: and more of that in two lines":                         {fault.NoFUSE, "(exit status 1)"},
		"": {fault.NoFUSE, "fusermount3 could not mount on it (exit status 1)"},
	} {
		err := helperError("/mnt/x", words, failed)
		require.Equal(t, want.kind, err.Kind, words)
		require.ErrorIs(t, err, failed)
		require.Contains(t, err.Error(), want.text, words)
		require.True(t, strings.HasPrefix(err.Error(), "mount point /mnt/x: "), err.Error())
		require.NotContains(t, err.Error(), "fusermount3: ")
		require.NotContains(t, err.Error(), "\n")
		require.NotEmpty(t, err.Hint, words)
	}
	for words, want := range map[string]error{
		"fusermount3: failed to unmount /mnt/x: Device or resource busy\n": unix.EBUSY,
		"fusermount3: entry for /mnt/x not found in /etc/mtab\n":           unix.EINVAL,
		"fusermount3: failed to unmount /mnt/x: Operation not permitted\n": unix.EPERM,
	} {
		require.Equal(t, want, helperUnmountError(words, failed), words)
	}
	require.True(t, IsBusy(helperUnmountError("fusermount3: failed to unmount /x: Device or resource busy", failed)))
	require.EqualError(t, helperUnmountError("fusermount3: odd\n", failed), "fusermount3 could not do it (exit status 1)")
	require.EqualError(t, helperUnmountError("", errors.New("it is not there")), "fusermount3 could not do it (it is not there)")
}

// TestFuseConfIsReadAsByFusermount: a word on a line of its own, without comments.
func TestFuseConfIsReadAsByFusermount(t *testing.T) {
	for conf, want := range map[string]bool{
		"":                   false,
		"user_allow_other":   false, // without an end
		"user_allow_other\n": true,
		"a\n  user_allow_other # yes\nmount_max = 7\n": true,
		"#user_allow_other\n":                          false,
		"user_allow_other = 1\n":                       false,
		"xuser_allow_other\n":                          false,
	} {
		require.Equal(t, want, usersAllowOther(conf), conf)
	}
}

// TestWhoseMountsAreBelieved: one's own, and those of root that let others in.
func TestWhoseMountsAreBelieved(t *testing.T) {
	for _, c := range []struct {
		entry Entry
		want  bool
	}{
		{Entry{UID: 0, Open: true}, true},
		{Entry{UID: 0}, false},
		{Entry{UID: 7, Open: true}, false},
		{Entry{UID: -1, Open: true}, false},
	} {
		require.Equal(t, c.want, c.entry.IsForAll(), "%+v", c.entry)
	}
}
