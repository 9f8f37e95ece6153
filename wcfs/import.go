package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/wcfs/wcfs/internal/arrays/database"
	"github.com/wcfs/wcfs/internal/arrays/report"
	"github.com/wcfs/wcfs/internal/arrays/transfer"
	"github.com/wcfs/wcfs/internal/serve/mount"
	"github.com/wcfs/wcfs/internal/serve/terminal"
	"github.com/wcfs/wcfs/internal/zodb/fault"
)

func newImport() *cobra.Command {
	var f importFlags
	cmd := &cobra.Command{
		Use:   "import FILE DATABASE NAME",
		Short: "Write an array from a .npy file, or plain data, into a database",
		Long: `Import writes an array into a database, as a ZBigArray that the root object
refers to by NAME. FILE is a .npy file, as numpy.save writes it; - is the standard
input. All arrays of a .npz file become the items of a mapping: NAME/x, NAME/y.
Anything else is refused unless --dtype, --shape or --raw say that it is plain
data: numbers and nothing else. DATABASE is made if it does not exist, provided
that it ends in .fs or is a file: url, or with --create.

All of it is one transaction: whatever happens, everybody sees the whole array
or nothing of it. Servers that run show it as soon as it is there.

With --append the data is added to an array that exists, along its first axis
(the last one if it is in Fortran order). What FILE does not say is taken from
that array. The cost is that of the new data, however big the array is.

With --replace NAME gets the new array, if it had one already. The old one is
still there in earlier views, until the database is packed.

Nobody else can write to a file while the import runs. Name DATABASE as the
application does: one with hard links, or bind mounted by itself, is refused. To
a ZEO server (zeo://host:port) it is a client like others: if one of them changes
the same meanwhile nothing is written.

` + fault.Help(),
		Example: `  wcfs import temperature.npy data.fs temperature
  wcfs import today.npy data.fs temperature --append
  wcfs import today.npy zeo://server:8100 temperature --append
  sensor | wcfs import - data.fs raw --dtype '<i2'
  wcfs import image.raw data.fs image --dtype uint8 --shape 1080,1920,3`,
		Args: wantArgs(3, "FILE DATABASE NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runImport(cmd.Context(), &f, expandHome(args[0]), args[1], args[2])
		},
	}
	f.define(cmd)
	return cmd
}

func runImport(ctx context.Context, f *importFlags, file, path, name string) error {
	layout, opt, err := f.parse()
	if err != nil {
		return err
	}
	t, err := opener().Target(path, f.writeOptions())
	if err != nil {
		return err
	}
	if t.IsSwapped(opener(), name) {
		return &usageError{msg: fmt.Sprintf("import: %s is a database, and there is none at %s: DATABASE comes before NAME", name, t.Path),
			text: fmt.Sprintf("did you mean: wcfs import %s %s %s", file, name, filepath.Base(t.Path))}
	}
	if err := transfer.CheckName(name); err != nil && !f.append && !f.replace {
		return &usageError{msg: "import: " + err.Error()}
	}
	if file != "-" && !layout.Plain() {
		archive, err := transfer.OpenArchive(file)
		if err != nil {
			return database.NothingWritten("import", err)
		}
		if archive != nil {
			defer archive.Close()
			return importArchive(ctx, f, archive, t, path, name, opt)
		}
	}
	src, err := openSource(ctx, file, layout)
	if err != nil {
		return database.NothingWritten("import", err)
	}
	defer src.Close()
	if err := t.Open(ctx); err != nil {
		return err
	}
	bar := terminal.NewProgress("import "+name, src.Size())
	opt.Progress = bar.Add
	write := transfer.Import
	if f.append {
		write = transfer.Append
	}
	res, err := write(ctx, t.Store(), src, name, opt)
	bar.Done()
	if err := t.Close(err); err != nil {
		return err
	}
	if t.Created {
		terminal.Say("created %s", terminal.Line(t.Path))
	}
	if f.json {
		return report.ImportJSON(os.Stdout, name, t.Created, &res)
	}
	report.Import(os.Stdout, name, f.append, &res)
	suggestServe(path, &res)
	return nil
}

// openSource opens what is imported. "-" is the standard input.
func openSource(ctx context.Context, file string, layout transfer.Layout) (*transfer.Source, error) {
	if file != "-" {
		return transfer.OpenSource(ctx, file, layout)
	}
	if term.IsTerminal(int(os.Stdin.Fd())) {
		return nil, usagef("import: FILE is -, but nothing is piped into the standard input")
	}
	size := int64(-1)
	if fi, err := os.Stdin.Stat(); err == nil && fi.Mode().IsRegular() {
		if pos, err := os.Stdin.Seek(0, io.SeekCurrent); err == nil {
			size = max(0, fi.Size()-pos)
		}
	}
	return transfer.NewSource(&transfer.Interruptible{Ctx: ctx, F: os.Stdin}, transfer.Stdin, size, layout)
}

// suggestServe tells a person how to see what was imported.
func suggestServe(path string, res *transfer.Result) {
	if !term.IsTerminal(int(os.Stderr.Fd())) {
		return
	}
	zurl, err := opener().URL(path)
	if err != nil {
		return
	}
	point, err := mount.Point(zurl)
	if err != nil {
		return
	}
	fmt.Fprintf(os.Stderr, "To see it as a file:\n  wcfs serve %s\n  stat %s/head/bigfile/%s\n", terminal.Line(path), terminal.Line(point), res.Array.File)
}
