package database

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
	"github.com/wcfs/wcfs/internal/serve/terminal"
	"github.com/wcfs/wcfs/internal/zodb/fault"
	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/internal/zodb/zwrite"
)

// WriteOptions says how a database is opened for writing.
type WriteOptions struct {
	Verb    string // the command, for errors
	Create  bool   // make it if it does not exist, whatever its name
	Missing string // what to do if it does not exist, if it is not to be made; "" if it may be
}

// Target is the database that is written to: a data file, or one behind a server.
type Target struct {
	Path    string // of the data file, "" behind a server
	Created bool   // by Open
	verb    string
	server  *server
	create  bool   // make it if it does not exist
	hint    string // what to do if it does not exist, and is not made
	db      *zwrite.DB
	notes   []string // what there is to say about what was found
}

// Target returns the database that a person named, for writing. The options of a url are
// honoured, or refused.
func (o Opener) Target(arg string, w WriteOptions) (*Target, error) {
	behind, err := o.server(arg, w)
	if behind != nil || err != nil {
		return &Target{verb: w.Verb, server: behind}, err
	}
	u, opt, err := o.File(arg, "only files, and databases behind a ZEO server, can be written")
	if err != nil {
		return nil, err
	}
	if opt.ReadOnly != nil && *opt.ReadOnly {
		return nil, &storage.OpenError{Reason: fault.BadURL, URL: storage.Redact(u.Raw),
			Msg: `option "read_only" forbids to write to it`, Hint: "leave it out to import"}
	}
	t := &Target{verb: w.Verb, Path: u.FilePath(o.Home)}
	if _, err := os.Stat(t.Path); err == nil && opt.Create != nil && *opt.Create {
		return nil, &storage.OpenError{Reason: fault.BadURL, URL: storage.Redact(u.Raw),
			Msg: `option "create" asks for a new database, and there is one`, Hint: "leave it out to add to that"}
	}
	t.mayCreate(arg, w, opt.Create)
	return t, nil
}

// File returns the url of what a person named, which must be a file. only is said if it is not.
func (o Opener) File(arg, only string) (u storage.URL, opt storage.FileOptions, err error) {
	zurl, err := o.URL(arg)
	if err != nil {
		return u, opt, err
	}
	if u, err = storage.ParseURL(zurl); err != nil {
		return u, opt, err
	}
	switch u.Scheme {
	case "file":
	case "demo":
		return u, opt, &storage.OpenError{Reason: fault.UnknownScheme, URL: storage.Redact(zurl),
			Msg: only + ", and this is one database over another", Hint: "its delta alone would not do: it lacks what is only in the base"}
	default:
		return u, opt, &storage.OpenError{Reason: fault.UnknownScheme, URL: storage.Redact(zurl),
			Msg: only, Hint: "use file:///path/to/Data.fs, or its path"}
	}
	opt, err = u.FileOptions()
	return u, opt, err
}

// mayCreate decides whether the database is made if it does not exist. A name that
// looks like something else than a database is not taken for one.
func (t *Target) mayCreate(arg string, w WriteOptions, asked *bool) {
	switch {
	case w.Missing != "":
		t.hint = w.Missing
	case asked != nil && !*asked:
		t.hint = `check the path; option "create" says that none is to be made`
	case w.Create, asked != nil, strings.Contains(arg, "://"), strings.EqualFold(filepath.Ext(t.Path), ".fs"):
		t.create = true
	default:
		t.hint = "check the path; a new database is made if its name ends in .fs, or with --create"
	}
}

// IsSwapped reports whether the database is not there, but there is one by a name that was
// given as something else.
func (t *Target) IsSwapped(o Opener, name string) bool {
	if t.server != nil {
		return false
	}
	if _, err := os.Stat(t.Path); !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	zurl, err := o.URL(name)
	if err != nil {
		return false
	}
	u, err := storage.ParseURL(zurl)
	if err != nil || u.Scheme != "file" {
		return false
	}
	fi, err := os.Stat(u.FilePath(o.Home))
	return err == nil && fi.Size() > 0 && checkDataFile(u.FilePath(o.Home)) == nil
}

// note keeps what is said when nothing is drawn on the terminal.
func (t *Target) note(format string, args ...any) {
	t.notes = append(t.notes, fmt.Sprintf(format, args...))
}

func (t *Target) printNotes() {
	for _, text := range t.notes {
		fmt.Fprintln(os.Stderr, "wcfs:", text)
	}
	t.notes = nil
}

