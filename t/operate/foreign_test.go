package operate

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/client"
	"github.com/wcfs/wcfs/t/harness"
	"golang.org/x/sys/unix"
)

// stranger and bin are other users than the one that the tests run as, with names.
const (
	stranger = 65534
	bin      = 2
)

// helperFlock locks a directory until it is ended. Argument: the directory.
func helperFlock(args []string) error {
	f, err := os.Open(args[0])
	if err != nil {
		return err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return err
	}
	fmt.Println("ready")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// helperJoin prints where a client finds a database. Argument: the url.
func helperJoin(args []string) error {
	w, err := client.Join(context.Background(), args[0])
	if err != nil {
		return err
	}
	fmt.Println(w.Mountpoint())
	return w.Close()
}

// needRoot skips a test for which one has to be root.
func needRoot(t *testing.T, why string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("NOT TESTED: only root can " + why)
	}
}

// needStranger skips a test that needs a second user.
func needStranger(t *testing.T) { t.Helper(); needRoot(t, "act as a second user") }

// ownPoint is where a user has a database whose usual place is another user's.
func ownPoint(uid int, zurl string) string {
	return strings.Replace(harness.DefaultPoint(zurl), harness.DefaultRoot, fmt.Sprintf("%s-%d", harness.DefaultRoot, uid), 1)
}

// newContested returns a database whose usual place is about to be taken. At the
// end that is removed, and the places of single users with it.
func newContested(t *testing.T) (path, zurl, usual, own string) {
	t.Helper()
	needStranger(t)
	path = harness.CopyDatabase(t, "topo")
	harness.LetPass(t, path, harness.Binary)
	zurl = "file://" + path
	usual, own = harness.DefaultPoint(zurl), ownPoint(os.Getuid(), zurl)
	if err := os.Mkdir(harness.DefaultRoot, 0o777); err == nil {
		require.NoError(t, os.Chmod(harness.DefaultRoot, 0o777|os.ModeSticky))
	}
	t.Cleanup(func() {
		_, _, _ = harness.Run(t, "stop", "--timeout", "10s", own)
		_ = os.RemoveAll(usual)
		_ = os.Remove(filepath.Dir(own)) // if no other test uses it
		require.NoDirExists(t, own)
	})
	return path, zurl, usual, own
}

// TestWhatAStrangerHasPutThereIsNotUsed: whatever is at the usual place, nothing of
// it is followed, mounted on, or waited for; and the server is found elsewhere.
func TestWhatAStrangerHasPutThereIsNotUsed(t *testing.T) {
	t.Parallel()
	for what, plant := range map[string]func(usual, target string) error{
		"link":          func(usual, target string) error { return os.Symlink(target, usual) },
		"dangling link": func(usual, target string) error { return os.Symlink(target+"/no", usual) },
		"directory":     func(usual, _ string) error { return os.Mkdir(usual, 0o777) },
		"file":          func(usual, _ string) error { return os.WriteFile(usual, nil, 0o666) },
		"fifo":          func(usual, _ string) error { return unix.Mkfifo(usual, 0o666) },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			path, zurl, usual, own := newContested(t)
			target := t.TempDir()
			require.NoError(t, plant(usual, target))
			require.NoError(t, os.Lchown(usual, stranger, stranger))

			code, _, words := harness.Run(t, "-logtostderr", zurl, usual) // as wendelin.core does it
			require.Equal(t, 5, code, words)
			require.Contains(t, words, "belongs to user nobody")
			code, _, words = harness.Run(t, "mount", path, usual)
			require.Equal(t, 5, code, words)

			code, out, words := harness.Run(t, "mount", path)
			require.Zero(t, code, words)
			require.Equal(t, own+"\n", out)
			require.Contains(t, words, "the usual place is not free: "+usual+": ")
			require.Contains(t, words, "belongs to user nobody")
			require.Equal(t, "fuse.wcfs", harness.MountEntry(t, own).FSType)
			require.Empty(t, harness.Mounts(target))
			require.Empty(t, harness.List(t, target))
			require.EqualValues(t, 0o700, harness.Stat(t, filepath.Dir(own)).Mode&0o7777)
			w, err := client.Join(t.Context(), zurl)
			require.NoError(t, err)
			require.Equal(t, own, w.Mountpoint())
			require.NoError(t, w.Close())
			code, _, words = harness.Run(t, "status", path)
			require.Zero(t, code, words)
			code, out, words = harness.Run(t, "mount", path)
			require.Equal(t, 3, code, words)
			require.Equal(t, own+"\n", out)
			code, _, words = harness.Run(t, "stop", path)
			require.Zero(t, code, words)
			require.NoDirExists(t, own)
			_, err = os.Lstat(usual)
			require.NoError(t, err, "what is not ours stays")

			s := harness.Launch(t, harness.Config{Options: []string{"serve"}, ZURL: zurl, Dir: own, TypedDir: "-"})
			require.Contains(t, s.Log(), "the usual place is not free")
			s.Stop()
			require.NoDirExists(t, own)
		})
	}
}

