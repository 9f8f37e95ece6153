package operate

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/t/harness"
	"golang.org/x/sys/unix"
)

// installed puts an installation below a new directory.
func installed(t *testing.T) (root string) {
	t.Helper()
	root = t.TempDir()
	out, err := exec.Command(harness.Repo("dist/install.sh"), harness.Binary, root, "/usr", "/sbin", "/usr/lib/systemd/system").CombinedOutput()
	require.NoError(t, err, "%s", out)
	return root
}

// script runs shell commands in a mount namespace of their own, where they may
// mount what they like, with $ROOT and $WCFS.
func script(t *testing.T, root, commands string) string {
	t.Helper()
	if os.Getuid() != 0 || exec.Command("unshare", "-m", "true").Run() != nil {
		t.Skip("may not make mount namespaces")
	}
	cmd := exec.Command("unshare", "-m", "--propagation", "private", "timeout", "60", "sh", "-euc", commands)
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "ROOT="+root, "WCFS="+harness.Binary)
	cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	require.NoError(t, harness.StartProcess(cmd))
	require.NoError(t, cmd.Wait(), "%s", &out)
	return out.String()
}

// TestInstallationIsWholeAndGoesAway: every command has a manual page, the
// completions are scripts, and uninstalling leaves nothing.
func TestInstallationIsWholeAndGoesAway(t *testing.T) {
	t.Parallel()
	root := installed(t)
	help, err := exec.Command(filepath.Join(root, "usr/bin/wcfs"), "--help").Output()
	require.NoError(t, err)
	commands := 0
	for line := range strings.Lines(string(help)) {
		name, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		if !strings.HasPrefix(line, "  ") || strings.HasPrefix(name, "-") || name == "wcfs" || name == "help" || name == "cat" && strings.Contains(line, "/mnt") {
			continue
		}
		commands++
		require.FileExists(t, filepath.Join(root, "usr/share/man/man1/wcfs-"+name+".1"))
	}
	require.Greater(t, commands, 10)
	completion := filepath.Join(root, "usr/share/bash-completion/completions/wcfs")
	if bash, err := exec.LookPath("bash"); err == nil {
		require.NoError(t, exec.Command(bash, "-n", completion).Run())
	}
	target, err := os.Readlink(filepath.Join(root, "sbin/mount.wcfs"))
	require.NoError(t, err)
	require.Equal(t, "/usr/bin/wcfs", target)

	out, err := exec.Command(harness.Repo("dist/uninstall.sh"), root, "/usr", "/sbin", "/usr/lib/systemd/system").CombinedOutput()
	require.NoError(t, err, "%s", out)
	left, err := exec.Command("find", root, "-not", "-type", "d").Output()
	require.NoError(t, err)
	require.Empty(t, string(left))
}

// TestUnitIsAccepted: systemd finds nothing wrong with the unit.
func TestUnitIsAccepted(t *testing.T) {
	t.Parallel()
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not installed")
	}
	unit := strings.ReplaceAll(harness.Content(t, harness.Repo("dist/wcfs@.service")), "/usr/bin/wcfs", harness.Binary)
	unit = strings.Replace(unit, "Documentation=man:wcfs(1)\n", "", 1) // it is not installed
	path := filepath.Join(t.TempDir(), "wcfs@.service")
	require.NoError(t, os.WriteFile(path, []byte(unit), 0o644))
	out, err := exec.Command(analyze, "verify", path).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Empty(t, string(out))
}

// TestUnitCopesWithSpaces: its command line, as systemd makes it of a configuration,
// is what serve understands, and errors that stay do not make it start again.
func TestUnitCopesWithSpaces(t *testing.T) {
	t.Parallel()
	unit := harness.Content(t, harness.Repo("dist/wcfs@.service"))
	line := regexp.MustCompile(`(?m)^ExecStart=/usr/bin/wcfs (.*)$`).FindStringSubmatch(unit)
	require.NotNil(t, line)
	expand := func(env map[string]string) (args []string) { // systemd.service(5), Command lines
		for _, word := range strings.Fields(line[1]) {
			if name, ok := strings.CutPrefix(word, "$"); ok && !strings.HasPrefix(name, "{") {
				args = append(args, strings.Fields(env[name])...)
				continue
			}
			args = append(args, os.Expand(word, func(name string) string { return env[name] }))
		}
		return args
	}
	path := filepath.Join(t.TempDir(), "my data.fs")
	harness.CopyFile(t, harness.CopyDatabase(t, "topo"), path)
	dir := filepath.Join(t.TempDir(), "my mount")
	require.NoError(t, os.Mkdir(dir, 0o755))
	for name, c := range map[string]harness.Config{
		"DATABASE": {ZURL: "file://" + path, Dir: dir},
		"ZURL":     {ZURL: "file://" + path, Dir: harness.DefaultPoint("file://" + path)},
	} {
		env := map[string]string{name: path, "OPTIONS": "-pintimeout 9s"}
		if c.Dir == dir {
			env["MOUNTPOINT"] = dir
		}
		args := expand(env)
		require.Equal(t, []string{"--", path, env["MOUNTPOINT"]}, args[len(args)-3:])
		c.Options, c.Typed, c.TypedDir = args[:len(args)-2], path, env["MOUNTPOINT"]
		if c.TypedDir == "" {
			c.TypedDir = harness.NoArgument
		}
		s := harness.Launch(t, c)
		require.Equal(t, "9.0", harness.Content(t, s.Path(".wcfs/pintimeout")))
		s.Stop()
	}
	prevented := regexp.MustCompile(`(?m)^RestartPreventExitStatus=(.*)$`).FindStringSubmatch(unit)
	require.NotNil(t, prevented)
	require.Subset(t, strings.Fields(prevented[1]), []string{"2", "3", "5", "7", "8", "9", "12"})
	require.Regexp(t, `(?m)^StartLimitIntervalSec=\S+\nStartLimitBurst=\d+$`, unit)
}

