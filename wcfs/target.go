package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/wcfs/wcfs/internal/arrays/transfer"
	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/internal/zodb/zeo"
	"github.com/wcfs/wcfs/internal/zodb/zwrite"
)

// target is the database that is written to: a data file, or one behind a server.
type target struct {
	server  *serverTarget
	path    string // of the data file
	create  bool   // make it if it does not exist
	hint    string // what to do if it does not exist, and is not made
	db      *zwrite.DB
	created bool
	notes   []string // what there is to say about what was found
}

// importTarget returns the database that a person named. The options of a url are
// honoured, or refused.
func importTarget(arg string, f *importFlags) (*target, error) {
	server, err := parseServer(arg, f)
	if server != nil || err != nil {
		return &target{server: server}, err
	}
	u, opt, err := fileURL(arg, "only files, and databases behind a ZEO server, can be written")
	if err != nil {
		return nil, err
	}
	if opt.ReadOnly != nil && *opt.ReadOnly {
		return nil, &storage.OpenError{Reason: storage.BadURL, URL: storage.Redact(u.Raw),
			Msg: `option "read_only" forbids to write to it`, Hint: "leave it out to import"}
	}
	home, _ := os.UserHomeDir()
	t := &target{path: u.FilePath(home)}
	if _, err := os.Stat(t.path); err == nil && opt.Create != nil && *opt.Create {
		return nil, &storage.OpenError{Reason: storage.BadURL, URL: storage.Redact(u.Raw),
			Msg: `option "create" asks for a new database, and there is one`, Hint: "leave it out to add to that"}
	}
	t.mayCreate(arg, f, opt.Create)
	return t, nil
}

// fileURL returns what a person named, which must be a file. only is said if it is not.
func fileURL(arg, only string) (u storage.URL, opt storage.FileOptions, err error) {
	zurl, err := resolveURL(arg)
	if err != nil {
		return u, opt, err
	}
	if u, err = storage.ParseURL(zurl); err != nil {
		return u, opt, err
	}
	switch u.Scheme {
	case "file":
	case "demo":
		return u, opt, &storage.OpenError{Reason: storage.UnknownScheme, URL: storage.Redact(zurl),
			Msg: only + ", and this is one database over another", Hint: "its delta alone would not do: it lacks what is only in the base"}
	default:
		return u, opt, &storage.OpenError{Reason: storage.UnknownScheme, URL: storage.Redact(zurl),
			Msg: only, Hint: "use file:///path/to/Data.fs, or its path"}
	}
	opt, err = u.FileOptions()
	return u, opt, err
}

// mayCreate decides whether the database is made if it does not exist. What looks like
// something else than a database is not taken for one.
func (t *target) mayCreate(arg string, f *importFlags, asked *bool) {
	switch {
	case f.append:
		t.hint = "check the path; without --append a new database would be made"
	case asked != nil && !*asked:
		t.hint = `check the path; option "create" says that none is to be made`
	case f.create, asked != nil, strings.Contains(arg, "://"), strings.EqualFold(filepath.Ext(t.path), ".fs"):
		t.create = true
	default:
		t.hint = "check the path; a new database is made if its name ends in .fs, or with --create"
	}
}

// checkOrder finds out whether DATABASE and NAME are given in the wrong order.
func (t *target) checkOrder(file, name string) error {
	if t.server != nil {
		return nil
	}
	if _, err := os.Stat(t.path); !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	zurl, err := resolveURL(name)
	if err != nil {
		return nil
	}
	u, err := storage.ParseURL(zurl)
	if err != nil || u.Scheme != "file" {
		return nil
	}
	home, _ := os.UserHomeDir()
	fi, err := os.Stat(u.FilePath(home))
	if err != nil || fi.Size() == 0 || checkDataFile(u.FilePath(home)) != nil {
		return nil
	}
	given := filepath.Base(t.path)
	return &usageError{msg: fmt.Sprintf("import: %s is a database, and there is none at %s: DATABASE comes before NAME", name, t.path),
		text: fmt.Sprintf("did you mean: wcfs import %s %s %s", file, name, given)}
}

// note keeps what is said when nothing is drawn on the terminal.
func (t *target) note(format string, args ...any) {
	t.notes = append(t.notes, fmt.Sprintf(format, args...))
}

func (t *target) printNotes() {
	for _, text := range t.notes {
		fmt.Fprintln(os.Stderr, "wcfs:", text)
	}
	t.notes = nil
}

// leftover says what became of something unfinished.
func (t *target) leftover(l zwrite.Leftover) {
	switch size := sizeText(l.Size); {
	case l.Saved != "":
		t.note("%s ended with %s of a transaction that did not get to its end; they are now in %s, which may be removed", l.Path, size, l.Saved)
	case filepath.Base(l.Path) != filepath.Base(t.path):
		t.note("removed %s: %s of an import that did not get to its end", l.Path, size)
	default:
		t.note("%s: removed %s of an import that did not get to its end", l.Path, size)
	}
}

