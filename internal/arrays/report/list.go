package report

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/arrays/catalog"
	"github.com/wcfs/wcfs/internal/arrays/ndarray"
	"github.com/wcfs/wcfs/internal/serve/terminal"
	"github.com/wcfs/wcfs/internal/zodb/fault"
	"github.com/wcfs/wcfs/internal/zodb/record"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// Listing is what ls prints.
type Listing struct {
	At      string      `json:"at"`
	Entries []listEntry `json:"entries"` // never nil
}

// listEntry is one line. A field that is not known, or does not apply, is left
// out of the JSON.
type listEntry struct {
	Name     string  `json:"name"`
	Oid      string  `json:"oid"`
	Class    string  `json:"class,omitempty"`
	DType    string  `json:"dtype,omitempty"`
	Shape    []int64 `json:"shape,omitzero"`
	Order    string  `json:"order,omitempty"`
	Size     *int64  `json:"size,omitempty"` // bytes of the array, or of the file if there is none
	File     string  `json:"file,omitempty"`
	FileSize *int64  `json:"file_size,omitempty"` // bytes
	BlkSize  int64   `json:"blksize,omitempty"`   // bytes
	Blocks   *int64  `json:"blocks,omitempty"`
	Rev      string  `json:"rev,omitempty"`
	Changed  string  `json:"changed,omitempty"` // the time of rev, as of RFC 3339
	Error    string  `json:"error,omitempty"`

	array  bool
	broken error // why the file cannot be read
}

// Add adds an entry, for catalog.Walk.
func (l *Listing) Add(e *catalog.Entry) error {
	line := listEntry{
		Name:    e.Path,
		Oid:     e.Oid.String(),
		BlkSize: e.BlkSize,
		array:   e.Oid != e.File,
		broken:  e.Err,
	}
	if e.Class != (record.Class{}) {
		line.Class = e.Class.String()
	}
	if e.File != 0 {
		line.File = e.File.String()
	}
	if e.Array != nil {
		line.DType, line.Shape, line.Order = e.Array.DType.String(), append([]int64{}, e.Array.Shape...), string(e.Array.Order)
	}
	if e.Err == nil {
		size := e.Size
		if e.Array != nil {
			size, _ = e.Array.Bytes() // it is no array otherwise
		}
		line.Size, line.FileSize, line.Blocks = &size, &e.Size, &e.Blocks
		line.Rev, line.Changed = e.Rev.String(), catalog.FormatRFC3339(e.Rev)
	}
	if err := cmp.Or(e.Err, e.ArrayErr); err != nil {
		line.Error = terminal.Error(err)
	}
	l.Entries = append(l.Entries, line)
	return nil
}

// Print prints the list as a table, of which there is nothing if it is empty.
func (l *Listing) Print(out io.Writer) error {
	if len(l.Entries) == 0 {
		return nil
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tOID\tFILE\tDTYPE\tSHAPE\tSIZE\tBLOCKS\tCHANGED (UTC)")
	for i := range l.Entries {
		fmt.Fprintln(w, strings.Join(l.Entries[i].columns(), "\t"))
	}
	return w.Flush()
}

// columns returns the cells of the table.
func (e *listEntry) columns() []string {
	const unknown, none = "?", "-"
	dtype, shape := none, none
	if e.array {
		dtype, shape = unknown, unknown
	}
	if e.Shape != nil {
		dtype, shape = clipped(e.DType), shapeCell(e.Shape, e.Order)
	}
	size, blocks, changed := unknown, unknown, unknown
	if e.broken == nil {
		size = terminal.Size(*e.Size)
		blocks = fmt.Sprintf("%d x %s", *e.Blocks, terminal.Size(e.BlkSize))
		tid, _ := storage.ParseID(e.Rev)
		changed = catalog.FormatSecond(zodb.Tid(tid))
	}
	return []string{terminal.Name(e.Name), e.Oid, cmp.Or(e.File, unknown), dtype, shape, size, blocks, changed}
}

// shapeCell returns a shape as Python writes it, and the order if that matters.
func shapeCell(shape []int64, order string) string {
	text := ndarray.ShapeText(shape)
	if order != string(ndarray.RowMajor) && len(shape) > 1 {
		text += " " + order
	}
	return text
}

// clipped bounds the text of a cell. JSON has all of it.
func clipped(text string) string {
	const most = 40
	if len(text) <= most {
		return text
	}
	return text[:most-3] + "..."
}

// NewListing returns a list as of a view, with nothing in it.
func NewListing(at zodb.Tid) *Listing { return &Listing{At: at.String(), Entries: []listEntry{}} }

// Tell says on stderr what the table cannot. The error sums it up.
func (l *Listing) Tell(database string, now bool) error {
	switch {
	case len(l.Entries) > 0:
	case now:
		terminal.Say("there are no arrays in %s; to add one: wcfs import FILE.npy %s NAME", terminal.Line(database), terminal.Line(database))
	default:
		terminal.Say("there were no arrays in %s as of %s", terminal.Line(database), l.At)
	}
	var first error
	broken := 0
	for _, e := range l.Entries {
		if e.Error != "" {
			terminal.Say("%s: %s", terminal.Name(e.Name), terminal.Line(e.Error))
		}
		if e.broken != nil {
			broken++
			first = cmp.Or(first, e.broken)
		}
	}
	if broken > 0 {
		return &fault.Error{Kind: fault.Of(first), Err: first, Msg: fmt.Sprintf("%d of %d entries cannot be read", broken, len(l.Entries))}
	}
	return nil
}
