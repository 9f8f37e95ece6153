package server

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/wcfs/wcfs/internal/fusefs"
)

// TestAccessIsThatOfTheDataFile but for bits that do not mean what they say.
func TestAccessIsThatOfTheDataFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data.fs")
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	uid, gid := uint32(os.Getuid()), uint32(os.Getgid())
	for mode, read := range map[os.FileMode]uint32{0o644: 0o444, 0o640: 0o440, 0o600: 0o400, 0o777: 0o444, 0o604: 0o404} {
		require.NoError(t, os.Chmod(path, mode))
		require.Equal(t, fusefs.Access{Others: true, UID: uid, GID: gid, Read: read}, accessLike(path), "%o", mode)
	}
	require.NoError(t, os.Symlink(path, path+".link"))
	require.NoError(t, os.Chmod(path, 0o640))
	require.Equal(t, accessLike(path), accessLike(path+".link"), "the file itself counts")
	require.Equal(t, fusefs.Access{Others: true, UID: uid, GID: gid, Read: 0o444}, accessLike(""), "no file")
	require.EqualValues(t, 0o400, accessLike(path+".gone").Read)

	// user::rw- user:12345:r-- group::--- mask::r-- other::---, as of acl(5)
	acl := []byte{2, 0, 0, 0,
		1, 0, 6, 0, 0xff, 0xff, 0xff, 0xff, 2, 0, 4, 0, 0x39, 0x30, 0, 0,
		4, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 16, 0, 4, 0, 0xff, 0xff, 0xff, 0xff, 32, 0, 0, 0, 0xff, 0xff, 0xff, 0xff}
	if err := unix.Setxattr(path, "system.posix_acl_access", acl, 0); err != nil {
		t.Skipf("NOT TESTED: access lists: %s", err)
	}
	require.EqualValues(t, 0o400, accessLike(path).Read, "what stat shows of the group is the mask")
}

// TestServerIsLetIntoItsOwnMount however it may read the database.
func TestServerIsLetIntoItsOwnMount(t *testing.T) {
	if os.Geteuid() == 0 {
		require.True(t, lets(fusefs.Access{UID: 1, GID: 1}), "root is let in anywhere")
		return
	}
	uid, gid := uint32(os.Geteuid()), uint32(os.Getegid())
	require.True(t, lets(fusefs.Access{UID: uid, GID: 0, Read: 0o400}))
	require.False(t, lets(fusefs.Access{UID: uid, GID: gid, Read: 0o044}))
	require.True(t, lets(fusefs.Access{UID: 0, GID: gid, Read: 0o040}))
	require.False(t, lets(fusefs.Access{UID: 0, GID: 0, Read: 0o440}))
}
