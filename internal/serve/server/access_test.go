package server

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/wcfs/wcfs/internal/serve/fusefs"
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

// TestWhoMayReadOnlyOneOfTwoFilesIsNotLetIn tries two files of any owners and modes.
func TestWhoMayReadOnlyOneOfTwoFilesIsNotLetIn(t *testing.T) {
	me := uint32(os.Geteuid())
	var all []fusefs.Access
	for _, read := range []uint32{0o444, 0o440, 0o404, 0o400, 0o044, 0o040, 0o004, 0} {
		for _, owner := range [][2]uint32{{me, me}, {1001, 2001}, {1001, 2002}, {1002, 2001}} {
			all = append(all, fusefs.Access{Others: true, UID: owner[0], GID: owner[1], Read: read})
		}
	}
	type user struct {
		uid    uint32
		groups []uint32
	}
	may := func(u user, a fusefs.Access) bool {
		switch {
		case u.uid == a.UID:
			return a.Read&0o400 != 0
		case slices.Contains(u.groups, a.GID):
			return a.Read&0o040 != 0
		}
		return a.Read&0o004 != 0
	}
	for _, a := range all {
		for _, b := range all {
			got := both(a, b)
			require.True(t, lets(got))
			for _, uid := range []uint32{1001, 1002, 1003} {
				for _, groups := range [][]uint32{{3000}, {2001}, {2002}, {2001, 2002}, {uint32(os.Getegid())}} {
					u := user{uid, groups}
					if may(u, got) {
						require.True(t, may(u, a) && may(u, b), "%v is let in by %v: %v and %v", u, got, a, b)
					}
				}
			}
			if a.UID == b.UID && a.GID == b.GID && lets(fusefs.Access{UID: a.UID, GID: a.GID, Read: a.Read & b.Read}) {
				require.Equal(t, a.Read&b.Read, got.Read)
			}
		}
	}
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
