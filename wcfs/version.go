package main

import (
	"fmt"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"github.com/wcfs/wcfs/internal/serve/release"
)

// version describes the build. Scripts read its first line: wcfs X.Y.Z.
func version() string {
	b := release.Built()
	commit := "not known"
	if b.Commit != "" {
		commit = b.Commit + " of " + b.Time.Format(time.DateOnly)
	}
	return fmt.Sprintf("wcfs %s\ncommit: %s\nbuilt with: %s for %s/%s\nneeds: %s",
		release.Version, commit, b.Go, runtime.GOOS, runtime.GOARCH, release.Needs)
}

// newVersion returns the command that says what --version says.
func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Tell the version, its commit, and what it needs",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			fmt.Println(version())
			return nil
		},
	}
}
