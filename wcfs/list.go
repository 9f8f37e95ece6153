package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/wcfs/wcfs/internal/serve/control"
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
		DisableFlagsInUseLine: true,
		Args:                  noArgs,
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
				return printJSON(struct {
					Version int                 `json:"version"`
					Servers []control.Summary   `json:"servers"`
					Ended   []control.LastWords `json:"ended,omitempty"`
				}{controlVersion, summaries, control.Ended()})
			}
			err = printList(summaries)
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
		fmt.Fprintf(os.Stderr, "wcfs: %s\n", harmlessLine(ended[i].String()))
	}
}

func printList(servers []control.Summary) error {
	if len(servers) == 0 {
		fmt.Fprintln(os.Stderr, "wcfs: no server is running")
		return nil
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "MOUNTPOINT\tPID\tUPTIME\tDATABASE\tSTATE")
	for _, s := range servers {
		pid, uptime := "-", "-"
		if s.PID != 0 {
			pid = fmt.Sprint(s.PID)
		}
		if s.Started != nil {
			uptime = time.Since(*s.Started).Truncate(time.Second).String()
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", harmlessLine(s.Mountpoint), pid, uptime, harmlessLine(s.ZURL), s.State)
	}
	return w.Flush()
}

func printJSON(document any) error {
	var text bytes.Buffer
	out := json.NewEncoder(&text)
	out.SetEscapeHTML(false)
	out.SetIndent("", "  ")
	if err := out.Encode(document); err != nil {
		return err
	}
	_, err := os.Stdout.Write(harmlessJSON(text.Bytes()))
	return err
}

// noArgs refuses arguments.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return &usageError{msg: fmt.Sprintf("%s: expected no arguments, got %d", cmd.Name(), len(args)), text: "Usage: wcfs " + cmd.Use}
	}
	return nil
}
