package mount

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestListHasOneEntryForEachServer: bind mounts belong to it, other filesystems
// and other FUSE servers do not count. A number may have been given to another
// mount while the table was read.
func TestListHasOneEntryForEachServer(t *testing.T) {
	t.Parallel()
	table := filepath.Join(t.TempDir(), "mountinfo")
	require.NoError(t, os.WriteFile(table, []byte(
		`22 27 0:21 / /proc rw,relatime - proc proc rw
40 22 0:50 / /mnt/a\040b rw,nosuid - fuse.wcfs file:///data\040x.fs rw,user_id=1000,group_id=1000,max_read=2097152
41 22 0:51 / /ssh rw - fuse.sshfs host: rw,user_id=1000
42 22 0:52 / /other rw shared:7 - fuse.wcfs neo://c@a:1?key=x,y rw,user_id=0,group_id=0
43 22 0:50 /head /srv/bind rw - fuse.wcfs file:///data\040x.fs rw,user_id=1000,group_id=1000
44 22 0:53 / /odd rw - fuse.wcfs none rw
45 22 0:50 / /later rw - fuse.wcfs file:///later.fs rw,user_id=0
`), 0o600))
	entries, err := listFrom(table)
	require.NoError(t, err)
	require.Equal(t, []Entry{
		{Dir: "/mnt/a b", Also: []string{"/srv/bind"}, Source: "file:///data x.fs", Minor: 50, UID: 1000},
		{Dir: "/other", Source: "neo://c@a:1?key=x,y", Minor: 52, UID: 0},
		{Dir: "/odd", Source: "none", Minor: 53, UID: -1},
		{Dir: "/later", Source: "file:///later.fs", Minor: 50, UID: 0},
	}, entries)
	require.Equal(t, []string{"/srv/bind", "/mnt/a b"}, entries[0].Places())
	require.EqualValues(t, 50, entries[0].Device())
	_, err = listFrom(table + "x")
	require.Error(t, err)
}

// TestNobodyUsesWhatIsNotMounted, although memory that is no file has the device
// number of nothing.
func TestNobodyUsesWhatIsNotMounted(t *testing.T) {
	t.Parallel()
	e := Entry{Dir: "/nowhere"}
	require.Empty(t, e.Users())
	require.Empty(t, e.User(os.Getpid()).Uses)
}

// TestUsesAreFoundByDevice, as of any filesystem.
func TestUsesAreFoundByDevice(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var st unix.Stat_t
	require.NoError(t, unix.Stat(dir, &st))
	e := Entry{Dir: dir, Major: int(unix.Major(st.Dev)), Minor: int(unix.Minor(st.Dev))}
	cmd := exec.Command("sleep", "1000")
	cmd.Dir = dir
	f, err := os.Open(dir)
	require.NoError(t, err)
	defer f.Close()
	cmd.ExtraFiles = []*os.File{f}
	require.NoError(t, cmd.Start())
	defer func() { _ = cmd.Wait() }()
	defer func() { _ = cmd.Process.Kill() }()
	uses := e.User(cmd.Process.Pid).Uses
	require.Contains(t, uses, "cwd")
	require.Contains(t, uses, "fd/3")
	require.NotContains(t, uses, "fd/0")
	e.Minor++
	require.Empty(t, e.User(cmd.Process.Pid).Uses)
}
