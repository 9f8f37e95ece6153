package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/wcfs/wcfs/internal/arrays/catalog"
	"github.com/wcfs/wcfs/internal/arrays/transfer"
	"github.com/wcfs/wcfs/internal/serve/terminal"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// exportFlags are the options of export as typed.
type exportFlags struct {
	at, output, format string
	force              bool
}

func newExport() *cobra.Command {
	var f exportFlags
	cmd := &cobra.Command{
		Use:   "export DATABASE NAME|OID",
		Short: "Write an array of a database to a .npy file, or as plain data",
		Long: `Export writes an array, as it is now or as it was at a view, to a .npy file
that numpy.load reads, or as plain data: its items one after another, or what is
in a ZBigFile that belongs to no array. No server is needed.

The file is NAME.npy in the current directory, or NAME.raw for plain data, unless
-o names another one. One that ends with .raw gets plain data. - is the standard
output. The file appears when it is complete, and does not replace another one
without --force, and a ZODB database never. An ending of another format, such as
.csv, is refused unless --format says what is meant.`,
		Example: `  wcfs export data.fs temperature
  wcfs export data.fs temperature --at 2024-02-29T12:00:00Z -o then.npy
  wcfs export data.fs temperature -o - | python3 -c 'import numpy,sys; ...'
  wcfs export data.fs 0000000000000a42 -o part.raw`,
		Args: wantArgs(2, "DATABASE NAME|OID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.output = expandHome(f.output)
			return runExport(cmd.Context(), &f, args[0], args[1])
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVarP(&f.output, "output", "o", "", "`FILE` to write, or - (default NAME.npy)")
	flags.StringVar(&f.format, "format", "", "`FORMAT` of the file: npy or raw (default: by its name)")
	addAt(cmd, &f.at)
	flags.BoolVar(&f.force, "force", false, "replace the file if it exists")
	return cmd
}

func runExport(ctx context.Context, f *exportFlags, from, name string) error {
	if f.format != "" && f.format != "npy" && f.format != "raw" {
		return usagef("export: --format: %q is neither npy nor raw", f.format)
	}
	toStdout := f.output == "-"
	if toStdout && term.IsTerminal(int(os.Stdout.Fd())) {
		return usagef("export: the standard output is a terminal; use -o FILE, or a pipe")
	}
	db, err := opener().OpenEntry(ctx, from, f.at, name)
	if err != nil {
		return err
	}
	defer db.Close()
	entry := db.Entry
	if entry.ArrayErr != nil {
		return fmt.Errorf("%s: %w; its file can be exported: %s", name, entry.ArrayErr, entry.File)
	}
	output, npy, err := f.target(entry)
	if err != nil {
		return err
	}
	size := entry.Size
	if entry.Array != nil {
		size, _ = entry.Array.Bytes() // Find has checked it
	}
	bar := terminal.NewProgress("export "+name, size)
	defer bar.Done()
	write := func(w io.Writer) error {
		if entry.Array == nil {
			return transfer.Copy(ctx, db.Storage, db.At, entry.File, 0, size, w, bar.Add)
		}
		return transfer.Export(ctx, db.Storage, db.At, entry.Array, w, npy, bar.Add)
	}
	if toStdout {
		if err := checkStdout(db.Storage); err != nil {
			return err
		}
		return transfer.WriteStdout(ctx, write)
	}
	out := transfer.NewOutFile(output, f.force, func() error { return checkTarget(output, db.Storage) })
	if err := out.Write(ctx, write); err != nil {
		return err
	}
	bar.Done()
	what := "plain data"
	if npy {
		what = transfer.Describe(entry.Array)
	}
	terminal.Say("wrote %s: %s, %s, as of %s", terminal.Line(output), what, terminal.Size(size), db.At)
	return nil
}

// checkTarget returns why a file must not be written while a database is read.
func checkTarget(path string, db storage.Storage) error {
	for _, data := range append(storage.DataFiles(db), "") {
		if err := transfer.CheckTarget(path, data); err != nil {
			return err
		}
	}
	return nil
}

// checkStdout returns why the standard output must not be written to.
func checkStdout(db storage.Storage) error {
	for _, data := range storage.DataFiles(db) {
		if err := transfer.CheckOutput(os.Stdout, data); err != nil {
			return err
		}
	}
	return nil
}

// otherFormats are endings of names whose files must not be .npy files: whoever opens
// them would be misled.
var otherFormats = []string{".csv", ".tsv", ".txt", ".json", ".yaml", ".xml", ".html", ".md", ".npz", ".pkl", ".pickle", ".h5", ".hdf5", ".hdf", ".nc",
	".mat", ".fits", ".parquet", ".feather", ".arrow", ".zarr", ".xls", ".xlsx", ".ods", ".sqlite", ".db", ".fs", ".zip", ".gz", ".bz2", ".xz", ".zst", ".tar",
	".tgz", ".png", ".jpg", ".jpeg", ".gif", ".tif", ".tiff", ".bmp", ".pdf", ".wav", ".mp3", ".mp4", ".py"}

// target returns where the entry goes, and whether as an .npy file.
func (f *exportFlags) target(entry *catalog.Entry) (output string, npy bool, err error) {
	noArray := entry.Array == nil
	ending := strings.ToLower(path.Ext(f.output))
	raw := noArray || f.format == "raw" || f.format == "" && ending == ".raw"
	switch {
	case noArray && (f.format == "npy" || ending == ".npy"):
		return "", false, usagef("export: %s is a file that belongs to no array: its dtype and shape are not known; use -o FILE.raw", entry.Path)
	case f.format == "" && f.output != "-" && slices.Contains(otherFormats, ending):
		return "", false, usagef("export: a name that ends with %s is for another format, and only .npy files and plain data are written; use -o FILE.npy or -o FILE.raw, or say --format npy or --format raw", ending)
	case f.output != "":
		return f.output, !raw, nil
	}
	base := path.Base(entry.Path)
	switch {
	case strings.Trim(base, "./") == "":
		return "", false, usagef("export: %q is no name for a file; use -o FILE", base)
	case raw:
		return base + ".raw", false, nil
	}
	return base + ".npy", true, nil
}
