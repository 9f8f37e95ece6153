package main

import (
	"context"
	"io"
	"os"

	"golang.org/x/term"

	"github.com/wcfs/wcfs/internal/arrays/heatmap"
	"github.com/wcfs/wcfs/internal/arrays/transfer"
	"github.com/wcfs/wcfs/internal/serve/terminal"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// checkHeatmap returns what is wrong with the options of a picture.
func (f *logFlags) checkHeatmap(args []string) error {
	switch {
	case f.heatmap == "" && f.force:
		return usagef("log: --force is for the picture of --heatmap")
	case f.heatmap == "":
		return nil
	case len(args) < 2:
		return usagef("log: --heatmap is of an array or file: name it after the database")
	case f.JSON || f.Reverse || f.Number > 0:
		return usagef("log: --heatmap prints no lines: it does not go with --json, --reverse and -n")
	case f.heatmap == "-" && term.IsTerminal(int(os.Stdout.Fd())):
		return usagef("log: the standard output is a terminal; use --heatmap FILE, or a pipe")
	}
	return nil
}

// draw writes a picture of what fill counts.
func (f *logFlags) draw(ctx context.Context, db storage.Storage, args []string, bar *terminal.Progress, fill func(*heatmap.Map) error) error {
	m := heatmap.New()
	if err := fill(m); err != nil {
		return err
	}
	bar.Done()
	if m.Empty() {
		terminal.Say("no transactions to draw")
		return nil
	}
	if at, err := m.Damage(); err != nil {
		terminal.Say("incomplete, as @%s: %s", at, terminal.Error(err))
	}
	write := func(w io.Writer) error {
		return m.PNG(w, terminal.Line(args[1]), terminal.Line(storage.Redact(db.URL())))
	}
	if f.heatmap == "-" {
		if err := checkStdout(db); err != nil {
			return err
		}
		return transfer.WriteStdout(ctx, write)
	}
	return transfer.NewOutFile(f.heatmap, f.force, func() error { return checkTarget(f.heatmap, db) }).Write(ctx, write)
}
