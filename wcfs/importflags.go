package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wcfs/wcfs/internal/arrays/database"
	"github.com/wcfs/wcfs/internal/arrays/ndarray"
	"github.com/wcfs/wcfs/internal/arrays/transfer"
	"github.com/wcfs/wcfs/internal/zodb/bigfile"
)

// importFlags are the options of import as typed.
type importFlags struct {
	append, replace     bool
	create, raw, json   bool
	format, blksize     string
	dtype, shape, order string
	shapeGiven          func() bool // an empty shape means something
	blksizeGiven        func() bool
	message             string
}

func (f *importFlags) define(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.BoolVar(&f.append, "append", false, "add to the array NAME, which must exist")
	flags.BoolVar(&f.replace, "replace", false, "have NAME mean the new array, if there is one of that name")
	flags.BoolVar(&f.create, "create", false, "make DATABASE if it does not exist, whatever its name")
	flags.StringVar(&f.dtype, "dtype", "", "FILE is plain data, with items of this `TYPE` as numpy spells it")
	flags.StringVar(&f.shape, "shape", "", "FILE is plain data, of this `SHAPE`, such as 3,700 (default: one axis)")
	flags.StringVar(&f.order, "order", "", "`ORDER` of plain data: C or F (default C)")
	flags.BoolVar(&f.raw, "raw", false, "FILE is plain data, with items of the array or else bytes")
	flags.StringVar(&f.blksize, "blksize", "2M", "`SIZE` of the blocks of a new array, such as 64K")
	flags.StringVar(&f.format, "block-format", "auto", "`FORMAT` in which blocks are kept: ZBlk0, ZBlk1 or auto")
	flags.StringVar(&f.message, "message", "", "`TEXT` that describes the transaction (default: what is done)")
	flags.BoolVar(&f.json, "json", false, "print what was done as JSON")
	f.shapeGiven = func() bool { return flags.Changed("shape") }
	f.blksizeGiven = func() bool { return flags.Changed("blksize") }
}

// writeOptions returns how the database is opened.
func (f *importFlags) writeOptions() database.WriteOptions {
	w := database.WriteOptions{Verb: "import", Create: f.create}
	if f.append {
		w.Missing = "check the path; without --append a new database would be made"
	}
	return w
}

// parse returns what the options say. Errors are *usageError.
func (f *importFlags) parse() (layout transfer.Layout, opt transfer.Options, err error) {
	fail := func(format string, args ...any) (transfer.Layout, transfer.Options, error) {
		return layout, opt, usagef("import: "+format, args...)
	}
	if f.dtype != "" {
		if layout.DType, err = ndarray.ParseDType(f.dtype); err != nil {
			return fail("--dtype: %s", err)
		}
	}
	if f.shapeGiven() {
		if layout.Shape, err = parseShape(f.shape); err != nil {
			return fail("--shape: %s", err)
		}
	}
	switch strings.ToUpper(f.order) {
	case "":
	case "C":
		layout.Order = ndarray.RowMajor
	case "F":
		layout.Order = ndarray.ColumnMajor
	default:
		return fail("--order: %q is neither C nor F", f.order)
	}
	layout.Raw = f.raw
	if f.append && f.replace {
		return fail("--append adds to an array, and --replace takes its place; use one of them")
	}
	opt.Replace = f.replace
	if opt.Format, err = bigfile.ParseFormat(f.format); err != nil {
		return fail("--block-format: %s", err)
	}
	if f.append && f.create {
		return fail("--append is for an array that exists, --create for a database that does not")
	}
	if f.append && f.blksizeGiven() {
		return fail("--blksize is for new arrays; an array keeps the size that it has")
	}
	if opt.BlkSize, err = parseSize(f.blksize); err != nil || opt.BlkSize < 1 || opt.BlkSize > transfer.MaxBlkSize {
		return fail("--blksize: %q is no size from 1 to 1G; write it like 4096, 64K or 2M", f.blksize)
	}
	opt.Message = f.message
	return layout, opt, nil
}

// parseSize parses a number of bytes, which may end with K, M or G.
func parseSize(s string) (int64, error) {
	unit := int64(1)
	number := strings.TrimSuffix(strings.TrimSuffix(strings.ToUpper(s), "B"), "I")
	for i, letter := range []string{"K", "M", "G"} {
		if rest, ok := strings.CutSuffix(number, letter); ok {
			number, unit = rest, 1<<(10*(i+1))
			break
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err == nil && (n < 0 || n > math.MaxInt64/unit) {
		err = strconv.ErrRange
	}
	return n * unit, err
}

// parseShape parses numbers with commas between them, with or without the
// parentheses that Python puts around them. No number is the shape of a single
// value.
func parseShape(s string) ([]int64, error) {
	shape := []int64{}
	text := strings.TrimSpace(s)
	if inner, ok := strings.CutPrefix(text, "("); ok {
		if text, ok = strings.CutSuffix(inner, ")"); !ok {
			return nil, fmt.Errorf("%q has no closing parenthesis", s)
		}
	}
	text = strings.TrimSuffix(strings.TrimSpace(text), ",")
	if text == "" {
		return shape, nil
	}
	for word := range strings.SplitSeq(text, ",") {
		n, err := strconv.ParseInt(strings.TrimSpace(word), 10, 64)
		if err != nil || n < 0 {
			return nil, fmt.Errorf("%q is no length of an axis; write it like 3,700", word)
		}
		shape = append(shape, n)
	}
	return shape, nil
}
