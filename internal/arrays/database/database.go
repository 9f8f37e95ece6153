// Package database opens the databases that a person names, for looking at and for writing:
// data files, databases behind a server, and one over another. Errors say what is wrong
// with one, and what to do about it, in the words of the commands.
package database

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/arrays/catalog"
	"github.com/wcfs/wcfs/internal/serve/terminal"
	"github.com/wcfs/wcfs/internal/zodb/demostorage"
	"github.com/wcfs/wcfs/internal/zodb/fault"
	"github.com/wcfs/wcfs/internal/zodb/fs1"
	"github.com/wcfs/wcfs/internal/zodb/neo"
	"github.com/wcfs/wcfs/internal/zodb/postgresql"
	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/internal/zodb/zeo"
)

// Drivers returns the kinds of database that can be read.
func Drivers() storage.Drivers {
	d := storage.Drivers{
		"file": fs1.Open, "zeo": zeo.Open, "neo": neo.Open, "neos": neo.Open,
		"postgresql": postgresql.Open, "postgres": postgresql.Open,
	}
	d["demo"] = demostorage.Opener(d)
	return d
}

// Opener opens databases for a person.
type Opener struct {
	Cwd   string                           // for relative paths
	Home  string                           // for paths with ~
	Warnf func(format string, args ...any) // gets what is odd about a database

	// Whole is the url with secrets that is meant by its shown form, which has none.
	Whole string
}

// URL turns what a person typed for a database into its url.
func (o Opener) URL(arg string) (string, error) {
	if o.Whole != "" && storage.Redact(o.Whole) == arg {
		arg = o.Whole
	}
	if !strings.Contains(arg, "://") && strings.Contains(arg, "?") {
		return "", &fault.Error{Kind: fault.Usage, Msg: fmt.Sprintf("a path with a question mark, as in %s, cannot be named by a url", arg), Hint: "rename it"}
	}
	return storage.Resolve(arg, o.Cwd, o.Home), nil
}

// Options returns how drivers open a database.
func (o Opener) Options() storage.Options { return storage.Options{Warnf: o.Warnf, Home: o.Home} }

// Open opens a database for reading. The caller closes it.
func (o Opener) Open(ctx context.Context, arg string) (store storage.Storage, head zodb.Tid, err error) {
	zurl, err := o.URL(arg)
	if err != nil {
		return nil, 0, err
	}
	opt := o.Options()
	progress, end := terminal.ProgressOf("open " + arg)
	defer end()
	opt.Progress = progress
	return Drivers().Open(ctx, zurl, opt)
}

// History is a database that can list past transactions.
type History interface {
	storage.Storage
	storage.Iterator
}

// OpenHistory is Open for databases that list past transactions.
func (o Opener) OpenHistory(ctx context.Context, arg string) (History, zodb.Tid, error) {
	store, head, err := o.Open(ctx, arg)
	if err != nil {
		return nil, 0, err
	}
	db, ok := store.(History)
	if !ok {
		_ = store.Close()
		return nil, 0, fmt.Errorf("%s: databases of this kind do not list past transactions", store.URL())
	}
	return db, head, nil
}

// Entry is an array or file as of a view, in a database that was opened for it.
type Entry struct {
	storage.Storage
	At    zodb.Tid
	Entry *catalog.Entry
}

// OpenEntry opens a database, and finds an array or file in it as of the view that a
// person named. The caller closes it.
func (o Opener) OpenEntry(ctx context.Context, arg, view, name string) (*Entry, error) {
	store, head, err := o.Open(ctx, arg)
	if err != nil {
		return nil, err
	}
	db := &Entry{Storage: store}
	if db.At, err = catalog.View(view, time.Now(), head); err == nil {
		db.Entry, err = find(ctx, store, db.At, name)
	}
	if err != nil {
		_ = store.Close()
		return nil, err
	}
	return db, nil
}

// find finds an array or file by name or oid. If there is none at a view of the past the
// error says which view that was: there may be one now.
func find(ctx context.Context, db storage.Storage, at zodb.Tid, name string) (*catalog.Entry, error) {
	e, err := catalog.Find(ctx, db, at, name)
	var notFound *catalog.NotFoundError
	if errors.As(err, &notFound) && at < db.Head() {
		err = fmt.Errorf("as of %s (%s): %w", at, catalog.FormatRFC3339(at), err)
	}
	return e, err
}

// Subject is an array or file whose history is wanted.
type Subject struct {
	Array, File zodb.Oid // Array is 0 if there is none

	// Missing says why there is no such file at the view. It is set if an oid
	// was given: there may have been one before.
	Missing error
}

// FindSubject finds an array or file as of a view by name or oid.
func FindSubject(ctx context.Context, db storage.Storage, at zodb.Tid, name string) (*Subject, error) {
	e, err := find(ctx, db, at, name)
	if err == nil {
		s := &Subject{File: e.File}
		if e.File != e.Oid {
			s.Array = e.Oid
		}
		return s, nil
	}
	var notFound *catalog.NotFoundError
	var damage *storage.CorruptError
	oid, ok := catalog.ParseOid(name)
	if ok && (errors.As(err, &notFound) || errors.As(err, &damage)) {
		return &Subject{File: oid, Missing: err}, nil
	}
	return nil, err
}
