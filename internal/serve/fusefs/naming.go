package fusefs

import (
	"context"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/core/form"
)

// Naming finds arrays and files by name, as of a view. A path is names joined by slashes,
// as they stand below head/arrays, without the endings of files; "" is that directory. Names
// and paths are those of the mount: what no file can be called is encoded in them.
//
// Errors are those of storage.Loader, *storage.CorruptError for a damaged directory, and one of
// kind fault.NoName where there is nothing of that path.
type Naming interface {
	// List returns the items of a directory, in the order of their names. No name is there
	// twice. The slice must not be modified.
	List(ctx context.Context, at zodb.Tid, dir string) ([]Item, error)

	// Find returns one item.
	Find(ctx context.Context, at zodb.Tid, path string) (Item, error)

	// Form returns how an array looks as a file. Errors are those of storage.Loader,
	// *storage.CorruptError, and *form.NoFormError for an array that has no form.
	Form(ctx context.Context, at zodb.Tid, array zodb.Oid) (*form.Form, error)

	// Describe returns the content of the .json file of an item.
	Describe(ctx context.Context, at zodb.Tid, path string) ([]byte, error)
}

// Item is what has one name in a directory: a directory or a symbolic link of that name, an
// array or a file, or both. No name ends with .npy or .json, so that the directory NAME, and
// the files NAME.npy and NAME.json of some name are never those of another one.
type Item struct {
	Name string

	// Dir says that there is a directory. If Link is not empty, the directory is
	// elsewhere, and has to be a symbolic link with that target: every directory has
	// one place only among those that it is in or beside, so whoever walks over the
	// tree comes to an end.
	Dir  bool
	Link string

	// NPY and JSON say which files there are, and Oid which array (ZBigArray), or file
	// (ZBigFile) without NPY, they are about.
	NPY, JSON bool
	Oid       zodb.Oid
}
