package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/arrays/catalog"
	"github.com/wcfs/wcfs/internal/arrays/changes"
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
		DisableFlagsInUseLine: true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 4 {
				return &usageError{msg: fmt.Sprintf("diff: expected DATABASE NAME|OID @A @B, got %d arguments", len(args)), text: "Usage: wcfs " + cmd.Use}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return orInterrupted(cmd.Context(), runDiff(cmd.Context(), asJSON, args[0], args[1], [2]string{args[2], args[3]}))
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON document")
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &usageError{msg: err.Error(), text: "A time ago is written with @, as @-5m; see: " + cmd.CommandPath() + " --help"}
	})
	return cmd
}

func runDiff(ctx context.Context, asJSON bool, database, name string, texts [2]string) error {
	db, head, err := openHistory(ctx, database)
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
	of, err := findSubject(ctx, db, hi, name)
	if err != nil {
		return err
	}
	bar := newProgress("look through "+database, -1)
	defer bar.Done()
	c, err := changes.Diff(ctx, watchedHistory{watched{db, bar}, db}, of.array, of.file, lo, hi)
	if err != nil {
		return err
	}
	bar.Done()
	if c.Empty() && c.Damage == nil && of.missing != nil {
		return of.missing
	}
	if asJSON {
		return printJSON(struct {
			Old string `json:"old_view"`
			New string `json:"new_view"`
			*changeDoc
		}{lo.String(), hi.String(), newChangeDoc(c)})
	}
	return printDiff(c)
}

// parseView parses a view that must be there.
func parseView(text string, now time.Time, head zodb.Tid) (zodb.Tid, error) {
	if text == "" {
		return 0, &catalog.TimeError{Text: text, Msg: "it is empty"}
	}
	return catalog.View(text, now, head)
}

// printDiff prints a difference for people.
func printDiff(c *changes.Change) error {
	if c.Damage != nil {
		fmt.Fprintf(os.Stderr, "wcfs: incomplete: %s\n", oneLine(c.Damage))
	}
	if c.Empty() {
		fmt.Fprintln(os.Stderr, "wcfs: no difference")
		return nil
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	if len(c.Blocks) > 0 {
		fmt.Fprintln(w, "BLOCKS\tBYTES\tLENGTH")
	}
	for _, r := range c.Blocks {
		fmt.Fprintf(w, "%s\t%d-%d\t%s\n", rangeText(r), r.Lo*c.BlkSize, (r.Hi+1)*c.BlkSize-1, sizeText(r.Len()*c.BlkSize))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	parts := []string{fmt.Sprintf("%s, %s", plural(c.NBlocks, "block"), sizeText(c.NBlocks*c.BlkSize)), resizeText(c)}
	if c.Events != 0 {
		parts = append(parts, c.Events.String())
	}
	_, err := fmt.Println(strings.Join(parts, "; "))
	return err
}
