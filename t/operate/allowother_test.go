package operate

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/t/harness"
	"golang.org/x/sys/unix"
)

// application is a user who may read a database, unlike the stranger.
const application = 65533

// helperAccess prints of each path the modes it can be opened with, r and w, or the
// errno. Arguments: paths.
func helperAccess(args []string) error {
	for _, path := range args {
		var can []string
		for _, c := range []struct {
			flags int
			mode  string
		}{{unix.O_RDONLY, "r"}, {unix.O_RDWR, "w"}} {
			fd, err := harness.OpenFile(path, c.flags)
			var errno unix.Errno
			switch {
			case err == nil:
				can = append(can, c.mode)
				unix.Close(fd)
			case errors.As(err, &errno):
				can = append(can, unix.ErrnoName(errno))
			}
		}
		fmt.Println(strings.Join(can, " "))
	}
	return nil
}

// canOpen returns what helperAccess says of paths of a mount, for a user.
func canOpen(s *harness.Server, uid uint32, paths ...string) (can []string) {
	s.T.Helper()
	full := make([]string, len(paths))
	for i, path := range paths {
		full[i] = s.Path(path)
	}
	h := harness.StartHelperAs(s.T, uid, "access", full...)
	for range paths {
		can = append(can, h.Line())
	}
	require.Zero(s.T, h.Wait())
	return can
}

// sharedWith starts a server of root, with a database that belongs to a group, and a
// file in it that has a past.
func sharedWith(t *testing.T, gid int) (s *harness.Server, f *harness.LiveFile) {
	t.Helper()
	needStranger(t)
	l := harness.NewLive(t)
	f = l.NewFile(4096)
	f.Commit(harness.Blocks{0: "a1", 1: "b1"})
	require.NoError(t, os.Chown(l.File(), 0, gid))
	require.NoError(t, os.Chmod(l.File(), 0o640))
	s = l.Start("--allow-other", "-pintimeout", "10s")
	harness.LetPass(t, s.Dir)
	return s, f
}

// TestWhoMayReadTheDatabaseMayReadTheMount of root, and nobody else.
func TestWhoMayReadTheDatabaseMayReadTheMount(t *testing.T) {
	t.Parallel()
	s, f := sharedWith(t, application)
	entry := harness.MountEntry(t, s.Dir)
	require.Contains(t, entry.VFSOptions, "allow_other")
	require.Contains(t, entry.VFSOptions, "default_permissions")
	past := "@" + f.L.Head().String()
	file := "bigfile/" + f.Oid.String()
	for path, mode := range map[string]uint32{
		".": 0o550, ".wcfs": 0o550, "head": 0o550, "head/bigfile": 0o550, past: 0o550, past + "/bigfile": 0o550,
		"head/at": 0o440, "head/watch": 0o660, "head/" + file: 0o440, past + "/" + file: 0o440,
		".wcfs/zurl": 0o440, ".wcfs/pintimeout": 0o440, ".wcfs/stats": 0o440, ".wcfs/metrics": 0o440,
		".wcfs/trace": 0o400, ".wcfs/clients": 0o400, ".wcfs/debug": 0o500, ".wcfs/debug/zhead": 0o400,
	} {
		st := harness.Stat(t, s.Path(path))
		require.Equal(t, mode, st.Mode&0o7777, "mode of %s: %o", path, st.Mode)
		require.Zero(t, st.Uid, path)
		require.EqualValues(t, map[bool]int{true: 0, false: application}[mode&0o077 == 0], st.Gid, path)
	}
	paths := []string{"head/at", "head/" + file, past + "/" + file, ".wcfs/zurl", ".wcfs/pintimeout", ".wcfs/stats", ".wcfs/metrics",
		"head/watch", ".wcfs/trace", ".wcfs/debug/zhead", "head/nothing"}
	r, none := "r EACCES", "EACCES EACCES"
	require.Equal(t, []string{r, r, r, r, r, r, r, "r w", none, none, "ENOENT ENOENT"}, canOpen(s, application, paths...))
	for _, can := range canOpen(s, stranger, paths...) {
		require.Equal(t, none, can)
	}
	require.Equal(t, []string{"r EROFS", "r w", "r EROFS"}, canOpen(s, 0, "head/at", "head/watch", ".wcfs/trace"))
}

