package main

import (
	"context"
	"os"
	"time"

	"github.com/spf13/cobra"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/arrays/catalog"
	"github.com/wcfs/wcfs/internal/arrays/changes"
	"github.com/wcfs/wcfs/internal/arrays/database"
	"github.com/wcfs/wcfs/internal/arrays/report"
	"github.com/wcfs/wcfs/internal/serve/terminal"
)

func newDiff() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "diff [--json] DATABASE NAME|OID @A @B",
		Short: "Show which blocks of an array differ between two views",
		Long: `Show which blocks of an array or file may differ between two views: their
numbers, counted from 0, and their bytes in the file. No data is read, so blocks
that were stored with the content they had are shown, too.

A view is a tid, a time such as 2024-02-29T12:00:00Z, a time ago such as @-5m, or
head. The @ may be left out where the view does not begin with a dash. A time is
that of the last transaction that log shows with it. The order does not matter:
changes are shown from the older view to the newer one. The name is looked up as
of the newer one.

The exit code is 0 whether there is a difference or not.`,
		Example: `  wcfs diff data.fs temperature @03f6df7fffffffb8 @head
  wcfs diff data.fs temperature @-1h @head
  wcfs diff data.fs temperature 2024-02-28 2024-02-29 --json`,
		Args: wantArgs(4, "DATABASE NAME|OID @A @B"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runDiff(cmd.Context(), asJSON, args[0], args[1], [2]string{args[2], args[3]})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON document")
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &usageError{msg: err.Error(), text: "A time ago is written with @, as @-5m; see: " + cmd.CommandPath() + " --help"}
	})
	return cmd
}

func runDiff(ctx context.Context, asJSON bool, path, name string, texts [2]string) error {
	db, head, err := opener().OpenHistory(ctx, path)
	if err != nil {
		return err
	}
	defer db.Close()
	var views [2]zodb.Tid
	now := time.Now()
	for i, text := range texts {
		if views[i], err = parseView(text, now, head); err != nil {
			return err
		}
	}
	lo, hi := min(views[0], views[1]), max(views[0], views[1])
	of, err := database.FindSubject(ctx, db, hi, name)
	if err != nil {
		return err
	}
	bar := terminal.NewProgress("look through "+path, -1)
	defer bar.Done()
	c, err := changes.Diff(ctx, database.Watch(db, bar), of.Array, of.File, lo, hi)
	if err != nil {
		return err
	}
	bar.Done()
	switch {
	case c.Empty() && c.Damage == nil && of.Missing != nil:
		return of.Missing
	case asJSON:
		return report.DiffJSON(os.Stdout, lo, hi, c)
	}
	return report.Diff(os.Stdout, c)
}

// parseView parses a view that must be there.
func parseView(text string, now time.Time, head zodb.Tid) (zodb.Tid, error) {
	if text == "" {
		return 0, &catalog.TimeError{Text: text, Msg: "it is empty"}
	}
	return catalog.View(text, now, head)
}
