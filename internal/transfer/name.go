package transfer

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/wcfs/wcfs/internal/btree"
	"github.com/wcfs/wcfs/internal/pickle"
	"github.com/wcfs/wcfs/internal/storage"
	"github.com/wcfs/wcfs/internal/zwrite"
)

// maxName bounds the length of a name, in bytes.
const maxName = 255

// CheckName checks whether something can be imported under a name, which then
// leads to it: the name is an item of the root object, and looks like neither a
// path nor an oid.
func CheckName(name string) error {
	_, isOid := storage.ParseID(name)
	switch {
	case name == "":
		return errors.New("a name must not be empty")
	case strings.Contains(name, "/"):
		return fmt.Errorf("name %q has a slash: arrays are imported into the root object only; choose a name without one", name)
	case isOid || strings.HasPrefix(name, "0x"):
		return fmt.Errorf("name %q looks like an oid; choose another one", name)
	case !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl):
		return fmt.Errorf("name %q is no printable text; choose another one", name)
	case len(name) > maxName:
		return fmt.Errorf("name of %d bytes is too long; choose one of at most %d", len(name), maxName)
	}
	return nil
}

// checkFree returns *ExistsError if the root object has an item of that name,
// whatever it is. A root object that is not understood is left to who writes it.
func checkFree(txn btree.Txn, name string) error {
	data, serial, err := txn.Load(zwrite.RootOid)
	if storage.IsNoData(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("root object: %w", err)
	}
	_, state, err := pickle.Record(data)
	if err != nil {
		return &storage.CorruptError{Oid: zwrite.RootOid, Tid: serial, Err: err}
	}
	outer, ok := state.(*pickle.Dict)
	if !ok {
		return nil
	}
	for _, key := range []string{"data", "_container"} { // now, and in old databases
		inner, _ := outer.Get(key)
		items, ok := inner.(*pickle.Dict)
		if !ok {
			continue
		}
		if _, ok := items.Get(name); ok {
			return &ExistsError{Name: name}
		}
	}
	return nil
}
