package transfer

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/wcfs/wcfs/internal/zodb/fault"
)

// peekSize is how much of a file is looked at to tell what it is.
const peekSize = 4096

// format is a kind of file that is told by what it begins with.
type format struct {
	magic string
	off   int    // where the magic stands
	what  string // "is ..."
	hint  string // what to do; %s is the path
}

// Hints. A path in them is put into a command, so that it can be copied.
const (
	unpackHint  = "unpack it: %s -dc %s | wcfs import - DATABASE NAME"
	convertHint = "read it with Python, and write its arrays with numpy.save"
)

// formats are those that people have arrays in, or take for them. The first one
// that fits counts.
var formats = []format{
	{magic: zipMagic, what: "a zip archive, as an .npz is", hint: "give an .npz by its name, since it cannot be read from a pipe or appended"},
	{magic: "PK\x05\x06", what: "an empty zip archive, as an .npz without arrays is"},
	{magic: "\x1f\x8b", what: "compressed with gzip", hint: "gzip"},
	{magic: "BZh", what: "compressed with bzip2", hint: "bzip2"},
	{magic: "\xfd7zXZ\x00", what: "compressed with xz", hint: "xz"},
	{magic: "\x28\xb5\x2f\xfd", what: "compressed with zstd", hint: "zstd"},
	{magic: "\x04\x22\x4d\x18", what: "compressed with lz4", hint: "lz4"},
	{magic: "\x89HDF\r\n\x1a\n", what: "an HDF5 file (or NetCDF-4, or MATLAB 7.3)", hint: "read a dataset of it with h5py, and write that with numpy.save"},
	{magic: "CDF\x01", what: "a NetCDF file", hint: convertHint},
	{magic: "CDF\x02", what: "a NetCDF file", hint: convertHint},
	{magic: "CDF\x05", what: "a NetCDF file", hint: convertHint},
	{magic: "MATLAB 5.0", what: "a MATLAB file", hint: "read it with scipy.io.loadmat, and write its arrays with numpy.save"},
	{magic: "SIMPLE  =", what: "a FITS file", hint: convertHint},
	{magic: "PAR1", what: "a Parquet file", hint: convertHint},
	{magic: "ARROW1", what: "an Arrow file", hint: convertHint},
	{magic: "\x89PNG\r\n\x1a\n", what: "a PNG image", hint: convertHint},
	{magic: "\xff\xd8\xff", what: "a JPEG image", hint: convertHint},
	{magic: "II*\x00", what: "a TIFF image", hint: convertHint},
	{magic: "MM\x00*", what: "a TIFF image", hint: convertHint},
	{magic: "GIF8", what: "a GIF image", hint: convertHint},
	{magic: "%PDF", what: "a PDF document"},
	{magic: "SQLite format 3\x00", what: "an SQLite database", hint: convertHint},
	{magic: "FS21", what: "a ZODB database", hint: "to take an array out of it: wcfs export %s NAME -o - | wcfs import - DATABASE NAME"},
	{magic: "FS30", what: "a ZODB database", hint: "to take an array out of it: wcfs export %s NAME -o - | wcfs import - DATABASE NAME"},
	{magic: "\x7fELF", what: "a program"},
	{magic: "ustar", off: 257, what: "a tar archive", hint: "unpack it first"},
}

// npyPrefix is how much of an .npy file tells how long its header is: magic, version,
// and two bytes or four.
const npyPrefix = len(npyMagic) + 2 + 4

// cutHeader says that an .npy file, which begins with head and has size bytes, ends
// within its header.
func cutHeader(path string, head []byte, size int64) error {
	const before = len(npyMagic) + 2
	missing := int64(before+2) - size
	switch {
	case len(head) >= before+2 && head[6] == 1:
		missing = int64(before+2) + int64(binary.LittleEndian.Uint16(head[before:])) - size
	case len(head) >= before+4:
		missing = int64(before+4) + int64(binary.LittleEndian.Uint32(head[before:])) - size
	}
	return &fault.Error{Kind: fault.Input, About: path, Hint: "get a whole one",
		Msg: fmt.Sprintf("is an .npy file that is cut off in its header: %d bytes and its data are missing", missing)}
}

// plainHint says how to import what is nothing but numbers.
const plainHint = "if it is plain data, say of what type: --dtype '<f8', and --shape unless it has one axis"

// noArray says that a file, which begins with head, is no .npy file, and what to do
// instead.
func noArray(path string, head []byte) error {
	e := &fault.Error{Kind: fault.Input, About: path}
	what, hint := looksLike(path, head)
	e.Msg = "is no .npy file: it " + what
	e.Hint = plainHint
	if hint != "" {
		e.Hint = hint + "; " + plainHint
	}
	return e
}

// looksLike tells what a file seems to be, and what can be done with it.
func looksLike(path string, head []byte) (what, hint string) {
	if len(head) == 0 {
		return "is empty", "is it still being written?"
	}
	for _, f := range formats {
		if len(head) < f.off || !bytes.HasPrefix(head[f.off:], []byte(f.magic)) {
			continue
		}
		hint := f.hint
		switch {
		case strings.HasPrefix(f.what, "compressed"):
			hint = fmt.Sprintf(unpackHint, f.hint, quoted(path))
		case strings.Contains(hint, "%s"):
			hint = fmt.Sprintf(hint, quoted(path))
		}
		return "is " + f.what, hint
	}
	switch {
	case len(head) > 1 && head[0] == 0x80 && head[1] >= 2 && head[1] <= 5:
		return "is a Python pickle", "load it with Python, and save its arrays with numpy.save"
	case isText(head):
		return "is text, as a CSV file is", "convert it: python3 -c 'import numpy, sys; numpy.save(sys.argv[2], numpy.genfromtxt(sys.argv[1], delimiter=\",\"))' " + quoted(path) + " array.npy"
	}
	return fmt.Sprintf("begins with %q", head[:min(len(head), 8)]), ""
}

// isText reports whether head is the beginning of text that people can read.
func isText(head []byte) bool {
	if len(head) == peekSize { // a character may be cut
		for i := 0; i < utf8.UTFMax && len(head) > 0 && !utf8.Valid(head); i++ {
			head = head[:len(head)-1]
		}
	}
	for _, r := range strings.TrimPrefix(string(head), "\ufeff") {
		if r == utf8.RuneError || !unicode.IsPrint(r) && !strings.ContainsRune("\n\r\t\f", r) {
			return false
		}
	}
	return true
}

// Stdin is the path of the standard input in messages.
const Stdin = "standard input"

// quoted returns a path for a command of the shell.
func quoted(path string) string {
	if path == Stdin {
		return "/dev/stdin"
	}
	safe := func(r rune) bool {
		return r < utf8.RuneSelf && (unicode.IsLetter(r) || unicode.IsDigit(r)) || strings.ContainsRune("._-/+=:@", r)
	}
	if path != "" && strings.IndexFunc(path, func(r rune) bool { return !safe(r) }) < 0 {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}
