package main

import (
	"context"
	"fmt"
	"os"

	"github.com/wcfs/wcfs/internal/arrays/transfer"
)

// importArchive imports all arrays of an .npz file as the folder name.
func importArchive(ctx context.Context, f *importFlags, a *transfer.Archive, t *target, database, name string, opt transfer.Options) error {
	if f.append {
		return &usageError{msg: fmt.Sprintf("import: %s is an .npz, which may have many arrays; unpack it, and append one of its .npy files", a.Path)}
	}
	if err := t.open(ctx); err != nil {
		return err
	}
	bar := newProgress("import "+name, a.Size())
	opt.Progress = bar.Add
	done, err := transfer.ImportArchive(ctx, t.store(), a, name, opt)
	bar.Done()
	if err := t.close(err); err != nil {
		return err
	}
	if t.created {
		fmt.Fprintln(os.Stderr, "wcfs: created", t.path)
	}
	for i := range done {
		if !f.json {
			printImport(f, printable(done[i].Name), &done[i].Result)
		} else if err := printImportJSON(done[i].Name, t.created, &done[i].Result); err != nil {
			return err
		}
	}
	if !f.json {
		suggestServe(database, &done[0].Result)
	}
	return nil
}
