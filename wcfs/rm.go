package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/arrays/database"
	"github.com/wcfs/wcfs/internal/arrays/transfer"
	"github.com/wcfs/wcfs/internal/serve/terminal"
	"github.com/wcfs/wcfs/internal/zodb/zwrite"
)

func newRm() *cobra.Command {
	var recursive bool
	var message string
	cmd := &cobra.Command{
		Use:   "rm DATABASE NAME",
		Short: "Remove an array from a database",
		Long: `Rm takes away the name of an array, a file, or a folder: a mapping or OOBTree with
names in it. NAME is what ls shows. It is one transaction, of which the
application, or somebody with ZODB's undo, can make another that brings it back.

The data stays in the database, and earlier views show it, until the database is
packed. A folder that is not empty is removed with -r only. What wcfs does not
make, such as other objects of an application, is left to the application.

DATABASE may be one of a ZEO server, as for import.`,
		Example: `  wcfs rm data.fs temperature
  wcfs rm data.fs stations -r`,
		Args: wantArgs(2, "DATABASE NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			tid, err := changeNames(cmd.Context(), "rm", args[0], func(ctx context.Context, db zwrite.Store) (zodb.Tid, error) {
				return transfer.Remove(ctx, db, args[1], recursive, message)
			})
			if err == nil {
				fmt.Printf("removed %s, transaction %s; its data stays in earlier views until the database is packed\n", terminal.Name(args[1]), tid)
			}
			return err
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.BoolVarP(&recursive, "recursive", "r", false, "remove a folder with all that is in it")
	flags.StringVar(&message, "message", "", "`TEXT` that describes the transaction (default: what is done)")
	return cmd
}

// changeNames opens a database that a person named, for writing, and has change make
// one transaction. The conditions are those of import.
func changeNames(ctx context.Context, verb, path string, change func(context.Context, zwrite.Store) (zodb.Tid, error)) (zodb.Tid, error) {
	t, err := opener().Target(path, database.WriteOptions{Verb: verb, Missing: "check the path"})
	if err != nil {
		return 0, err
	}
	if err := t.Open(ctx); err != nil {
		if ctx.Err() != nil {
			return 0, errInterrupted
		}
		return 0, err
	}
	tid, err := change(ctx, t.Store())
	if err != nil && ctx.Err() != nil {
		err = errInterrupted
	}
	return tid, t.Close(err)
}
