package mount

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/wcfs/wcfs/internal/serve/proc"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// Entry is a mount of wcfs, as the mount table has it.
type Entry struct {
	Dir    string   // where it is; the first place if it is in several
	Also   []string // other places, as of bind mounts
	Source string   // url of the database as the server got it; may hold secrets
	Major  int      // with Minor the device number; Minor is also the
	Minor  int      // number of the FUSE connection
	UID    int      // of who mounted it, -1 if that is not known
	Open   bool     // to other users
}

// Device returns the device number, as stat(2) gives it for all files of the mount.
func (e Entry) Device() uint64 { return unix.Mkdev(uint32(e.Major), uint32(e.Minor)) }

// Places returns all mount points, those on top of others first.
func (e Entry) Places() []string {
	places := []string{e.Dir}
	for _, dir := range e.Also {
		places = append([]string{dir}, places...)
	}
	return places
}

// CoveredAt returns what is mounted on top of the mount at dir, one of its places,
// as a type and a source.
func (e Entry) CoveredAt(dir string) (top string, ok bool) {
	info, err := topmost(dir)
	if err != nil || info == nil {
		return "", false
	}
	return info.FSType + " " + storage.Redact(info.Source), info.Major != e.Major || info.Minor != e.Minor
}

// Renumbered reports whether the number of the mount, which is not in the table any
// more, was given to another one that this process or process pid can see. Then
// nobody uses the mount any more, and uses that seem to be of it are of the other.
func (e Entry) Renumbered(pid int) bool {
	sameNumber := func(info *mountinfo.Info) (skip, stop bool) {
		return info.Major != e.Major || info.Minor != e.Minor, false
	}
	if infos, err := mountinfo.GetMounts(sameNumber); err == nil && len(infos) > 0 {
		return true
	}
	table, err := os.Open(proc.Path(pid, "mountinfo"))
	if err != nil {
		return false
	}
	defer table.Close()
	infos, err := mountinfo.GetMountsFromReader(table, sameNumber)
	return err == nil && slices.ContainsFunc(infos, func(info *mountinfo.Info) bool {
		return info.FSType != FSType || info.Source != e.Source
	})
}

// List returns the mounts of wcfs that the mount table shows, one for each
// server. No mount is touched, so it cannot hang.
func List() ([]Entry, error) { return listFrom("/proc/self/mountinfo") }

// listFrom reads the mount table of some process.
func listFrom(table string) ([]Entry, error) {
	infos, err := ours(table)
	if err != nil {
		return nil, fmt.Errorf("list mounts: %w", err)
	}
	var entries []Entry
	// The table may change while it is read, and have a number twice that was given
	// to another mount meanwhile. So the source counts, too.
	type identity struct {
		major, minor int
		source       string
	}
	known := map[identity]int{} // -> index of entries
	for _, info := range infos {
		device := identity{info.Major, info.Minor, info.Source}
		if i, ok := known[device]; ok {
			entries[i].Also = append(entries[i].Also, info.Mountpoint)
			continue
		}
		known[device] = len(entries)
		entries = append(entries, Entry{Dir: info.Mountpoint, Source: info.Source,
			Major: info.Major, Minor: info.Minor, UID: userID(info.VFSOptions), Open: isOpen(info.VFSOptions)})
	}
	return entries, nil
}

// At opens the mount point dir for use in paths, and tells what is mounted there.
// The mount is not asked. The error says fs.ErrNotExist if that is no wcfs, and
// is of kind fault.Taken if it is that of another user, but for root: then nothing it says can
// be trusted.
func At(dir string) (fd int, e Entry, err error) {
	f, err := openMountPoint(dir)
	if err != nil {
		return -1, Entry{}, err
	}
	defer f.Close()
	id := mountID(f)
	infos, err := mountinfo.GetMounts(func(info *mountinfo.Info) (skip, stop bool) { return info.ID != id, false })
	if err != nil {
		return -1, Entry{}, fmt.Errorf("list mounts: %w", err)
	}
	if len(infos) == 0 || infos[0].FSType != FSType {
		return -1, Entry{}, fmt.Errorf("%s: no wcfs is mounted there: %w", dir, fs.ErrNotExist)
	}
	info := infos[0]
	e = Entry{Dir: info.Mountpoint, Source: info.Source, Major: info.Major, Minor: info.Minor,
		UID: userID(info.VFSOptions), Open: isOpen(info.VFSOptions)}
	// To one that is not open the kernel lets nobody but its owner, whatever number
	// the owner has where we are: it may differ in a container.
	if e.Open && isForeign(e.UID) && !e.IsForAll() {
		return -1, Entry{}, foreignMount(dir, e.UID)
	}
	fd, err = unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	return fd, e, err
}

// openMountPoint opens dir for use in paths. At a managed place nothing is
// followed.
func openMountPoint(dir string) (*os.File, error) {
	if !IsManaged(dir) {
		return openPath(unix.AT_FDCWD, dir, 0)
	}
	root, err := openRoot(filepath.Dir(dir), false)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return openPath(int(root.Fd()), filepath.Base(dir), unix.O_NOFOLLOW)
}

func ours(table string) ([]*mountinfo.Info, error) {
	f, err := os.Open(table)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return mountinfo.GetMountsFromReader(f, mountinfo.FSTypeFilter(FSType))
}

// isOpen reports whether a FUSE mount lets other users in.
func isOpen(options string) bool { return slices.Contains(strings.Split(options, ","), "allow_other") }

// userID returns the owner of a FUSE mount from its options, -1 if it is not
// among them.
func userID(options string) int {
	for option := range strings.SplitSeq(options, ",") {
		if value, ok := strings.CutPrefix(option, "user_id="); ok {
			if id, err := strconv.Atoi(value); err == nil {
				return id
			}
		}
	}
	return -1
}

// removePatience is how long RemovePoint waits for a process that is ending to let
// go of the directory: its mount goes before its descriptors do.
const removePatience = time.Second

// RemovePoint removes dir if it is an empty directory at a managed place, and no
// server is about to mount there. It is for what a killed server has left.
func RemovePoint(dir string) {
	if !IsManaged(dir) {
		return
	}
	for end := time.Now().Add(removePatience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if top, err := topmost(dir); err != nil || top != nil {
			return // somebody else's now
		}
		d, err := openLeftOver(dir)
		if err != nil {
			return
		}
		err = d.lock(false)
		if err == nil && d.isNamed() {
			d.remove() // not empty: somebody else's
		}
		d.close()
		if err == nil {
			return
		}
	}
}

// On returns the type and the source of the mount on dir, "" if there is none.
func On(dir string) (fstype, source string, err error) {
	top, err := topmost(dir)
	if err != nil || top == nil {
		return "", "", err
	}
	return top.FSType, top.Source, nil
}

// topmost returns what is mounted on dir, on top of whatever else is there; nil if
// nothing is.
func topmost(dir string) (*mountinfo.Info, error) {
	infos, err := mountinfo.GetMounts(func(info *mountinfo.Info) (skip, stop bool) { return info.Mountpoint != dir, false })
	if err != nil || len(infos) == 0 {
		return nil, err
	}
	return infos[len(infos)-1], nil
}
