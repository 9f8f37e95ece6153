package mount

import (
	"os"
	"strings"

	"github.com/moby/sys/mountinfo"

	"github.com/wcfs/wcfs/internal/zodb/fault"
)

// otherOptions of mount(2) let other users in, and make the kernel ask modes whom.
const otherOptions = "allow_other,default_permissions"

// fuseConf says what users other than root may do. It is read by fusermount3.
const fuseConf = "/etc/fuse.conf"

const (
	noOthersMsg  = "other users cannot be let in: only root may do that, and who " + fuseConf + " permits it"
	noOthersHint = "add a line user_allow_other to it, or leave --allow-other away"
)

// CheckAllowOther returns an error of kind NoFUSE if this user may not let others into mounts.
func CheckAllowOther() error {
	if os.Geteuid() == 0 {
		return nil
	}
	conf, err := os.ReadFile(fuseConf)
	if err == nil && usersAllowOther(string(conf)) {
		return nil
	}
	return &fault.Error{Kind: fault.NoFUSE, Msg: noOthersMsg, Hint: noOthersHint, Err: err}
}

// usersAllowOther reports whether a fuse.conf lets users let others in: see
// mount.fuse3(8). The helper does not take a line without an end.
func usersAllowOther(conf string) bool {
	for line := range strings.Lines(conf) {
		text, _, _ := strings.Cut(line, "#")
		if strings.HasSuffix(line, "\n") && strings.TrimSpace(text) == "user_allow_other" {
			return true
		}
	}
	return false
}

// isOthers reports whether a mount with these options is another user's and nothing
// for this one. A mount of root which lets others in is for all.
func isOthers(info *mountinfo.Info) bool {
	uid := userID(info.VFSOptions)
	return isForeign(uid) && !(uid == 0 && isOpen(info.VFSOptions))
}

// IsForAll reports whether the mount is root's and lets others in. The server of a
// mount decides what its files say, and can keep their readers waiting for good. Root
// can do worse anyway; of others nothing is believed. Root of a user namespace counts
// as root, too: the kernel lets nobody but those in it into its mounts
// (fuse_permission in fs/fuse/dir.c of Linux).
func (e Entry) IsForAll() bool { return e.UID == 0 && e.Open }
