package main

import (
	"context"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/wcfs/wcfs/internal/arrays/catalog"
	"github.com/wcfs/wcfs/internal/arrays/database"
	"github.com/wcfs/wcfs/internal/arrays/report"
	"github.com/wcfs/wcfs/internal/serve/terminal"
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
the object a. A mount shows it as head/PATH, for numpy.load if it is an array, and
the data alone as head/bigfile/FILE. SIZE is that of the array, or of the file if
it has no array. BLOCKS are those that are stored; the others are zeros. CHANGED
is when the data or the array itself changed last. A dash stands for what a file
does not have, and a question mark for what cannot be read; then the exit code is
not 0.`,
		Example: `  wcfs ls data.fs
  wcfs ls data.fs --at 2024-02-29T12:00:00Z
  wcfs ls data.fs --at -5m
  wcfs ls data.fs --json`,
		Args: wantArgs(1, "DATABASE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runLs(cmd.Context(), args[0], at, asJSON)
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	addAt(cmd, &at)
	flags.BoolVar(&asJSON, "json", false, "print one JSON document")
	return cmd
}

func runLs(ctx context.Context, path, atText string, asJSON bool) error {
	store, head, err := opener().Open(ctx, path)
	if err != nil {
		return err
	}
	defer store.Close()
	at, err := catalog.View(atText, time.Now(), head)
	if err != nil {
		return err
	}
	list := report.NewListing(at)
	bar := terminal.NewProgress("look through "+path, -1)
	defer bar.Done()
	if err := catalog.Walk(ctx, database.Watched{Storage: store, Bar: bar}, at, list.Add); err != nil {
		return err
	}
	bar.Done()
	if asJSON {
		err = terminal.JSON(os.Stdout, list)
	} else {
		err = list.Print(os.Stdout)
	}
	if err != nil {
		return err
	}
	return list.Tell(path, at == head)
}
