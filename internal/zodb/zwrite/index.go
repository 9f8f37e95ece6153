package zwrite

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/wcfs/wcfs/internal/zodb/fsformat"
)

// buildIndex makes the index: from the saved one if the file is big, else, or if
// that cannot be trusted, by a scan. It leaves the tail alone.
func (db *DB) buildIndex(ctx context.Context, size int64) error {
	db.index, db.unsaved = fsformat.NewIndex(), true
	if size > db.opt.scanLimit {
		switch err := db.useSavedIndex(ctx, size); {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			db.unsaved = false
		default:
			db.opt.Warnf("%s: the saved index is not used: %s; scanning %d bytes", db.path, err, size)
		}
	}
	s := fsformat.NewScanner(db.f, size)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		t, tail, err := s.Next(db.index.TopPos, db.last)
		if err == nil && tail == fsformat.VotedTail {
			err = s.CheckNothingFollows(db.index.TopPos, db.last)
		}
		if err == io.EOF || err == nil && tail != fsformat.NoTail {
			break
		}
		var entries []fsformat.Entry
		if err == nil {
			entries, err = s.Records(&t)
		}
		if err != nil {
			return err
		}
		for _, e := range entries {
			db.index.Set(e.Oid, e.Pos)
		}
		db.index.TopPos, db.last, db.unsaved = t.End(), t.Tid, true
		db.opt.Progress(t.End(), size)
	}
	if !db.unsaved {
		return nil
	}
	// A saved index that happens to be right need not be saved again.
	if saved, err := fsformat.LoadIndex(db.indexPath(), size); err == nil && saved.Equal(db.index) {
		db.unsaved = false
	}
	return nil
}

func (db *DB) indexPath() string { return db.path + ".index" }

// useSavedIndex begins with the saved index if it agrees with the data. The
// error says why it cannot be used.
func (db *DB) useSavedIndex(ctx context.Context, size int64) error {
	index, err := fsformat.LoadIndex(db.indexPath(), size)
	if errors.Is(err, fs.ErrNotExist) {
		return errors.New("there is none")
	}
	if err != nil {
		return err
	}
	last, err := index.Verify(ctx, fsformat.NewScanner(db.f, size))
	if err != nil {
		return err
	}
	db.index, db.last = index, last.Tid
	return nil
}

// saveIndex writes the index under a temporary name, and renames it. db.mu is
// held.
func (db *DB) saveIndex() error {
	data := db.index.Encode(db.python2 != 0)
	tmp := db.indexPath() + ".index_tmp"
	_ = os.Remove(tmp) // of somebody who was killed
	f, err := db.like.create(tmp)
	if err != nil {
		return fmt.Errorf("save index: %w", err)
	}
	_, err = f.Write(data)
	if err == nil && !db.opt.NoSync {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(tmp, db.indexPath())
	}
	if err != nil {
		_ = os.Remove(tmp)
		return fmt.Errorf("save index: %w", err)
	}
	db.unsaved = false
	return nil
}
