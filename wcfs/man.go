package main

import (
	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/wcfs/wcfs/internal/release"
)

// newMan returns the hidden command that writes the manual pages. They come
// from the same table as --help, so they cannot say anything else.
func newMan() *cobra.Command {
	return &cobra.Command{
		Use:    "__man DIR",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			date := release.Built().Time // pages of one version are the same whenever they are made
			header := &doc.GenManHeader{Title: "WCFS", Section: "1", Source: "wcfs " + release.Version, Manual: "wcfs", Date: &date}
			return doc.GenManTree(cmd.Root(), header, args[0])
		},
	}
}
