package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/t/harness"
)

// sourceTree returns a commit of the files of this checkout, as they are now, in a new
// repository.
func sourceTree(t *testing.T) (dir string) {
	t.Helper()
	files, err := exec.Command("git", "-C", harness.Repo(), "-c", "safe.directory=*", "ls-files", "-z", "-c", "-o", "--exclude-standard").Output()
	if err != nil {
		t.Skip("this is no checkout of git")
	}
	dir = t.TempDir()
	cmd := exec.Command("sh", "-euc", `
		tar -C "$2" --null --ignore-failed-read -T - -cf - | tar -C "$1" -xf -
		cd "$1"
		git init -q
		git add -A
		git -c user.name=t -c user.email=t@localhost commit -qm x`, "sh", dir, harness.Repo())
	cmd.Stdin = strings.NewReader(string(files))
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return dir
}

// shell runs commands in a directory and returns what they say.
func shell(t *testing.T, dir, commands string, env ...string) (out string, err error) {
	t.Helper()
	cmd := exec.Command("sh", "-euc", commands)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	text, err := cmd.CombinedOutput()
	return string(text), err
}

// TestReleaseIsOfACommit: its tarball says which commit it is without git, and its
// packages are built from that, of which a program in C can be built that works. The same
// commit gives the same files.
func TestReleaseIsOfACommit(t *testing.T) {
	t.Parallel()
	dir := sourceTree(t)
	out, err := shell(t, dir, `
		make release >&2
		cd dist-out
		test $(wc -l < SHA256SUMS) = 3
		sha256sum -c SHA256SUMS >&2
		dpkg-deb -f wcfs_*.deb Version
		dpkg-deb -x wcfs_*.deb root
		tar -xf *.tar.gz
		wcfs-*/dist/lib.sh .
		wcfs-*/dist/deb.sh root/usr/bin/wcfs .
		sha256sum -c SHA256SUMS >&2
		dpkg-deb -x libwcfs-dev_*.deb library
		echo '#include <wcfs.h>
			int main(void) { return !wcfs_join("/nowhere", &(wcfs_options){.no_start = 1}, &(wcfs *){0}, NULL); }' > try.c
		gcc -Werror -Ilibrary/usr/include -o try try.c -Llibrary/usr/lib/$(gcc -print-multiarch) -lwcfs
		LD_LIBRARY_PATH=library/usr/lib/$(gcc -print-multiarch) ./try
		root/usr/bin/wcfs --version
		zcat -f root/usr/share/man/man1/wcfs.1 | grep '^\.TH'
		grep '^\.TH' root/usr/share/man/man8/mount.wcfs.8
		grep '/usr/bin/wcfs serve' root/usr/lib/systemd/system/wcfs@.service
		git log -1 --format=%H
		echo x >> ../README.rst
		! make -C .. release`)
	require.NoError(t, err, out)
	require.Regexp(t, `(?m)^\d+\.\d+\.\d+$`, out, "a version is the whole number of the package")
	commit := regexp.MustCompile(`(?m)^[0-9a-f]{40}$`).FindString(out)
	require.Contains(t, out, "\ncommit: "+commit+" of 2")
	require.Regexp(t, `(?m)^\.TH "WCFS" "1" "20\d\d-\d\d-\d\d" "wcfs \d+\.\d+\.\d+"`, out)
	require.Regexp(t, `(?m)^\.TH "MOUNT.WCFS" "8" "20\d\d-\d\d-\d\d" "wcfs \d+\.\d+\.\d+"`, out)
	require.Contains(t, out, "files were changed since the last commit")
}

// TestCheckoutOfSomebodyElseIsBuilt, although git has nothing to do with it, and is
// installed by whoever has no Go.
func TestCheckoutOfSomebodyElseIsBuilt(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root can give files away")
	}
	dir := sourceTree(t)
	out, err := shell(t, dir, `
		! PATH=/usr/bin:/bin make install DESTDIR=$PWD/../root
		chown -R 65534 .
		unset GOFLAGS
		make >&2
		bin/wcfs --version
		PATH=/usr/bin:/bin GO=/nonsense make install DESTDIR=$PWD/../root
		../root/usr/local/bin/wcfs version | head -n 1
		git -c safe.directory='*' log -1 --format=%H
		PATH=/usr/bin:/bin make uninstall DESTDIR=$PWD/../root
		find ../root -type f`)
	require.NoError(t, err, out)
	require.Contains(t, out, "there is no bin/wcfs to install: run make first")
	commit := regexp.MustCompile(`(?m)^[0-9a-f]{40}$`).FindString(out)
	require.Contains(t, out, "\ncommit: "+commit+" of 2")
	require.NotContains(t, out, "../root/")
}

// TestSetupNamesTheGoThatIsNeeded, and never takes an older one.
func TestSetupNamesTheGoThatIsNeeded(t *testing.T) {
	t.Parallel()
	setup := func(version, toolchain string) (out string, err error) {
		dir := t.TempDir()
		script := "#!/bin/sh\ncase \"$*\" in 'env GOVERSION') echo go" + version + ";; 'env GOTOOLCHAIN') echo " + toolchain +
			";; version) test " + toolchain + " = auto ;; esac\n"
		if version != "" {
			require.NoError(t, os.WriteFile(filepath.Join(dir, "go"), []byte(script), 0o755))
		}
		for _, apt := range []string{"apt-get", "apt-cache"} { // of a distribution with an old one
			text := "#!/bin/sh\n[ $1 = policy ] && echo '  Candidate: 2:1.19~1' || { echo INSTALLED; exit 1; }\n"
			require.NoError(t, os.WriteFile(filepath.Join(dir, apt), []byte(text), 0o755))
		}
		return shell(t, harness.Repo("t"), `exec ./setup.sh go`, "PATH="+dir+":/usr/bin:/bin", "GO=go", "SSL_CERT_FILE=x")
	}
	for _, c := range []struct{ version, toolchain, says string }{
		{"1.19.8", "", "Go 1.26.0 or newer is needed, and .*/go is 1.19.8: get it from https://go.dev/dl/\n$"},
		{"1.24.4", "local", "Go 1.26.0 or newer is needed, and .*/go is 1.24.4: get it from https://go.dev/dl/\nor let that get it: GOTOOLCHAIN=auto make\n$"},
		{"", "", "there is no go in the PATH; Go 1.26.0 or newer is needed: https://go.dev/dl/\n(.*\n)?that of this distribution \\(1.19\\) is too old\n$"},
	} {
		out, err := setup(c.version, c.toolchain)
		require.Error(t, err, out)
		require.Regexp(t, "^"+c.says, out)
	}
	for _, c := range []struct{ version, toolchain, says string }{
		{"1.26.0", "local", "^$"},
		{"1.26.8", "local", "^$"},
		{"1.30", "local", "^$"},
		{"1.24.4", "auto", "^Go 1.24.4 is too old, so it downloads Go 1.26.0\n$"},
	} {
		out, err := setup(c.version, c.toolchain)
		require.NoError(t, err, out)
		require.Regexp(t, c.says, out)
	}
}