// open opens the database, or makes it.
func (t *target) open(ctx context.Context) error {
	if t.server != nil {
		return t.server.open(ctx)
	}
	progress, end := progressOf("open " + t.path)
	opt := zwrite.Options{Warnf: t.note, Progress: progress, Disposable: transfer.Repeatable, Leftover: t.leftover}
	err := checkDataFile(t.path)
	if errors.Is(err, fs.ErrNotExist) && t.create {
		t.created = true
		t.db, err = zwrite.Create(ctx, t.path, opt)
	} else if err == nil {
		t.db, err = zwrite.Open(ctx, t.path, opt)
	}
	end()
	t.printNotes()
	if err != nil {
		return t.openError(err)
	}
	return nil
}

// openError says why the database cannot be opened.
func (t *target) openError(err error) error {
	var locked *zwrite.LockedError
	if errors.As(err, &locked) {
		return fmt.Errorf("import: %w; wait until that is done", locked)
	}
	var unsafe *zwrite.UnsafeError
	if errors.As(err, &unsafe) {
		return fmt.Errorf("import: %w", unsafe)
	}
	openErr := &storage.OpenError{Reason: storage.Unreachable, URL: "file://" + t.path, Err: err}
	switch {
	case errors.Is(err, fs.ErrNotExist) && t.create:
		openErr.Msg, openErr.Hint = "no such directory", "make "+filepath.Dir(t.path)+" first"
	case errors.Is(err, fs.ErrNotExist):
		openErr.Msg, openErr.Hint = "no such file", t.hint
	case errors.Is(err, fs.ErrPermission):
		openErr.Msg, openErr.Hint = forbidden(err)
	case errors.Is(err, syscall.EROFS):
		openErr.Msg = "is on a read-only filesystem"
	default:
		return nothingWritten(err)
	}
	return openErr
}

// forbidden says what a user may not do, and who may.
func forbidden(err error) (msg, hint string) {
	var pathErr *fs.PathError
	if !errors.As(err, &pathErr) {
		return "permission denied", "the data file and its directory must be writable for this user"
	}
	fi, statErr := os.Stat(pathErr.Path)
	if errors.Is(statErr, fs.ErrNotExist) {
		return "permission denied to make " + pathErr.Path, "its directory must be writable for this user"
	}
	if statErr != nil {
		return "permission denied on the way to " + pathErr.Path, "the directories that lead there must be searchable for this user"
	}
	msg = fmt.Sprintf("permission denied for %s, which belongs to %s (%s)", pathErr.Path, ownerOf(fi), fi.Mode())
	if strings.HasSuffix(pathErr.Path, ".lock") {
		return msg, "it must be of the user who owns the database; it may be removed while nobody writes"
	}
	return msg, "it must be readable and writable for this user"
}

// ownerOf returns the name of the user that a file belongs to.
func ownerOf(fi fs.FileInfo) string {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return "somebody else"
	}
	id := fmt.Sprint(st.Uid)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return "user " + id
}

// checkDataFile finds out whether something could be a database before a lock
// file is made beside it.
func checkDataFile(path string) error {
	bad := &storage.OpenError{Reason: storage.NotADatabase, URL: "file://" + path}
	// What is no file is not opened: that may block, or have effects.
	fi, err := os.Stat(path)
	switch {
	case err != nil:
		return err
	case fi.IsDir():
		bad.Msg, bad.Hint = "is a directory", "give the data file in it, as in "+filepath.Join(path, "Data.fs")
		return bad
	case !fi.Mode().IsRegular():
		bad.Msg = "is not a regular file"
		return bad
	case fi.Size() == 0:
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	magic := make([]byte, 4)
	n, err := io.ReadFull(f, magic)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	if text := string(magic[:n]); text != "FS21" && text != "FS30" {
		bad.Msg = fmt.Sprintf("is not a FileStorage: it begins with %q", text)
		return bad
	}
	return nil
}

// store returns what was opened.
func (t *target) store() zwrite.Store {
	if t.server != nil {
		return t.server.client
	}
	return t.db
}

// close closes the database and returns the error of the import. If that failed, what
// was made for it is taken away again.
func (t *target) close(err error) error {
	if t.server != nil {
		return t.server.close(err)
	}
	var uncertain *zwrite.UncertainError
	if err != nil && !errors.As(err, &uncertain) {
		if closeErr := t.db.Abandon(); closeErr != nil {
			t.note("%s", closeErr)
		}
	} else if closeErr := t.db.Close(); closeErr != nil { // the index can be computed anew
		t.note("%s", closeErr)
	}
	t.printNotes()
	if err != nil {
		err = nothingWritten(err)
	}
	return err
}

// nothingWritten puts the good news behind an error that leaves the database as
// it was.
func nothingWritten(err error) error {
	var uncertain *zwrite.UncertainError
	switch {
	case errors.As(err, &uncertain):
		return err
	case is[*transfer.ChangedError](err):
		return fmt.Errorf("%w; nothing was written; try again", err)
	case is[*zeo.ServerError](err), is[*zwrite.LostError](err):
		return fmt.Errorf("%w; nothing was written%s", err, onServer(err))
	case noSpace(err) != "":
		return fmt.Errorf("%w; nothing was written; %s", err, noSpace(err))
	case errors.Is(err, context.Canceled):
		return errors.New("import: interrupted; nothing was written")
	}
	return err
}
