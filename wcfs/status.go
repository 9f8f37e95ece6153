package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wcfs/wcfs/internal/serve/control"
	"github.com/wcfs/wcfs/internal/serve/terminal"
	"github.com/wcfs/wcfs/internal/zodb/fault"
)

func newStatus() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:        "status [--json] [DATABASE|MOUNTPOINT]",
		SuggestFor: []string{"show", "info", "health"},
		Short:      "Tell how servers are",
		Long: `Examine the server of a database or on a mount point; all servers without an
argument. One line says of each thing that was looked at whether it is ok. If a
server does not answer within ` + probeLimit.String() + `, it follows what its threads wait for in the
kernel and who uses the mount. The command itself never hangs. Why a server in the
background ended that was not told to is said on stderr, also when it is gone.

` + fault.Help(),
		Example: `  wcfs status
  wcfs status data.fs
  wcfs status --json /mnt/data`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return &usageError{msg: fmt.Sprintf("status: expected at most DATABASE or MOUNTPOINT, got %d arguments", len(args)),
					text: "Usage: wcfs " + cmd.Use}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return status(cmd, args, asJSON) },
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON document")
	return cmd
}

func status(cmd *cobra.Command, args []string, asJSON bool) error {
	servers, ended, failed := serversFor(args)
	if failed != nil && !fault.Is(failed, fault.NotRunning) {
		return failed
	}
	reports := make([]control.Report, len(servers))
	for i, s := range servers {
		reports[i] = control.Examine(cmd.Context(), prober(), s)
		if err := cmd.Context().Err(); err != nil {
			return fmt.Errorf("status: %w", err)
		}
		if !asJSON {
			if i > 0 {
				fmt.Println()
			}
			reports[i].Print(os.Stdout)
		}
	}
	if asJSON {
		err := terminal.JSON(os.Stdout, struct {
			Version int                 `json:"version"`
			Servers []control.Report    `json:"servers"`
			Ended   []control.LastWords `json:"ended,omitempty"`
		}{controlVersion, reports, ended})
		if err != nil {
			return err
		}
	} else {
		tellEnded(ended)
	}
	if failed != nil {
		return failed
	}
	return worst(reports)
}

// serversFor returns the servers that the user named, all without a name, and the
// last words of those that ended.
func serversFor(args []string) ([]control.Server, []control.LastWords, error) {
	if len(args) == 0 {
		servers, err := control.Servers()
		if err == nil && len(servers) == 0 {
			err = &fault.Error{Kind: fault.NotRunning, Msg: "no server is running"}
		}
		return servers, control.Ended(), err
	}
	target, err := newTarget(args[0])
	if err != nil {
		return nil, nil, err
	}
	servers, err := target.Find()
	return servers, target.LastWords(), err
}

// newTarget turns what a person typed for a server into what control understands.
func newTarget(arg string) (control.Target, error) {
	if arg == "" {
		return control.Target{}, usagef("DATABASE or MOUNTPOINT must not be empty")
	}
	zurl, err := opener().URL(arg)
	if err != nil {
		return control.Target{}, err
	}
	t := control.Target{ZURL: zurl}
	if zurl != arg { // it has no scheme
		t.Path = filepath.Clean(strings.TrimPrefix(zurl, "file://"))
	}
	return t, nil
}

// worst returns what is wrong with the server that is worst.
func worst(reports []control.Report) (worst error) {
	for i := range reports {
		err := reports[i].Err()
		if fault.Is(err, fault.Stuck) || worst == nil {
			worst = err
		}
	}
	return worst
}