// TestPlantedRootIsNotUsed, be it a link, of another user and closed, or such that
// anybody may remove what is in it.
func TestPlantedRootIsNotUsed(t *testing.T) {
	needStranger(t)
	t.Parallel()
	for what, plant := range map[string]string{
		"link":    `mkdir /dev/shm/trap && chmod 1777 /dev/shm/trap && ln -s trap /dev/shm/wcfs && chown -h 65534:65534 /dev/shm/wcfs`,
		"file":    `touch /dev/shm/wcfs && chown 65534:65534 /dev/shm/wcfs`,
		"anybody": `mkdir /dev/shm/wcfs && chmod 777 /dev/shm/wcfs && chown 65534:65534 /dev/shm/wcfs`,
	} {
		path := harness.CopyDatabase(t, "topo")
		dir := ownPoint(os.Getuid(), "file://"+path)
		out := script(t, path, `mount -t tmpfs -o mode=1777 none /dev/shm; `+plant+`
			$WCFS mount $ROOT && grep " fuse.wcfs " /proc/self/mountinfo && $WCFS status $ROOT && $WCFS stop $ROOT; ls -AR /dev/shm/`)
		require.Contains(t, out, " "+dir+" ", what)
		require.Contains(t, out, "the usual place is not free: /dev/shm/wcfs: ", what)
		require.NotContains(t, out[strings.LastIndex(out, "/dev/shm/:"):], filepath.Base(dir), what)
	}
}

// TestStrangersLockKeepsNobodyOut, neither at the usual place nor elsewhere: whoever
// may open a directory may lock it.
func TestStrangersLockKeepsNobodyOut(t *testing.T) {
	t.Parallel()
	_, zurl, usual, _ := newContested(t)
	given := filepath.Join(t.TempDir(), "mnt")
	harness.LetPass(t, given)
	for _, dir := range []string{usual, given} {
		require.NoError(t, os.Mkdir(dir, 0o755)) // as wendelin.core does it
		thief := harness.StartHelperAs(t, stranger, "flock", dir)
		require.Equal(t, "ready", thief.Line())
		s := harness.Launch(t, harness.Config{ZURL: zurl, Dir: dir})
		s.Stop()
		thief.Kill()
	}
	thief := harness.StartHelperAs(t, stranger, "flock", usual)
	require.Empty(t, thief.Line(), "by then the directory is closed to others")
}

