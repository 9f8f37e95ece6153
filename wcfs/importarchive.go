package main

import (
	"context"
	"os"

	"github.com/wcfs/wcfs/internal/arrays/database"
	"github.com/wcfs/wcfs/internal/arrays/report"
	"github.com/wcfs/wcfs/internal/arrays/transfer"
	"github.com/wcfs/wcfs/internal/serve/terminal"
)

// importArchive imports all arrays of an .npz file as the folder name.
func importArchive(ctx context.Context, f *importFlags, a *transfer.Archive, t *database.Target, path, name string, opt transfer.Options) error {
	if f.append {
		return usagef("import: %s is an .npz, which may have many arrays; unpack it, and append one of its .npy files", a.Path)
	}
	if err := t.Open(ctx); err != nil {
		return err
	}
	bar := terminal.NewProgress("import "+name, a.Size())
	opt.Progress = bar.Add
	done, err := transfer.ImportArchive(ctx, t.Store(), a, name, opt)
	bar.Done()
	if err := t.Close(err); err != nil {
		return err
	}
	if t.Created {
		terminal.Say("created %s", t.Path)
	}
	for i := range done {
		if !f.json {
			report.Import(os.Stdout, terminal.Name(done[i].Name), f.append, &done[i].Result)
		} else if err := report.ImportJSON(os.Stdout, done[i].Name, t.Created, &done[i].Result); err != nil {
			return err
		}
	}
	if !f.json {
		suggestServe(path, &done[0].Result)
	}
	return nil
}
