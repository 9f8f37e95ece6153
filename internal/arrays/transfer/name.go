package transfer

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// maxName bounds the length of a name, in bytes.
const maxName = 255

// CheckName checks whether something can be imported under a name, which then
// leads to it: the name is an item of the root object, and looks like neither a
// path nor an oid.
func CheckName(name string) error {
	_, isOid := storage.ParseID(name)
	switch {
	case strings.Contains(name, "/"):
		return fmt.Errorf("name %q has a slash: arrays are imported into the root object only; choose a name without one", name)
	case isOid || strings.HasPrefix(name, "0x"):
		return fmt.Errorf("name %q looks like an oid; choose another one", name)
	}
	return checkKey(name)
}

// checkKey checks what every name must be, also one in a folder, which may have
// slashes.
func checkKey(name string) error {
	switch {
	case name == "":
		return errors.New("a name must not be empty")
	case !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl):
		return fmt.Errorf("name %q is no printable text; choose another one", name)
	case len(name) > maxName:
		return fmt.Errorf("name of %d bytes is too long; choose one of at most %d", len(name), maxName)
	}
	return nil
}
