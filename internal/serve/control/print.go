package control

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/wcfs/wcfs/internal/serve/terminal"
)

// PrintList prints servers as a table.
func PrintList(out io.Writer, servers []Summary) error {
	if len(servers) == 0 {
		terminal.Say("no server is running")
		return nil
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "MOUNTPOINT\tPID\tUPTIME\tDATABASE\tSTATE")
	for _, s := range servers {
		pid, uptime := "-", "-"
		if s.PID != 0 {
			pid = fmt.Sprint(s.PID)
		}
		if s.Started != nil {
			uptime = time.Since(*s.Started).Truncate(time.Second).String()
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", terminal.Line(s.Mountpoint), pid, uptime, terminal.Line(s.ZURL), s.State)
	}
	return w.Flush()
}

// Print prints the report for people.
func (r *Report) Print(w io.Writer) {
	for _, c := range r.Checks {
		verdict := "ok"
		if !c.OK {
			verdict = "fail"
		}
		line := verdict + " - " + c.Name
		if c.Detail != "" {
			line += ": " + c.Detail
		}
		for line := range strings.SplitSeq(line, "\n") {
			fmt.Fprintln(w, terminal.Line(line))
		}
	}
	if r.Dump != nil {
		r.Dump.Print(terminal.Writer{To: w})
	}
}
