package demo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/wcfs/wcfs/internal/serve/mount"
)

// place is the private directory of a demo.
type place struct {
	dir      string
	database string // the data file
	point    string // mount point
}

func makePlace() (*place, error) {
	dir, err := os.MkdirTemp("", "wcfs-demo-")
	if err != nil {
		return nil, fmt.Errorf("make a temporary directory (TMPDIR says where): %w", err)
	}
	// The mount table has no symlinks.
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	p := &place{dir: dir, database: filepath.Join(dir, "demo.fs"), point: filepath.Join(dir, "mnt")}
	if err := os.Mkdir(p.point, 0o755); err != nil {
		return nil, errors.Join(err, p.remove(false))
	}
	return p, nil
}

// remove takes the directory away, when the server has ended. With keep the
// database stays.
func (p *place) remove(keep bool) error {
	// It detaches the mount that a server that was killed has left.
	if point, err := mount.Prepare(context.Background(), p.point, false); err == nil {
		point.Remove()
	}
	// A mount must never be emptied: this call fails if there still is one.
	if err := os.Remove(p.point); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("clean up: %w; then remove %s yourself", err, p.dir)
	}
	if keep {
		_ = os.Remove(p.database + ".lock")
		return nil
	}
	if err := os.RemoveAll(p.dir); err != nil {
		return fmt.Errorf("clean up: %w; remove %s yourself", err, p.dir)
	}
	return nil
}