// leftover says what became of something unfinished.
func (t *Target) leftover(l zwrite.Leftover) {
	switch size := terminal.Size(l.Size); {
	case l.Saved != "":
		t.note("%s ended with %s of a transaction that did not get to its end; they are now in %s, which may be removed", l.Path, size, l.Saved)
	case filepath.Base(l.Path) != filepath.Base(t.Path):
		t.note("removed %s: %s of an import that did not get to its end", l.Path, size)
	default:
		t.note("%s: removed %s of an import that did not get to its end", l.Path, size)
	}
}

// Open opens the database, or makes it.
func (t *Target) Open(ctx context.Context) error {
	if t.server != nil {
		return t.server.open(ctx)
	}
	progress, end := terminal.ProgressOf("open " + t.Path)
	opt := zwrite.Options{Warnf: t.note, Progress: progress, Disposable: transfer.Repeatable, Leftover: t.leftover}
	err := checkDataFile(t.Path)
	if errors.Is(err, fs.ErrNotExist) && t.create {
		t.Created = true
		t.db, err = zwrite.Create(ctx, t.Path, opt)
	} else if err == nil {
		t.db, err = zwrite.Open(ctx, t.Path, opt)
	}
	end()
	t.printNotes()
	if err != nil {
		return t.openError(err)
	}
	return nil
}

// openError says why the database cannot be opened.
func (t *Target) openError(err error) error {
	var locked *zwrite.LockedError
	if errors.As(err, &locked) {
		return fmt.Errorf("%s: %w; wait until that is done", t.verb, locked)
	}
	var unsafe *zwrite.UnsafeError
	if errors.As(err, &unsafe) {
		return fmt.Errorf("%s: %w", t.verb, unsafe)
	}
	openErr := &storage.OpenError{Reason: fault.Unreachable, URL: "file://" + t.Path, Err: err}
	switch {
	case errors.Is(err, fs.ErrNotExist) && t.create:
		openErr.Msg, openErr.Hint = "no such directory", "make "+filepath.Dir(t.Path)+" first"
	case errors.Is(err, fs.ErrNotExist):
		openErr.Msg, openErr.Hint = "no such file", t.hint
	case errors.Is(err, fs.ErrPermission):
		openErr.Msg, openErr.Hint = forbidden(err)
	case errors.Is(err, syscall.EROFS):
		openErr.Msg = "is on a read-only filesystem"
	default:
		return NothingWritten(t.verb, err)
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
	bad := &storage.OpenError{Reason: fault.NotADatabase, URL: "file://" + path}
	// Anything that is no file is not opened: opening may block, or have
	// effects.
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

// Store returns what was opened.
func (t *Target) Store() zwrite.Store {
	if t.server != nil {
		return t.server.client
	}
	return t.db
}

// Close closes the database and returns the error of what was done with it. If that
// failed, what was made for it is taken away again.
func (t *Target) Close(err error) error {
	if t.server != nil {
		return t.server.close(t.verb, err)
	}
	if err != nil && !fault.Is(err, fault.Uncertain) {
		if closeErr := t.db.Abandon(); closeErr != nil {
			t.note("%s", closeErr)
		}
	} else if closeErr := t.db.Close(); closeErr != nil { // the index can be computed anew
		t.note("%s", closeErr)
	}
	t.printNotes()
	if err != nil {
		err = NothingWritten(t.verb, err)
	}
	return err
}

// NothingWritten puts the good news behind an error that leaves the database as it was.
func NothingWritten(verb string, err error) error {
	switch {
	case fault.Is(err, fault.Uncertain):
		return err
	case fault.Is(err, fault.Changed):
		return fmt.Errorf("%w; nothing was written; try again", err)
	case ofServer(err):
		return fmt.Errorf("%w; nothing was written%s", err, onServer(err))
	case fault.IsFull(err):
		return fmt.Errorf("%w; nothing was written; %s", err, whenFull(err))
	case errors.Is(err, context.Canceled):
		return errors.New(verb + ": interrupted; nothing was written")
	}
	return err
}

// whenFull returns what to do about an error that says that nothing more can be written.
func whenFull(err error) string {
	switch {
	case errors.Is(err, syscall.ENOSPC):
		return "make room and try again"
	case errors.Is(err, syscall.EDQUOT):
		return "make room within the quota of its owner, and try again"
	}
	return "it would be larger than ulimit -f, or the filesystem, permits"
}