// TestApplicationUsersHaveSnapshotsOfRootsMount: they map, are told what to pin, and are
// ended if they do not answer.
func TestApplicationUsersHaveSnapshotsOfRootsMount(t *testing.T) {
	t.Parallel()
	s, f := sharedWith(t, application)
	at1 := f.L.Head()
	c := harness.StartGoClientAs(t, application, s)
	c.Do("connect c %s", at1)
	c.Do("open f c %s", f.Oid)
	c.Do("mmap m f 0 2")
	c.Shows("show m", "a1", "b1")
	bad := &harness.Faulty{Helper: harness.StartHelperAs(t, application, "rawlink", s.Dir), T: t}
	bad.Pid = bad.Cmd.Process.Pid
	require.Equal(t, "ready", bad.Line())
	bad.Watching(f, at1)

	at2 := f.Commit(harness.Blocks{1: "b2"})
	s.WaitAt(at2)
	root := harness.StartGoClient(t, s) // root believes in its own mounts
	root.Do("connect c head")
	root.Do("open f c %s", f.Oid)
	reading := make(chan string, 1)
	go func() { reading <- root.Helper.Ask("read f 2") }()
	require.Contains(t, bad.Read(), " pin "+f.Oid.String()+" #1 ")
	bad.Refuse("2 no\n")
	require.Equal(t, `["a1" "b2"]`, <-reading)
	bad.Wait()
	require.Contains(t, s.Log(), fmt.Sprintf("pid%d: terminated", bad.Pid))
	c.Shows("show m", "a1", "b1")
	c.Do("resync c %s", at2)
	c.Shows("show m", "a1", "b2")
	c.End()
	root.End()

	h := harness.StartHelperAs(t, stranger, "goclient", s.Dir)
	require.Empty(t, h.Line(), "whoever may not read the database")
	require.Equal(t, 1, h.Wait())
}

// TestModesFollowTheDatabase, whoever it belongs to; a server always sees its own mount.
func TestModesFollowTheDatabase(t *testing.T) {
	needStranger(t)
	t.Parallel()
	for _, c := range []struct {
		mode     os.FileMode
		uid, gid int
		can      map[uint32]string // user -> head/at
	}{
		{0o644, 0, 0, map[uint32]string{application: "r EACCES", stranger: "r EACCES"}},
		{0o600, 0, 0, map[uint32]string{application: "EACCES EACCES", stranger: "EACCES EACCES"}},
		{0o600, application, 0, map[uint32]string{application: "r EACCES", stranger: "EACCES EACCES"}},
		{0o604, 0, stranger, map[uint32]string{application: "r EACCES", stranger: "EACCES EACCES"}},
	} {
		path := harness.CopyDatabase(t, "topo")
		require.NoError(t, os.Chown(path, c.uid, c.gid))
		require.NoError(t, os.Chmod(path, c.mode))
		s := harness.StartOn(t, path, "--allow-other")
		harness.LetPass(t, s.Dir)
		for uid, want := range c.can {
			require.Equal(t, []string{want}, canOpen(s, uid, "head/at"), "%o %d:%d", c.mode, c.uid, c.gid)
		}
		s.Stop()
	}
	s := harness.StartOn(t, harness.CopyDatabase(t, "topo"))
	harness.LetPass(t, s.Dir)
	require.NotContains(t, harness.MountEntry(t, s.Dir).VFSOptions, "allow_other")
	require.Equal(t, []string{"EACCES EACCES"}, canOpen(s, application, "head/at"), "without --allow-other")
}

// withFuseConf lets the users of a namespace let others in, or not.
func (ns *namespace) withFuseConf(text string) {
	ns.t.Helper()
	if _, err := os.Stat("/etc/fuse.conf"); err != nil {
		ns.t.Skip("NOT TESTED: there is no /etc/fuse.conf")
	}
	code, _, words := ns.run(0, "sh", "-ec", `echo "$0" >/dev/shm/.dev/fuse.conf; mount --bind /dev/shm/.dev/fuse.conf /etc/fuse.conf`, text)
	require.Zero(ns.t, code, words)
}

// TestUserLetsOthersIn: where fuse.conf permits it. They may read, but not hold anybody
// up: the server could not end them. Nobody believes such a mount but its owner.
func TestUserLetsOthersIn(t *testing.T) {
	needStranger(t)
	t.Parallel()
	ns := newNamespace(t)
	ns.withFuseConf("# user_allow_other")
	path := harness.CopyDatabase(t, "topo")
	helper := harness.HelperCopy(t)
	dir := filepath.Join(t.TempDir(), "mnt")
	log := filepath.Join(t.TempDir(), "log")
	harness.LetPass(t, path, harness.Binary, dir, log)
	require.NoError(t, os.Mkdir(dir, 0o755))
	require.NoError(t, os.WriteFile(log, nil, 0o666))
	require.NoError(t, os.Chmod(log, 0o666))
	require.NoError(t, os.Chown(dir, stranger, stranger))
	mount := []string{"mount", "--allow-other", "--log-file", log, path, dir}
	code, out, words := ns.wcfs(stranger, mount...)
	require.Equal(t, 9, code, words)
	require.Empty(t, out)
	require.Equal(t, "wcfs: other users cannot be let in: only root may do that, and who /etc/fuse.conf permits it; "+
		"add a line user_allow_other to it, or leave --allow-other away\n", words)

	ns.withFuseConf("user_allow_other # for us")
	code, _, words = ns.wcfs(stranger, mount...)
	require.Zero(t, code, words)
	open := func(uid int) string {
		_, out, words := ns.run(uid, "env", harness.HelperEnv+"=access", helper, filepath.Join(dir, "head/at"), filepath.Join(dir, "head/watch"))
		return out + words
	}
	require.Equal(t, "r EACCES\nr w\n", open(stranger), "the owner of the server, who does not own the database")
	require.Equal(t, "r EACCES\nr EACCES\n", open(application))
	harness.Until(t, "log of the refusal", func() bool { return strings.Contains(harness.Content(t, log), "this server may not end the client") })
	for uid, want := range map[int]int{stranger: 0, application: 1, 0: 1} {
		code, _, words = ns.run(uid, "env", harness.HelperEnv+"=goclient", helper, dir)
		require.Equal(t, want, code, "uid %d: %s", uid, words)
	}
	code, _, words = ns.wcfs(stranger, "stop", dir)
	require.Zero(t, code, words)
}

