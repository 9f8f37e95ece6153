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
	require.True(t, isMountHelper("/sbin/mount.wcfs"))
	require.False(t, isMountHelper("/usr/bin/wcfs"))
}
