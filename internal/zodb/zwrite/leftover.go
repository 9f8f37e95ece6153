package zwrite

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/wcfs/wcfs/internal/zodb/fsformat"
)

// Leftover is what somebody has left who wrote a transaction and did not get to its
// end, as one who was killed.
type Leftover struct {
	Path  string // the database, or the file that it was saved to before
	Size  int64  // bytes
	Saved string // where it was saved now; "": it was removed
}

// cutTail takes what is behind the last finished transaction away. It is saved to a
// new file unless whoever wrote it can write it again.
func (db *DB) cutTail(size int64) error {
	end := db.index.TopPos
	found := Leftover{Path: db.path, Size: size - end}
	if !db.disposable(io.NewSectionReader(db.f, end, size-end)) {
		var err error
		if found.Saved, err = db.saveTail(end, size); err != nil {
			return fmt.Errorf("save the unfinished transaction at position %d: %w", end, err)
		}
	}
	if err := db.f.Truncate(end); err != nil {
		return fmt.Errorf("cut off the unfinished transaction at position %d: %w", end, err)
	}
	db.opt.Leftover(found)
	return nil
}

// disposable reports whether a tail is of somebody who can write it again.
func (db *DB) disposable(tail io.ReaderAt) bool {
	c := fsformat.Cursor{F: tail}
	t, err := c.TxnAt(0)
	if err != nil {
		return false
	}
	desc := make([]byte, t.Desc)
	if _, err := tail.ReadAt(desc, t.StringsPos()+int64(t.User)); err != nil {
		return false
	}
	return t.Status == fsformat.StatusVoted && db.opt.Disposable(desc)
}

// saveTail copies what is in the file from end on to a new file, and returns its path.
func (db *DB) saveTail(end, size int64) (path string, err error) {
	save, err := db.createTailFile()
	if err != nil {
		return "", err
	}
	_, err = io.Copy(save, io.NewSectionReader(db.f, end, size-end))
	if err == nil && !db.opt.NoSync {
		err = save.Sync()
	}
	if err = errors.Join(err, save.Close()); err != nil {
		_ = os.Remove(save.Name())
	}
	return save.Name(), err
}

// createTailFile creates the first of path.tr0, path.tr1, ... that does not
// exist.
func (db *DB) createTailFile() (*os.File, error) {
	for i := range math.MaxInt32 {
		f, err := db.like.create(fmt.Sprintf("%s.tr%d", db.path, i))
		if !errors.Is(err, fs.ErrExist) {
			return f, err
		}
	}
	return nil, fs.ErrExist
}

// removeTails removes tails that an application has found and saved when it opened
// the database, if whoever wrote them can write them again and nobody has them open.
func (db *DB) removeTails() {
	paths, _ := filepath.Glob(escapeGlob(db.path) + ".tr[0-9]*")
	for _, path := range paths {
		size, err := db.removeTail(path)
		switch {
		case err != nil:
			db.opt.Warnf("%s is not removed: %s", path, err)
		case size > 0:
			db.opt.Leftover(Leftover{Path: path, Size: size})
		}
	}
}

// removeTail removes one, and returns its size. The size is 0 if it stays.
func (db *DB) removeTail(path string) (size int64, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return 0, nil // it is of somebody else, or none
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil || !fi.Mode().IsRegular() || !db.disposable(f) || !nobodyHas(f) {
		return 0, nil
	}
	return fi.Size(), os.Remove(path)
}

// escapeGlob returns the pattern that stands for text.
func escapeGlob(text string) string {
	var out []byte
	for _, c := range []byte(text) {
		if c == '*' || c == '?' || c == '[' || c == '\\' {
			out = append(out, '\\')
		}
		out = append(out, c)
	}
	return string(out)
}
