package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/arrays/transfer"
	"github.com/wcfs/wcfs/internal/zodb/storage"
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
		DisableFlagsInUseLine: true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 2 {
				return &usageError{msg: fmt.Sprintf("rm: expected DATABASE NAME, got %d arguments", len(args)), text: "Usage: wcfs " + cmd.Use}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			tid, err := changeNames(cmd.Context(), "rm", args[0], func(ctx context.Context, db zwrite.Store) (zodb.Tid, error) {
				return transfer.Remove(ctx, db, args[1], recursive, message)
			})
			if err == nil {
				fmt.Printf("removed %s, transaction %s; its data stays in earlier views until the database is packed\n", printable(args[1]), tid)
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
func changeNames(ctx context.Context, verb, database string, change func(context.Context, zwrite.Store) (zodb.Tid, error)) (zodb.Tid, error) {
	t, err := importTarget(database, &importFlags{append: true}) // which makes no database
	if err != nil {
		return 0, err
	}
	if err := t.open(ctx); err != nil {
		return 0, openFailed(ctx, verb, err)
	}
	tid, err := change(ctx, t.store())
	if err != nil && ctx.Err() != nil {
		err = errInterrupted
	}
	return tid, t.close(err)
}

// openFailed puts what import says about a database into the words of another command.
func openFailed(ctx context.Context, verb string, err error) error {
	var locked *zwrite.LockedError
	var unsafe *zwrite.UnsafeError
	var openErr *storage.OpenError
	switch {
	case ctx.Err() != nil:
		return errInterrupted
	case errors.As(err, &locked):
		return fmt.Errorf("%s: %w; wait until that is done", verb, locked)
	case errors.As(err, &unsafe):
		return fmt.Errorf("%s: %w", verb, unsafe)
	case errors.As(err, &openErr) && errors.Is(err, fs.ErrNotExist):
		openErr.Hint = "check the path"
	}
	return err
}
