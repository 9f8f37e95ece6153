package mount

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// Entry is a mount of wcfs, as the mount table has it.
type Entry struct {
	Dir    string   // where it is; the first place if it is in several
	Also   []string // other places, as of bind mounts
	Source string   // url of the database as the server got it; may hold secrets
	Major  int      // with Minor the device number; Minor is also the
	Minor  int      // number of the FUSE connection
	UID    int      // of who mounted it
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
			Major: info.Major, Minor: info.Minor, UID: userID(info.VFSOptions)})
	}
	return entries, nil
}

func ours(table string) ([]*mountinfo.Info, error) {
	f, err := os.Open(table)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return mountinfo.GetMountsFromReader(f, mountinfo.FSTypeFilter(FSType))
}

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

// RemovePoint removes dir if it is an empty directory at a usual place, and no
// server is about to mount there. It is for what a killed server has left.
func RemovePoint(dir string) {
	if filepath.Dir(dir) != Root {
		return
	}
	if lock, err := lockDir(dir); err == nil {
		_ = os.Remove(dir) // not empty or mounted again: somebody else's
		lock.Close()
	}
}

// What returns the type and the source of what is mounted on dir, "" if nothing is.
func What(dir string) (fstype, source string, err error) {
	entries, err := mountinfo.GetMounts(mountinfo.SingleEntryFilter(dir))
	if err != nil || len(entries) == 0 {
		return "", "", err
	}
	top := entries[len(entries)-1]
	return top.FSType, top.Source, nil
}
