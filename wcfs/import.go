package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/golang/glog"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/wcfs/wcfs/internal/mount"
	"github.com/wcfs/wcfs/internal/storage"
	"github.com/wcfs/wcfs/internal/transfer"
	"github.com/wcfs/wcfs/internal/zwrite"
)

func newImport() *cobra.Command {
	var f importFlags
	cmd := &cobra.Command{
		Use:   "import FILE DATABASE NAME",
		Short: "Write an array from a .npy file, or plain data, into a database",
		Long: `Import writes an array into a database, as a ZBigArray that the root object
refers to by NAME. FILE is a .npy file, as numpy.save writes it, or plain data;
- is the standard input. DATABASE is made if it does not exist.

All of it is one transaction: whatever happens, everybody sees the whole array
or nothing of it. Servers that run show it as soon as it is there.

With --append the data is added to an array that exists, along its first axis
(the last one if it is in Fortran order). What FILE does not say is taken from
that array. The cost is that of the new data, however big the array is.

Nobody else can write while the import runs. Exit codes: 13 NAME exists already,
14 disk full, 15 nothing of that name to append to, 16 somebody else writes now,
17 FILE cannot be used; others are those of serve.`,
		Example: `  wcfs import temperature.npy data.fs temperature
  wcfs import today.npy data.fs temperature --append
  sensor | wcfs import - data.fs raw --dtype '<i2'
  wcfs import image.raw data.fs image --dtype uint8 --shape 1080,1920,3`,
		DisableFlagsInUseLine: true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 3 {
				return &usageError{msg: fmt.Sprintf("import: expected FILE DATABASE NAME, got %d arguments", len(args)), text: "Usage: wcfs " + cmd.Use}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return runImport(cmd.Context(), &f, args[0], args[1], args[2])
		},
	}
	f.define(cmd)
	return cmd
}

func runImport(ctx context.Context, f *importFlags, file, database, name string) error {
	layout, opt, err := f.parse()
	if err != nil {
		return err
	}
	path, err := databasePath(database)
	if err != nil {
		return err
	}
	if err := transfer.CheckName(name); err != nil && !f.append {
		return &usageError{msg: "import: " + err.Error()}
	}
	src, err := openSource(ctx, file, layout)
	if err != nil {
		return nothingWritten(err)
	}
	defer src.Close()
	t := target{path: path}
	if err := t.open(ctx, !f.append); err != nil {
		return err
	}
	bar := newProgress("import "+name, src.Size())
	opt.Progress = bar.Add
	write := transfer.Import
	if f.append {
		write = transfer.Append
	}
	res, err := write(ctx, t.db, src, name, opt)
	bar.Done()
	if err := t.close(err); err != nil {
		return err
	}
	if t.created {
		fmt.Fprintln(os.Stderr, "wcfs: created", harmlessLine(path))
	}
	if f.json {
		return printImportJSON(name, t.created, &res)
	}
	printImport(f, name, &res)
	suggestServe(database, &res)
	return nil
}

// openSource opens what is imported. "-" is the standard input.
func openSource(ctx context.Context, file string, layout transfer.Layout) (*transfer.Source, error) {
	if file != "-" {
		return transfer.OpenSource(ctx, file, layout)
	}
	if term.IsTerminal(int(os.Stdin.Fd())) {
		return nil, &usageError{msg: "import: FILE is -, but nothing is piped into the standard input"}
	}
	size := int64(-1)
	if fi, err := os.Stdin.Stat(); err == nil && fi.Mode().IsRegular() {
		if pos, err := os.Stdin.Seek(0, io.SeekCurrent); err == nil {
			size = max(0, fi.Size()-pos)
		}
	}
	return transfer.NewSource(&interruptible{ctx, os.Stdin}, "standard input", size, layout)
}

// target is the database that is written to.
type target struct {
	path    string
	db      *zwrite.DB
	created bool
}

// open opens the database. If it does not exist, it may be created.
func (t *target) open(ctx context.Context, create bool) error {
	progress, end := progressOf("open " + t.path)
	defer end()
	opt := zwrite.Options{Warnf: glog.Warningf, Progress: progress}
	err := checkDataFile(t.path)
	if errors.Is(err, fs.ErrNotExist) && create {
		t.created = true
		t.db, err = zwrite.Create(ctx, t.path, opt)
	} else if err == nil {
		t.db, err = zwrite.Open(ctx, t.path, opt)
	}
	if err == nil {
		return nil
	}
	var locked *zwrite.LockedError
	if errors.As(err, &locked) {
		return fmt.Errorf("import: %w; wait until that is done", locked)
	}
	openErr := &storage.OpenError{Reason: storage.Unreachable, URL: "file://" + t.path, Err: err}
	switch {
	case errors.Is(err, fs.ErrNotExist) && create:
		openErr.Msg, openErr.Hint = "no such directory", "make "+filepath.Dir(t.path)+" first"
	case errors.Is(err, fs.ErrNotExist):
		openErr.Msg, openErr.Hint = "no such file", "check the path; without --append a new database would be made"
	case errors.Is(err, fs.ErrPermission):
		openErr.Msg, openErr.Hint = "permission denied", "the data file and its directory must be writable for this user"
	case errors.Is(err, syscall.EROFS):
		openErr.Msg = "is on a read-only filesystem"
	default:
		return nothingWritten(err)
	}
	return openErr
}

