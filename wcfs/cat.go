package main

import "github.com/spf13/cobra"

func newCat() *cobra.Command {
	return &cobra.Command{Use: "cat DATABASE NAME|OID"}
}
