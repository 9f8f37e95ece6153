package main

import (
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// newMan returns the hidden command that writes the manual pages. They come
// from the same table as --help, so they cannot say anything else.
func newMan() *cobra.Command {
	return &cobra.Command{
		Use:    "__man DIR",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			epoch := time.Unix(0, 0) // pages of one version are the same whenever they are made
			header := &doc.GenManHeader{Title: "WCFS", Section: "1", Source: "wcfs", Manual: "wcfs", Date: &epoch}
			return doc.GenManTree(cmd.Root(), header, args[0])
		},
	}
}