// TestUsualPlaceOfRootIsForAll if others are let in: they find the server there, and
// start none of their own.
func TestUsualPlaceOfRootIsForAll(t *testing.T) {
	needStranger(t)
	t.Parallel()
	ns := newNamespace(t)
	path := harness.CopyDatabase(t, "topo")
	zurl, helper := "file://"+path, harness.HelperCopy(t)
	harness.LetPass(t, path, harness.Binary)
	usual := harness.DefaultPoint(zurl)
	code, _, words := ns.wcfs(0, "mount", "--allow-other", path)
	require.Zero(t, code, words)
	for _, uid := range []int{0, stranger} {
		code, out, words := ns.run(uid, "env", harness.HelperEnv+"=join", helper, zurl)
		require.Zero(t, code, words)
		require.Equal(t, usual+"\n", out)
		code, out, words = ns.wcfs(uid, "mount", path)
		require.Equal(t, 3, code, words)
		require.Equal(t, usual+"\n", out)
		code, out, words = ns.wcfs(uid, "status", path)
		require.Zero(t, code, "%s%s", out, words)
	}
	code, _, words = ns.wcfs(stranger, "stop", path)
	require.NotZero(t, code)
	require.Contains(t, words, "belongs to user root")
	code, _, words = ns.wcfs(0, "stop", path)
	require.Zero(t, code, words)
}

// TestUsersAreToldWhatIsWrong in words of ours, and not of fusermount3, which knows a
// directory "." and options that nobody typed.
func TestUsersAreToldWhatIsWrong(t *testing.T) {
	needStranger(t)
	t.Parallel()
	ns := newNamespace(t)
	path := harness.CopyDatabase(t, "topo")
	theirs, ours := filepath.Join(t.TempDir(), "mnt"), filepath.Join(t.TempDir(), "mnt")
	harness.LetPass(t, path, harness.Binary, theirs, ours)
	for _, dir := range []string{theirs, ours} {
		require.NoError(t, os.Mkdir(dir, 0o755))
	}
	require.NoError(t, os.Chown(ours, stranger, stranger))
	try := func(dir string, code int, text string) {
		t.Helper()
		got, _, words := ns.wcfs(stranger, "mount", path, dir)
		require.Equal(t, code, got, words)
		require.Equal(t, fmt.Sprintf("wcfs: mount point %s: %s\n", dir, text), words)
	}
	try(theirs, 5, "this user may not write there; choose a directory you own")
	code, _, words := ns.run(0, "chmod", "600", "/dev/fuse")
	require.Zero(t, code, words)
	try(ours, 9, "no permission to open /dev/fuse; check its mode, or give the container --device /dev/fuse")
}

// TestMountOfFstabLetsOthersIn with the option that all FUSE filesystems have for that.
func TestMountOfFstabLetsOthersIn(t *testing.T) {
	needStranger(t)
	t.Parallel()
	root := installed(t)
	out := script(t, root, fmt.Sprintf(`
		mount -t tmpfs -o mode=755 none /mnt
		mkdir /mnt/data
		cp %s /mnt/data.fs
		chown 0:%d /mnt/data.fs
		chmod 640 /mnt/data.fs
		ln -sf $WCFS $ROOT/sbin/mount.wcfs
		mount --bind $ROOT/sbin /sbin
		trap '$WCFS stop /mnt/data' EXIT
		mount -t wcfs -o nofail,allow_other /mnt/data.fs /mnt/data
		as() { user=$1; shift; setpriv --reuid $user --regid $user --clear-groups "$@"; }
		echo application reads $(as %[2]d cat /mnt/data/head/at)
		! as %d cat /mnt/data/head/at
		$WCFS stop /mnt/data
		! mount -t wcfs -o allow_root /mnt/data.fs /mnt/data`, harness.CopyDatabase(t, "topo"), application, stranger))
	require.Regexp(t, `application reads [0-9a-f]{16}\n`, out)
	require.Contains(t, out, "/mnt/data/head/at: Permission denied")
	require.Contains(t, out, "allow_root is not understood: say allow_other")
}