// TestUsersDoNotCollide: two have the same database mounted at the same time, each
// finds their own server and does not disturb the other.
func TestUsersDoNotCollide(t *testing.T) {
	needStranger(t)
	t.Parallel()
	ns := newNamespace(t)
	path := harness.CopyDatabase(t, "topo")
	harness.LetPass(t, path, harness.Binary)
	zurl, helper := "file://"+path, harness.HelperCopy(t)
	usual := harness.DefaultPoint(zurl)
	for _, pair := range [][2]int{{0, stranger}, {stranger, 0}, {stranger, bin}} {
		first, second := pair[0], pair[1]
		places := map[int]string{first: usual, second: ownPoint(second, zurl)}
		code, out, words := ns.wcfs(first, "mount", path)
		require.Zero(t, code, words)
		require.Equal(t, usual+"\n", out)
		require.Empty(t, words)
		code, out, words = ns.wcfs(second, "mount", path)
		require.Zero(t, code, words)
		require.Equal(t, places[second]+"\n", out)
		require.Contains(t, words, "the usual place is not free: "+usual+": the server there belongs to u")
		for _, args := range [][]string{{"mount", path, usual}, {"-logtostderr", zurl, usual}, {"serve", zurl, usual}} {
			code, _, words = ns.wcfs(second, args...)
			require.Equal(t, 3, code, "%s", words)
			require.Contains(t, words, "the server there belongs to u")
		}
		for uid, place := range places {
			code, out, words = ns.run(uid, "env", harness.HelperEnv+"=join", helper, zurl)
			require.Zero(t, code, words)
			require.Equal(t, place+"\n", out)
			_, out, words = ns.wcfs(uid, "status", path)
			require.True(t, strings.HasPrefix(out, "ok - mount entry: "+place+" "), "the own one comes first: %s%s", out, words)
			code, out, words = ns.wcfs(uid, "mount", path)
			require.Equal(t, 3, code, words)
			require.Equal(t, place+"\n", out)
		}
		for _, uid := range []int{second, first} {
			code, _, words = ns.wcfs(uid, "stop", path)
			require.Zero(t, code, words)
			require.Empty(t, words)
			code, _, _ = ns.run(0, "test", "!", "-e", places[uid])
			require.Zero(t, code, "the directory is left")
		}
	}
	_, out, _ := ns.run(0, "cat", "/proc/self/mountinfo")
	require.NotContains(t, out, path)
}

// TestClientsTakeOnlyMountsForMounts, of their own user, and of their database.
func TestClientsTakeOnlyMountsForMounts(t *testing.T) {
	t.Parallel()
	_, zurl, usual, _ := newContested(t)
	look := func(dir string) {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, ".wcfs"), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, ".wcfs/zurl"), []byte(zurl), 0o644))
		require.NoError(t, os.MkdirAll(filepath.Join(dir, "head"), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "head/at"), []byte("0000000000000001"), 0o644))
	}
	look(usual)
	_, err := client.Join(t.Context(), zurl)
	require.ErrorIs(t, err, client.ErrNotRunning, "our own files")
	_, err = client.JoinMount(t.Context(), usual)
	require.ErrorIs(t, err, client.ErrNotRunning)
	require.NoError(t, os.RemoveAll(usual))

	elsewhere := t.TempDir()
	look(elsewhere)
	require.NoError(t, os.Symlink(elsewhere, usual))
	_, err = client.Join(t.Context(), zurl)
	require.ErrorIs(t, err, client.ErrNotRunning, "a link")
	require.NoError(t, os.Remove(usual))

	require.NoError(t, unix.Mkdir(usual, 0o755))
	require.NoError(t, unix.Mount("none", usual, "tmpfs", 0, ""))
	defer unix.Unmount(usual, unix.MNT_DETACH)
	look(usual)
	_, err = client.Join(t.Context(), zurl)
	require.ErrorIs(t, err, client.ErrNotRunning, "another filesystem")
	require.NoError(t, unix.Unmount(usual, 0))

	other := harness.Launch(t, harness.Config{ZURL: "file://" + harness.CopyDatabase(t, "topo"), Dir: usual})
	_, err = client.Join(t.Context(), zurl)
	require.ErrorIs(t, err, client.ErrNotRunning, "the server of another database")
	require.ErrorContains(t, err, "another database")
	w, err := client.JoinMount(t.Context(), usual)
	require.NoError(t, err)
	require.Equal(t, other.ZURL, w.ZURL())
	require.NoError(t, w.Close())
	h := harness.StartHelperAs(t, stranger, "join", other.ZURL)
	require.Empty(t, h.Line(), "another user")
	require.Equal(t, 1, h.Wait())
	other.Stop()

	// A server that hangs is not asked what it is.
	right := harness.Launch(t, harness.Config{ZURL: zurl, Dir: usual})
	w, err = client.Join(t.Context(), zurl)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	right.Stop()
}
