package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/arrays/catalog"
	"github.com/wcfs/wcfs/internal/arrays/ndarray"
	"github.com/wcfs/wcfs/internal/zodb/record"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

func newLs() *cobra.Command {
	var at string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "ls DATABASE",
		Short: "List the arrays and files of a database",
		Long: `Ls lists every array (ZBigArray), and every file (ZBigFile) that is not just the
file of an array, that can be reached from the root object. No server is needed.

NAME is the way there: a/b is the item b of the mapping a, or the attribute b of
the object a. FILE is what a mount shows the data as: head/bigfile/FILE. SIZE is
that of the array, or of the file if it has no array. BLOCKS are those that are
stored; the others are zeros. CHANGED is when the data or the array itself
changed last. A dash stands for what a file does not have, and a question mark
for what cannot be read; then the exit code is not 0.`,
		Example: `  wcfs ls data.fs
  wcfs ls data.fs --at 2024-02-29T12:00:00Z
  wcfs ls data.fs --at -5m
  wcfs ls data.fs --json`,
		DisableFlagsInUseLine: true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return &usageError{msg: fmt.Sprintf("ls: expected DATABASE, got %d arguments", len(args)), text: "Usage: wcfs " + cmd.Use}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return orInterrupted(cmd.Context(), runLs(cmd.Context(), args[0], at, asJSON))
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&at, "at", "", "`VIEW`: a tid, a time (the last transaction shown with it), or a time ago such as -5m (default: now)")
	flags.BoolVar(&asJSON, "json", false, "print one JSON document")
	return cmd
}

func runLs(ctx context.Context, database, atText string, asJSON bool) error {
	store, head, err := openDatabase(ctx, database)
	if err != nil {
		return err
	}
	defer store.Close()
	at, err := catalog.View(atText, time.Now(), head)
	if err != nil {
		return err
	}
	list := listing{At: at.String(), Entries: []listEntry{}}
	bar := newProgress("look through "+database, -1)
	defer bar.Done()
	if err := catalog.Walk(ctx, watched{store, bar}, at, list.add); err != nil {
		return err
	}
	bar.Done()
	if asJSON {
		out := json.NewEncoder(os.Stdout)
		out.SetEscapeHTML(false) // "<f8" is to stay readable
		out.SetIndent("", "  ")
		err = out.Encode(list)
	} else {
		err = list.print(os.Stdout)
	}
	if err != nil {
		return err
	}
	return list.tell(database, at == head)
}

// watched is a storage whose loads move a progress bar.
type watched struct {
	storage.Storage
	bar *progress
}

func (w watched) Load(ctx context.Context, xid zodb.Xid) (*storage.Buf, zodb.Tid, error) {
	buf, serial, err := w.Storage.Load(ctx, xid)
	if err == nil {
		w.bar.Add(int64(len(buf.Data)))
	}
	return buf, serial, err
}

// Stream implements storage.Streamer, by a load if the storage does not.
func (w watched) Stream(ctx context.Context, xid zodb.Xid, f func(io.Reader) error) (zodb.Tid, error) {
	if s, ok := w.Storage.(storage.Streamer); ok {
		return s.Stream(ctx, xid, func(r io.Reader) error { return f(&watchedReader{r, w.bar}) })
	}
	buf, serial, err := w.Load(ctx, xid)
	if err != nil {
		return 0, err
	}
	defer buf.Release()
	return serial, f(bytes.NewReader(buf.Data))
}

// watchedReader moves a progress bar.
type watchedReader struct {
	io.Reader
	bar *progress
}

func (w *watchedReader) Read(p []byte) (int, error) {
	n, err := w.Reader.Read(p)
	w.bar.Add(int64(n))
	return n, err
}

// Serial implements storage.Serialer, by loads if the storage does not.
func (w watched) Serial(ctx context.Context, xid zodb.Xid) (zodb.Tid, error) {
	if s, ok := w.Storage.(storage.Serialer); ok {
		w.bar.Add(0)
		return s.Serial(ctx, xid)
	}
	buf, serial, err := w.Load(ctx, xid)
	if err == nil {
		buf.Release()
	}
	return serial, err
}

// listing is what ls prints. Its names in JSON are a promise to scripts.
type listing struct {
	At      string      `json:"at"`
	Entries []listEntry `json:"entries"`
}

// listEntry is one line. What is not known, or does not apply, is left out of the
// JSON.
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

// add is for catalog.Walk.
func (l *listing) add(e *catalog.Entry) error {
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
		line.Error = oneLine(err)
	}
	l.Entries = append(l.Entries, line)
	return nil
}

// print prints the list as a table, of which there is nothing if it is empty.
func (l *listing) print(out io.Writer) error {
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
		size = sizeText(*e.Size)
		blocks = fmt.Sprintf("%d x %s", *e.Blocks, sizeText(e.BlkSize))
		tid, _ := storage.ParseID(e.Rev)
		changed = catalog.FormatSecond(zodb.Tid(tid))
	}
	return []string{printable(e.Name), e.Oid, cmp.Or(e.File, unknown), dtype, shape, size, blocks, changed}
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

// printable returns a name in quotes if a terminal could take it for something
// else, or a person for two cells.
func printable(name string) string {
	if name == "" || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) || strings.Contains(name, "  ") {
		return strconv.Quote(name)
	}
	return name
}

// tell says on stderr what the table cannot. The error sums it up.
func (l *listing) tell(database string, now bool) error {
	switch {
	case len(l.Entries) > 0:
	case now:
		fmt.Fprintf(os.Stderr, "wcfs: there are no arrays in %s; to add one: wcfs import FILE.npy %s NAME\n", harmlessLine(database), harmlessLine(database))
	default:
		fmt.Fprintf(os.Stderr, "wcfs: there were no arrays in %s as of %s\n", harmlessLine(database), l.At)
	}
	var first error
	broken := 0
	for _, e := range l.Entries {
		if e.Error != "" {
			fmt.Fprintf(os.Stderr, "wcfs: %s: %s\n", printable(e.Name), harmlessLine(e.Error))
		}
		if e.broken != nil {
			broken++
			first = cmp.Or(first, e.broken)
		}
	}
	if broken > 0 {
		return &brokenError{broken, len(l.Entries), first}
	}
	return nil
}

// brokenError says that a list is not complete.
type brokenError struct {
	broken, all int
	first       error // not part of the text, which was printed before
}

func (e *brokenError) Error() string {
	return fmt.Sprintf("%d of %d entries cannot be read", e.broken, e.all)
}

func (e *brokenError) Unwrap() error { return e.first }