// checkDataFile finds out whether something could be a database before a lock
// file is made beside it.
func checkDataFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	bad := &storage.OpenError{Reason: storage.NotADatabase, URL: "file://" + path}
	fi, err := f.Stat()
	switch {
	case err != nil:
		return err
	case fi.IsDir():
		bad.Msg, bad.Hint = "is a directory", "give the data file in it, as in "+filepath.Join(path, "Data.fs")
		return bad
	case !fi.Mode().IsRegular():
		bad.Msg = "is not a regular file"
		return bad
	case fi.Size() == 0:
		return nil
	}
	magic := make([]byte, 4)
	n, err := io.ReadFull(f, magic)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	if text := string(magic[:n]); text != "FS21" && text != "FS30" {
		bad.Msg = fmt.Sprintf("is not a FileStorage: it begins with %q", text)
		return bad
	}
	return nil
}

// close closes the database and returns the error of the import. What was created
// for an import that failed is taken away again, while the lock is held.
func (t *target) close(err error) error {
	var uncertain *zwrite.UncertainError
	if err != nil && t.created && !errors.As(err, &uncertain) {
		err = errors.Join(err, os.Remove(t.path))
	}
	if err != nil {
		err = nothingWritten(err)
	}
	closeErr := t.db.Close()
	if err == nil && closeErr != nil { // the index can be computed anew
		glog.Warning(closeErr)
	}
	return err
}

// nothingWritten puts the good news behind an error that leaves the database as
// it was.
func nothingWritten(err error) error {
	var uncertain *zwrite.UncertainError
	switch {
	case errors.As(err, &uncertain):
		return err
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%w; nothing was written; make room and try again", err)
	case errors.Is(err, context.Canceled):
		return errors.New("import: interrupted; nothing was written")
	}
	return err
}

// importReport is what --json prints.
type importReport struct {
	Name    string  `json:"name"`
	Oid     string  `json:"oid"`  // of the array
	File    string  `json:"file"` // oid
	DType   string  `json:"dtype"`
	Shape   []int64 `json:"shape"`
	Order   string  `json:"order"`
	Rows    int64   `json:"rows"`   // new ones
	Bytes   int64   `json:"bytes"`  // of data imported
	Blocks  int64   `json:"blocks"` // written
	Tid     string  `json:"tid"`
	Created bool    `json:"created"` // the database
}

func printImportJSON(name string, created bool, res *transfer.Result) error {
	err := printJSONLine(os.Stdout, importReport{
		Name: name, Oid: res.Oid.String(), File: res.Array.File.String(),
		DType: res.Array.DType.String(), Shape: res.Array.Shape, Order: string(res.Array.Order),
		Rows: res.Rows, Bytes: res.Bytes, Blocks: res.Blocks, Tid: res.Tid.String(), Created: created,
	})
	if err != nil { // it must not look as if nothing was written
		return fmt.Errorf("imported %s in transaction %s, but cannot say so: %s", name, res.Tid, err)
	}
	return nil
}

func printImport(f *importFlags, name string, res *transfer.Result) {
	done := fmt.Sprintf("imported %s: %s,", name, transfer.Describe(&res.Array))
	if f.append {
		done = fmt.Sprintf("appended to %s, now %s:", name, transfer.Describe(&res.Array))
	}
	blocks := "blocks"
	if res.Blocks == 1 {
		blocks = "block"
	}
	fmt.Printf("%s %s in %d %s, transaction %s\n", done, sizeText(res.Bytes), res.Blocks, blocks, res.Tid)
}

// suggestServe tells a person how to see what was imported.
func suggestServe(database string, res *transfer.Result) {
	if !term.IsTerminal(int(os.Stderr.Fd())) {
		return
	}
	zurl, err := resolveURL(database)
	if err != nil {
		return
	}
	point, err := mount.Point(zurl)
	if err != nil {
		return
	}
	fmt.Fprintf(os.Stderr, "To see it as a file:\n  wcfs serve %s\n  stat %s/head/bigfile/%s\n", harmlessLine(database), harmlessLine(point), res.Array.File)
}
