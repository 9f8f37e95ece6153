package main

import "github.com/spf13/cobra"

func newLs() *cobra.Command {
	return &cobra.Command{Use: "ls DATABASE"}
}
