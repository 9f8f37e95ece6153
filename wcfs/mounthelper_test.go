package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestMountHelperArguments: what mount(8) and lines of fstab give is understood.
func TestMountHelperArguments(t *testing.T) {
	for _, c := range []struct{ args, want, err string }{
		{"data.fs /mnt", "mount data.fs /mnt", ""},
		{"data.fs /mnt -o rw", "mount data.fs /mnt", ""},
		{"data.fs /mnt -n -o rw,noauto,x-systemd.automount,_netdev,pintimeout=9s,autoexit", "mount --pintimeout=9s --autoexit data.fs /mnt", ""},
		{"-t wcfs data.fs -sv /mnt -o bogus,debug", "mount --debug data.fs /mnt", ""},
		{"data.fs /mnt -fn", "fake mount data.fs /mnt", ""},
		{"data.fs /mnt -o defaults -o log_dir=/var/log", "mount --log_dir=/var/log data.fs /mnt", ""},
		{"data.fs /mnt -o allow_other,default_permissions,nosuid", "mount --allow-other data.fs /mnt", ""},
		{"data.fs /mnt -o allow_root", "", "say allow_other"},
		{"data.fs /mnt -o allow_other=1", "", `unknown option "allow_other=1"`},
		{"data.fs /mnt -o lazytime,nolazytime,strictatime,iversion,dirsync,sync,async,silent,loud,nofail,mand", "mount data.fs /mnt", ""},
		{"data.fs /mnt -o x-initrd.mount,X-mount.mkdir=0755,_netdev,user,users,owner,group,noauto,auto,nosymfollow", "mount data.fs /mnt", ""},
		{"data.fs /mnt -o comment=a=b,context=\"system_u:object_r:t:s0:c1,c2\",debug", "mount --debug data.fs /mnt", ""},
		{"data.fs /mnt -o remount,ro", "", "remount in -o cannot be done; stop the server, and mount again"},
		{"data.fs /mnt -s -o remount", "", "remount in -o cannot be done"},
		{"data.fs /mnt -o loop=/dev/loop0", "", "loop in -o cannot be done; DATABASE is a file of ZODB"},
		{"data.fs /mnt -o comments", "", `unknown option "comments"`},
		{"data.fs /mnt -o bogus", "", `unknown option "bogus"`},
		{"data.fs /mnt -o", "", "-o needs a value"},
		{"data.fs /mnt -x", "", "unknown option -x"},
		{"data.fs /mnt -", "", "unknown option -"},
		{"data.fs", "", "got 1 arguments"},
	} {
		got, fake, err := helperArgs(strings.Fields(c.args))
		if c.err != "" {
			require.ErrorContains(t, err, c.err, c.args)
			continue
		}
		require.NoError(t, err, c.args)
		text := strings.Join(got, " ")
		if fake {
			text = "fake " + text
		}
		require.Equal(t, c.want, text, c.args)
	}
	// All that libmount knows is taken or refused for a reason (mount(8),
	// FILESYSTEM-INDEPENDENT MOUNT OPTIONS).
	for option := range strings.FieldsSeq(`async atime noatime auto noauto context=x fscontext=x defcontext=x rootcontext=x defaults
		dev nodev diratime nodiratime dirsync exec noexec group iversion noiversion mand nomand _netdev nofail relatime norelatime
		strictatime nostrictatime lazytime nolazytime suid nosuid silent loud owner remount ro rw sync user nouser users X-a x-a=b nosymfollow`) {
		_, err := helperOptions([]string{option}, false)
		require.Equal(t, option == "remount", err != nil, "%s: %v", option, err)
	}
	require.True(t, isMountHelper("/sbin/mount.wcfs"))
	require.False(t, isMountHelper("/usr/bin/wcfs"))
}
