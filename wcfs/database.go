package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/golang/glog"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/arrays/catalog"
	"github.com/wcfs/wcfs/internal/zodb/demostorage"
	"github.com/wcfs/wcfs/internal/zodb/fs1"
	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/internal/zodb/zeo"
)

// drivers are the kinds of database that can be read.
func drivers() storage.Drivers {
	d := storage.Drivers{"file": fs1.Open, "zeo": zeo.Open}
	d["demo"] = demostorage.Opener(d)
	return d
}

// resolveURL turns what a person typed for a database into its url.
func resolveURL(arg string) (string, error) {
	if !strings.Contains(arg, "://") && strings.Contains(arg, "?") {
		return "", &usageError{msg: fmt.Sprintf("a path with a question mark, as in %s, cannot be named by a url; rename it", arg)}
	}
	cwd, _ := os.Getwd()        // only needed for relative paths
	home, _ := os.UserHomeDir() // only needed for paths with ~
	return storage.Resolve(arg, cwd, home), nil
}

func storageOptions() storage.Options {
	home, _ := os.UserHomeDir()
	return storage.Options{Warnf: glog.Warningf, Home: home}
}

// openDatabase opens the database that a person named, for reading. The caller
// closes it.
func openDatabase(ctx context.Context, arg string) (store storage.Storage, head zodb.Tid, err error) {
	zurl, err := resolveURL(arg)
	if err != nil {
		return nil, 0, err
	}
	opt := storageOptions()
	progress, end := progressOf("open " + arg)
	defer end()
	opt.Progress = progress
	return drivers().Open(ctx, zurl, opt)
}

// findEntry finds an array or file by name or oid. If there is none at a view of the
// past the error says which view that was: there may be one now.
func findEntry(ctx context.Context, db storage.Storage, at zodb.Tid, name string) (*catalog.Entry, error) {
	e, err := catalog.Find(ctx, db, at, name)
	var notFound *catalog.NotFoundError
	if errors.As(err, &notFound) && at < db.Head() {
		err = fmt.Errorf("as of %s (%s): %w", at, catalog.FormatRFC3339(at), err)
	}
	return e, err
}

// opened is what a command works on: an array or file as of a view.
type opened struct {
	storage.Storage
	at    zodb.Tid
	entry *catalog.Entry
}

// openEntry opens a database, and finds an array or file in it as of the view
// that a person named. The caller closes it.
func openEntry(ctx context.Context, database, view, name string) (*opened, error) {
	store, head, err := openDatabase(ctx, database)
	if err != nil {
		return nil, err
	}
	db := &opened{Storage: store}
	if db.at, err = catalog.View(view, time.Now(), head); err == nil {
		db.entry, err = findEntry(ctx, store, db.at, name)
	}
	if err != nil {
		store.Close()
		return nil, err
	}
	return db, nil
}

// expandHome returns a path that a person typed. The shell does not expand a tilde in
// --output=~/x, in a url, or in a configuration file.
func expandHome(path string) string {
	home, _ := os.UserHomeDir() // only needed for paths with ~
	return storage.ExpandHome(path, home)
}
