package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/wcfs/wcfs/internal/arrays/database"
	"github.com/wcfs/wcfs/internal/arrays/fsck"
	"github.com/wcfs/wcfs/internal/arrays/report"
	"github.com/wcfs/wcfs/internal/serve/terminal"
	"github.com/wcfs/wcfs/internal/zodb/fault"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

func newCheck() *cobra.Command {
	var allViews, asJSON bool
	cmd := &cobra.Command{
		Use:   "check [--all-views] [--json] DATABASE",
		Short: "Tell all that is damaged in a database",
		Long: `Check reads all of a database and tells what is damaged, one line each: where it
is, what is wrong, and what that means to readers. Nothing is written, and the
application and servers may go on meanwhile.

First the file is checked: every transaction and every record, the links between
them, and the .index. Then every block of every ZBigFile is loaded, as of now,
whether anything leads to it or not. A record that is damaged is told, and the
block that cannot be read because of it, too. FileStorage has no checksums: wrong
bits in the data of a block are only seen if they make it unreadable.

A last transaction that is not finished is a commit that is under way or was
interrupted. It is told and is no damage.

The exit code is 0 if the database is sound, and 7 if it is damaged.`,
		Example: `  wcfs check data.fs
  wcfs check data.fs --all-views
  wcfs check data.fs --json | jq -r 'select(.damage).what'`,
		Args: wantArgs(1, "DATABASE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runCheck(cmd.Context(), args[0], allViews, asJSON)
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.BoolVar(&allViews, "all-views", false, "load every block as of every transaction that changed it, too")
	flags.BoolVar(&asJSON, "json", false, "print one JSON object a line, the summary last")
	return cmd
}

func runCheck(ctx context.Context, path string, allViews, asJSON bool) error {
	u, _, err := opener().File(path, "only files can be checked")
	if err != nil {
		return err
	}
	out := report.NewCheck(os.Stdout, asJSON)
	at, end := terminal.ProgressOf("check " + path)
	var loaded func(n int64)
	defer func() { end() }()
	sum, err := fsck.Check(ctx, u.FilePath(opener().Home), fsck.Options{
		Open: func(ctx context.Context) (storage.Storage, error) {
			end()
			at, end = terminal.ProgressOf("open " + path)
			opt := opener().Options()
			opt.Warnf = func(string, ...any) {} // all of it was told
			opt.Progress = at
			store, _, err := database.Drivers().Open(ctx, u.Raw, opt)
			end()
			bar := terminal.NewProgress("load blocks of "+path, -1)
			loaded, end = bar.Add, bar.Done
			return store, err
		},
		AllViews: allViews,
		Progress: func(done, total int64) { at(done, total) },
		Loaded:   func(n int64) { loaded(n) },
		Found:    out.Damage,
	})
	if err != nil {
		return err
	}
	end()
	if err := out.Summary(path, sum); err != nil {
		return err
	}
	if !sum.Sound() {
		return &fault.Error{Kind: fault.Damaged, Msg: fmt.Sprintf("%s is damaged: %s found", path, terminal.Count(sum.Damages, "damage"))}
	}
	return nil
}