// TestMountCallsTheHelper: mount(8) mounts by type, with options as in fstab, and
// hands on what goes wrong.
func TestMountCallsTheHelper(t *testing.T) {
	t.Parallel()
	root := installed(t)
	out := script(t, root, `
		mkdir mnt
		cp `+harness.CopyDatabase(t, "topo")+` data.fs
		ln -sf $WCFS $ROOT/sbin/mount.wcfs
		mount --bind $ROOT/sbin /sbin
		trap '$WCFS stop $PWD/mnt' EXIT
		mount -t wcfs -o _netdev,nofail,lazytime,strictatime,dirsync,silent,iversion,X-a,comment=b,pintimeout=5s $PWD/data.fs $PWD/mnt
		mount -t wcfs $PWD/data.fs $PWD/mnt # as mount -a does again
		test $(grep -c " $PWD/mnt fuse.wcfs " /proc/mounts) = 1
		cat mnt/.wcfs/pintimeout; echo
		cat mnt/.wcfs/zurl; echo
		$WCFS stop $PWD/mnt
		! mount -t wcfs $PWD/nothing.fs $PWD/mnt
		! mount -t wcfs -o bogus $PWD/data.fs $PWD/mnt
		ls -A mnt`)
	require.Contains(t, out, "5.0\n")
	require.Contains(t, out, "file:///")
	require.Contains(t, out, "nothing.fs")
	require.Contains(t, out, `unknown option "bogus"`)
}

// TestBareRootIsEnough: a root directory with the program and /proc, as in the
// smallest container, runs the commands of README.
func TestBareRootIsEnough(t *testing.T) {
	t.Parallel()
	out := script(t, installed(t), `
		mkdir $ROOT/proc $ROOT/dev $ROOT/tmp $ROOT/tmp/climate
		mount -t proc proc $ROOT/proc
		mknod $ROOT/dev/fuse c 10 229
		mknod $ROOT/dev/null c 1 3
		printf 12345678 > $ROOT/tmp/raw
		wcfs() { env -i /usr/sbin/chroot $ROOT /usr/bin/wcfs "$@"; }
		wcfs import /tmp/raw /tmp/climate.fs temperature --raw
		wcfs mount /tmp/climate.fs /tmp/climate
		trap 'wcfs stop /tmp/climate' EXIT
		wcfs ls /tmp/climate.fs
		oid=$(wcfs ls /tmp/climate.fs --json | sed -n 's/.*"file": "\(.*\)".*/\1/p')
		head -c 8 $ROOT/tmp/climate/head/bigfile/$oid; echo
		wcfs status /tmp/climate
		wcfs stop /tmp/climate`)
	require.Contains(t, out, "12345678\n")
	require.Contains(t, out, "ok - read .wcfs/stats")
}

// TestUserUnmountsWithoutMtab: a system that was never booted has no /etc/mtab, and
// fusermount3 does not unmount there.
func TestUserUnmountsWithoutMtab(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"fusermount3", "setpriv", "umount"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("there is no %s", program)
		}
	}
	dir, err := os.MkdirTemp("/var/tmp", "wcfs-t-") // where others may look
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o755))
	harness.CopyFile(t, harness.Binary, filepath.Join(dir, "wcfs"))
	harness.CopyFile(t, harness.CopyDatabase(t, "topo"), filepath.Join(dir, "data.fs"))
	out := script(t, dir, `
		cd $ROOT
		chmod 755 wcfs
		chmod 644 data.fs
		mkdir mnt etc
		cp -a /etc/. etc
		rm -f etc/mtab
		mount --bind etc /etc
		mknod -m 666 fuse c 10 229
		mount --bind fuse /dev/fuse
		mount -t tmpfs -o mode=1777 none /dev/shm
		chown 65534 mnt .
		user() { setpriv --reuid 65534 --regid 65534 --clear-groups "$@"; }
		user ./wcfs mount data.fs $ROOT/mnt
		setpriv --reuid 65534 --regid 65534 --clear-groups sh -c 'cd mnt; exec sleep 1000' &
		trap 'kill $!; umount -l $ROOT/mnt 2>/dev/null || :' EXIT
		until [ "$(readlink /proc/$!/cwd)" = $ROOT/mnt ]; do :; done
		user ./wcfs stop $ROOT/mnt || echo "code $?"
		! grep " $ROOT/mnt " /proc/mounts
		user ./wcfs mount data.fs $ROOT/mnt
		user ./wcfs stop $ROOT/mnt
		! grep " $ROOT/mnt " /proc/mounts
		ls -A mnt`)
	require.Contains(t, out, "cannot be unmounted: it is in use")
	require.Contains(t, out, "code 1\n")
	require.NotContains(t, out, "mtab")
}
