package main

import "github.com/spf13/cobra"

func newExport() *cobra.Command {
	return &cobra.Command{Use: "export DATABASE NAME|OID"}
}
