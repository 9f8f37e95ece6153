package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/arrays/transfer"
	"github.com/wcfs/wcfs/internal/serve/terminal"
	"github.com/wcfs/wcfs/internal/zodb/zwrite"
)

func newMv() *cobra.Command {
	var message string
	cmd := &cobra.Command{
		Use:   "mv DATABASE OLD NEW",
		Short: "Give an array of a database another name",
		Long: `Mv gives an array, a file, or a folder another name, in one transaction. Names are
what ls shows. NEW must not be there, but the folder that it is in must: with the
name stations/a the mapping stations. Nothing but the name changes, so servers
and clients that use the array do not notice. DATABASE may be one of a ZEO
server, as for import.`,
		Example: `  wcfs mv data.fs temperature temperature-2024
  wcfs mv data.fs temperature stations/temperature`,
		Args: wantArgs(3, "DATABASE OLD NEW"),
		RunE: func(cmd *cobra.Command, args []string) error {
			tid, err := changeNames(cmd.Context(), "mv", args[0], func(ctx context.Context, db zwrite.Store) (zodb.Tid, error) {
				return transfer.Move(ctx, db, args[1], args[2], message)
			})
			if err == nil {
				fmt.Printf("%s is now %s, transaction %s\n", terminal.Name(args[1]), terminal.Name(args[2]), tid)
			}
			return err
		},
	}
	cmd.Flags().StringVar(&message, "message", "", "`TEXT` that describes the transaction (default: what is done)")
	return cmd
}
