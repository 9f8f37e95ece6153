package transfer

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/wcfs/wcfs/internal/zodb/fault"
)

// protected says that a file must not be written, whatever anybody says.
func protected(path, why string) error {
	return &fault.Error{Kind: fault.Exists, Msg: fmt.Sprintf("%s %s, which is never replaced", path, why), Hint: "choose another name"}
}

// beside is what stands behind the name of a database in the names of files that
// belong to it: those of FileStorage, and of its packs and copies.
var beside = regexp.MustCompile(`\.(index|lock|tr[0-9]+|old|pack|tmp|index\.index_tmp)$`)

// CheckTarget returns why a file must not be written: it is a database or belongs to
// one, by whatever name. database is the data file that is read, "" if there is none.
func CheckTarget(path, database string) error {
	names := []string{path}
	if real, err := filepath.EvalSymlinks(path); err == nil && real != path {
		names = append(names, real)
	}
	for _, name := range names {
		if base := beside.ReplaceAllString(name, ""); base != name && (isDatabase(base) || sameFile(base, database)) {
			return protected(path, "belongs to the database "+base)
		}
	}
	switch {
	case sameFile(path, database):
		return protected(path, "is the database that is read")
	case isDatabase(path):
		return protected(path, "is a ZODB database")
	}
	companions, _ := filepath.Glob(globEscape(database) + ".*")
	for _, name := range companions {
		if database != "" && beside.MatchString(name) && sameFile(path, name) {
			return protected(path, "belongs to the database that is read")
		}
	}
	for _, name := range names {
		if strings.HasSuffix(name, ".fs") && isRegular(name) && (isRegular(name+".lock") || isRegular(name+".index")) {
			return protected(path, "has a .lock or .index beside it, as a ZODB database")
		}
	}
	return nil
}

// CheckOutput returns why an open file must not be written to: it is the data file
// that is read.
func CheckOutput(f *os.File, database string) error {
	fi, err := f.Stat()
	if err != nil || database == "" {
		return nil
	}
	if read, err := os.Stat(database); err == nil && os.SameFile(fi, read) {
		return protected(f.Name(), "is the database that is read")
	}
	return nil
}

// isDatabase reports whether a file begins as a FileStorage does, of whatever age.
func isDatabase(path string) bool {
	if !isRegular(path) {
		return false
	}
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	var magic [4]byte
	if _, err := io.ReadFull(f, magic[:]); err != nil {
		return false
	}
	switch string(magic[:]) {
	case "FS20", "FS21", "FS30":
		return true
	}
	return false
}

func isRegular(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && fi.Mode().IsRegular()
}

func sameFile(a, b string) bool {
	if b == "" {
		return false
	}
	x, errX := os.Stat(a)
	y, errY := os.Stat(b)
	return errX == nil && errY == nil && os.SameFile(x, y)
}

// globEscape returns a pattern that matches a path only.
func globEscape(path string) string {
	return regexp.MustCompile(`[\\*?\[]`).ReplaceAllString(path, `\$0`)
}
