package fs1

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/fault"
	"github.com/wcfs/wcfs/internal/zodb/fsformat"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// Open opens the FileStorage that u names. It implements storage.Opener.
//
// The only storage option that is understood is read_only, and only if true.
func Open(ctx context.Context, u storage.URL, opt storage.Options) (storage.Storage, zodb.Tid, error) {
	s, at0, err := open(ctx, u, opt, defaultConfig())
	if err != nil {
		return nil, 0, err
	}
	return s, at0, nil
}

func open(ctx context.Context, u storage.URL, opt storage.Options, cfg config) (_ *Storage, at0 zodb.Tid, err error) {
	fail := func(reason fault.Kind, msg, hint string, err error) error {
		return &storage.OpenError{Reason: reason, URL: storage.Redact(u.Raw), Msg: msg, Hint: hint, Err: err}
	}
	if err := checkOptions(u); err != nil {
		return nil, 0, err
	}
	// The path is looked at again and again, whatever becomes of the directory
	// of the process.
	path, err := filepath.Abs(u.FilePath(opt.Home))
	if err != nil {
		return nil, 0, fail(fault.Unreachable, "cannot be located: "+err.Error(), "", err)
	}
	f, fi, err := openFile(path)
	if err != nil {
		var bad *fileError
		if errors.As(err, &bad) {
			return nil, 0, fail(bad.reason, bad.msg, bad.hint, bad.err)
		}
		return nil, 0, fail(fault.Unreachable, "cannot be read: "+err.Error(), "", err)
	}

	s := newStorage(ctx, path, u, opt, cfg)
	// Notifications are asked for before the scan, so that no change is missed.
	notify := s.newNotifier()
	df := newDataFile(f, fi)
	if err := s.buildIndex(ctx, df, fi.Size()); err != nil {
		s.cancel()
		notify.close()
		_ = f.Close()
		switch {
		case fsformat.IsDamage(err):
			return nil, 0, fail(fault.NotADatabase, "is damaged: "+err.Error(),
				"run wcfs check on it to see all of it; restore it from a backup or have a recovery tool write a repaired copy", err)
		case ctx.Err() != nil:
			return nil, 0, fmt.Errorf("open %s: %w", s.url, ctx.Err())
		}
		return nil, 0, fail(fault.Unreachable, "cannot be read: "+err.Error(), "", err)
	}
	s.cur, s.opened, s.head = df, df, df.last
	s.curFrom = df.packed
	if !df.scanned {
		s.curFrom = df.last // where a pack went up to is not known
	}
	s.complete, s.newest = s.curFrom, s.curFrom
	at0 = df.last
	fo := &follower{Storage: s, df: df, notify: notify}
	s.start(fo.run)
	return s, at0, nil
}

// checkOptions refuses options of u that cannot be honoured.
func checkOptions(u storage.URL) error {
	opt, err := u.FileOptions()
	switch {
	case err != nil:
		return err
	case opt.ReadOnly != nil && !*opt.ReadOnly:
		return u.RefuseOption("read_only", "databases are only opened for reading: leave it out or set it to 1")
	case opt.Create != nil:
		return u.RefuseOption("create", "databases are never created: leave it out and have the application create the database")
	}
	return nil
}

// fileError says why a path is no data file.
type fileError struct {
	reason    fault.Kind
	msg, hint string
	err       error
}

func (e *fileError) Error() string { return e.msg }
func (e *fileError) Unwrap() error { return e.err }

// openFile opens the data file at path and checks its magic. Errors that the
// user can do something about are a *fileError.
func openFile(path string) (_ *os.File, _ os.FileInfo, err error) {
	// Opening something else than a file may block, or have effects.
	if fi, err := os.Stat(path); err != nil {
		return nil, nil, sysError(err)
	} else if fi.IsDir() {
		return nil, nil, &fileError{fault.NotADatabase, "is a directory", "give the data file in it, as in " + filepath.Join(path, "Data.fs"), nil}
	} else if !fi.Mode().IsRegular() {
		return nil, nil, &fileError{fault.NotADatabase, "is not a regular file", "", nil}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, sysError(err)
	}
	defer func() {
		if err != nil {
			_ = f.Close()
		}
	}()
	fi, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	if err := checkMagic(f); err != nil {
		return nil, nil, err
	}
	return f, fi, nil
}

func sysError(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &fileError{fault.Unreachable, "no such file", "check the path; databases are never created", err}
	case errors.Is(err, fs.ErrPermission):
		return &fileError{fault.Unreachable, "permission denied", "the data file must be readable for this user", err}
	}
	return err
}

func checkMagic(f io.ReaderAt) error {
	magic, ok, err := fsformat.ReadMagic(f)
	begins := fmt.Sprintf("a FileStorage begins with %q or %q", fsformat.MagicPy2, fsformat.MagicPy3)
	switch {
	case err != nil:
		return err
	case magic == "":
		return &fileError{fault.NotADatabase, "is empty: " + begins, "have the application create the database first", nil}
	case !ok:
		return &fileError{fault.NotADatabase, fmt.Sprintf("is not a FileStorage: it begins with %q", magic), begins, nil}
	}
	return nil
}

// buildIndex makes the index of df complete: from the saved one if the file is
// big, else, or if that cannot be trusted, by a scan.
func (s *Storage) buildIndex(ctx context.Context, df *dataFile, size int64) error {
	if size > s.cfg.scanLimit {
		err := df.useSavedIndex(ctx, s.path+".index", size)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, fs.ErrNotExist):
			s.opt.Warn("%s: there is no saved index; scanning %d bytes", s.url, size)
		case err != nil:
			s.opt.Warn("%s: the saved index is not used: %s; scanning %d bytes", s.url, err, size)
		}
	}
	err := df.extend(ctx, zodb.TidMax, s.opt.Progress, func() *fsformat.Index { return s.savedIndex(size) })
	if err == nil && df.damage.any() {
		s.opt.Warn("%s: %s", s.url, df.damage.summary())
	}
	return err
}

// savedIndex returns the saved index if it can be read, for a file of size bytes.
func (s *Storage) savedIndex(size int64) *fsformat.Index {
	index, err := fsformat.LoadIndex(s.path+".index", size)
	if err != nil {
		return nil
	}
	return index
}
