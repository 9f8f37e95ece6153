package cli

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/t/harness"
)

// plainNode is a file of a filesystem that renames files and can do nothing more with
// names, as those of rclone and of other clouds.
type plainNode struct{ *fs.LoopbackNode }

func (n *plainNode) WrapChild(_ context.Context, child fs.InodeEmbedder) fs.InodeEmbedder {
	return &plainNode{child.(*fs.LoopbackNode)}
}

func (n *plainNode) Rename(ctx context.Context, name string, to fs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	if flags != 0 {
		return syscall.EINVAL
	}
	return n.LoopbackNode.Rename(ctx, name, to, newName, flags)
}

func (n *plainNode) Link(context.Context, fs.InodeEmbedder, string, *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return nil, syscall.ENOSYS
}

// mountPlain mounts such a filesystem and returns where.
func mountPlain(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	root := &fs.LoopbackRoot{Path: t.TempDir()}
	root.RootNode = &plainNode{&fs.LoopbackNode{RootData: root}}
	server, err := fs.Mount(dir, root.RootNode, &fs.Options{MountOptions: fuse.MountOptions{Name: "plain"}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, server.Unmount()) })
	return dir
}

// TestExportToAFilesystemThatOnlyRenames: the file is there, alone, and does not replace
// another one without --force.
func TestExportToAFilesystemThatOnlyRenames(t *testing.T) {
	t.Parallel()
	dir := mountPlain(t)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a"), nil, 0o600))
	require.Error(t, os.Link(filepath.Join(dir, "a"), filepath.Join(dir, "b")), "it is not what it should be")
	require.NoError(t, os.Remove(filepath.Join(dir, "a")))

	database, raw := filepath.Join(t.TempDir(), "Data.fs"), filepath.Join(t.TempDir(), "raw")
	require.NoError(t, os.WriteFile(raw, make([]byte, 1000), 0o600))
	importJSON(t, raw, database, "a", "--raw")
	out := filepath.Join(dir, "a.npy")
	code, _, stderr := harness.Run(t, "export", database, "a", "-o", out)
	require.Zero(t, code, stderr)
	first := harness.Content(t, out)
	require.Len(t, first, 128+1000)
	importJSON(t, raw, database, "a", "--raw", "--append")
	code, _, _ = harness.Run(t, "export", database, "a", "-o", out)
	require.Equal(t, 13, code)
	require.Equal(t, first, harness.Content(t, out))
	code, _, stderr = harness.Run(t, "export", database, "a", "-o", out, "--force")
	require.Zero(t, code, stderr)
	require.Len(t, harness.Content(t, out), 128+2000)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 1)
}
