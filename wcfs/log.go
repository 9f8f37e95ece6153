package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/arrays/catalog"
	"github.com/wcfs/wcfs/internal/arrays/changes"
	"github.com/wcfs/wcfs/internal/arrays/database"
	"github.com/wcfs/wcfs/internal/arrays/heatmap"
	"github.com/wcfs/wcfs/internal/arrays/report"
	"github.com/wcfs/wcfs/internal/serve/terminal"
)

// logFlags are the options of log as typed.
type logFlags struct {
	since, until string
	heatmap      string // file of a picture, "-" for the standard output
	force        bool
	report.LogOptions
}

func newLog() *cobra.Command {
	var f logFlags
	cmd := &cobra.Command{
		Use:   "log [OPTIONS] DATABASE [NAME|OID]",
		Short: "List the transactions that changed an array, and which blocks",
		Long: `List the transactions that changed an array or file, newest first: when, by whom,
which blocks, and how the size changed. Blocks are counted from 0. A block that
was stored with the content it had counts as changed.

Without NAME all transactions of the database are listed, with the number of
objects that each changed.

A VIEW is a tid, a time such as 2024-02-29T12:00:00Z, or a time ago such as -5m.
A time means the last transaction that is shown with it, so of several in one
second the last; --json shows microseconds, rounded as by ZODB.
--since and --until list what is after the one and not after the other. The name
is looked up as of --until. An array or file that is deleted by now can be named
by its oid.

With --heatmap a picture is written in place of lines, as PNG: blocks upwards,
time to the right, and colours by how often a block changed. Its size is bounded,
also that of large arrays with long histories.

A transaction is marked incomplete if a part of the block table could not be read
before or after it, as it is with what a pack has left of old transactions.`,
		Example: `  wcfs log data.fs temperature
  wcfs log data.fs temperature --since -1h
  wcfs log data.fs -n 5
  wcfs log data.fs temperature --heatmap changes.png
  wcfs log data.fs temperature --json | jq -r 'select(.new_size > .old_size).tid'`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 1 || len(args) > 2 {
				return &usageError{msg: fmt.Sprintf("log: expected DATABASE [NAME|OID], got %d arguments", len(args)), text: "Usage: wcfs " + cmd.Use}
			}
			if cmd.Flags().Changed("number") && f.Number < 1 {
				return usagef("log: -n must be at least 1, got %d", f.Number)
			}
			return f.checkHeatmap(args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return runLog(cmd.Context(), &f, args)
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&f.since, "since", "", "list what is after this `VIEW`")
	flags.StringVar(&f.until, "until", "", "list what is not after this `VIEW`")
	flags.IntVarP(&f.Number, "number", "n", 0, "list only the newest `N`")
	flags.BoolVar(&f.Reverse, "reverse", false, "list oldest first")
	flags.BoolVar(&f.JSON, "json", false, "print one JSON object a line")
	flags.StringVar(&f.heatmap, "heatmap", "", "write a picture of blocks and time to `FILE`, - for the standard output")
	flags.BoolVar(&f.force, "force", false, "replace the file of the picture")
	return cmd
}

func runLog(ctx context.Context, f *logFlags, args []string) error {
	db, head, err := opener().OpenHistory(ctx, args[0])
	if err != nil {
		return err
	}
	defer db.Close()
	now := time.Now()
	hi, err := catalog.View(f.until, now, head)
	if err != nil {
		return err
	}
	lo := zodb.Tid(0)
	if f.since != "" {
		if lo, err = catalog.View(f.since, now, head); err != nil {
			return err
		}
	}
	bar := terminal.NewProgress("look through "+args[0], -1)
	defer bar.Done()
	watched := database.Watch(db, bar)
	if f.heatmap != "" {
		draw := func(m *heatmap.Map) error { return logOf(ctx, watched, args[1], lo, hi, m) }
		return f.draw(ctx, db, args, bar, draw)
	}
	out := report.NewLog(f.LogOptions, os.Stdout, bar)
	if len(args) == 1 {
		err = watched.Iterate(ctx, lo+1, hi, out.Txn)
	} else {
		err = logOf(ctx, watched, args[1], lo, hi, out)
	}
	if flushErr := out.End(); err == nil { // what was found is worth printing anyway
		err = flushErr
	}
	if err == nil && out.Empty() {
		terminal.Say("no transactions to list")
	}
	return err
}

// changeLog is what takes the changes of an array or file.
type changeLog interface {
	Change(c *changes.Change) error
	Empty() bool
}

// logOf lists what changed one array or file.
func logOf(ctx context.Context, db database.History, name string, lo, hi zodb.Tid, out changeLog) error {
	of, err := database.FindSubject(ctx, db, hi, name)
	if err != nil {
		return err
	}
	err = changes.Log(ctx, db, of.Array, of.File, lo, hi, out.Change)
	if err == nil && out.Empty() && of.Missing != nil {
		return of.Missing
	}
	return err
}
