package control

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wcfs/wcfs/internal/serve/mount"
)

// TestProcessOfTheNextMountIsNotTaken: a mount goes while the processes are looked at, and
// the kernel gives its number to that of another server.
func TestProcessOfTheNextMountIsNotTaken(t *testing.T) {
	t.Parallel()
	going := mount.Entry{Dir: "/mnt/a", Source: "file:///a.fs", Minor: 50}
	stays := mount.Entry{Dir: "/mnt/b", Also: []string{"/mnt/b2"}, Source: "file:///b.fs", Minor: 51}
	found := fuseProcessList{{pid: 1 << 29, conns: []int{50}}, {pid: 1<<29 + 1, conns: []int{51}}}
	servers := found.serversOf([]mount.Entry{going, stays}, []mount.Entry{
		{Dir: "/mnt/c", Source: "file:///c.fs", Minor: 50},
		{Dir: "/mnt/b2", Also: []string{"/mnt/b"}, Source: "file:///b.fs", Minor: 51},
	})
	require.Len(t, servers, 1, "%+v", servers)
	require.Equal(t, stays, servers[0].Entry)
	require.Equal(t, 1<<29+1, servers[0].PID)
}
