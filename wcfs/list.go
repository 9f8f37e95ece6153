package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/wcfs/wcfs/internal/serve/control"
	"github.com/wcfs/wcfs/internal/serve/terminal"
)

// controlVersion is the version of the JSON that list and status print. It
// changes when something is taken away or means something else.
const controlVersion = 1

func newList() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:        "list [--json]",
		SuggestFor: []string{"ps", "servers"},
		Short:      "List the servers of this host",
		Long: `List the servers of this host: where they are mounted, their process, how long
that runs, the database, and a state: ok; dead: the process is gone and its mount
is left; stuck: it does not answer; private: only another user can ask it;
failing: it answers wrongly; disconnected: the server of its database is away, and
is tried again all the time. Servers in the background that ended by themselves are
told on stderr with the reason, until another one serves there, or wcfs stop.

Passwords in urls are not shown. A server that does not answer within ` + probeLimit.String() + ` is
stuck; the command never hangs.`,
		Example: `  wcfs list
  wcfs list --json | jq -r '.servers[].mountpoint'`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			servers, err := control.List(cmd.Context(), prober())
			if err != nil {
				return err
			}
			summaries := make([]control.Summary, len(servers))
			for i, s := range servers {
				summaries[i] = s.Summary()
			}
			if asJSON {
				return terminal.JSON(os.Stdout, struct {
					Version int                 `json:"version"`
					Servers []control.Summary   `json:"servers"`
					Ended   []control.LastWords `json:"ended,omitempty"`
				}{controlVersion, summaries, control.Ended()})
			}
			err = control.PrintList(os.Stdout, summaries)
			tellEnded(control.Ended())
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON document")
	return cmd
}

// tellEnded tells of servers that have ended and why.
func tellEnded(ended []control.LastWords) {
	for i := range ended {
		terminal.Say("%s", terminal.Line(ended[i].String()))
	}
}
