package report

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/arrays/changes"
	"github.com/wcfs/wcfs/internal/serve/terminal"
)

// DiffJSON prints the difference between two views as JSON.
func DiffJSON(w io.Writer, lo, hi zodb.Tid, c *changes.Change) error {
	return terminal.JSON(w, struct {
		Old string `json:"old_view"`
		New string `json:"new_view"`
		*changeDoc
	}{lo.String(), hi.String(), newChangeDoc(c)})
}

// Diff prints a difference for people.
func Diff(out io.Writer, c *changes.Change) error {
	if c.Damage != nil {
		terminal.Say("incomplete: %s", terminal.Error(c.Damage))
	}
	if c.Empty() {
		terminal.Say("no difference")
		return nil
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if len(c.Blocks) > 0 {
		fmt.Fprintln(w, "BLOCKS\tBYTES\tLENGTH")
	}
	for _, r := range c.Blocks {
		fmt.Fprintf(w, "%s\t%d-%d\t%s\n", rangeText(r), r.Lo*c.BlkSize, (r.Hi+1)*c.BlkSize-1, terminal.Size(r.Len()*c.BlkSize))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	parts := []string{fmt.Sprintf("%s, %s", terminal.Count(c.NBlocks, "block"), terminal.Size(c.NBlocks*c.BlkSize)), resizeText(c)}
	if c.Events != 0 {
		parts = append(parts, c.Events.String())
	}
	_, err := fmt.Fprintln(out, strings.Join(parts, "; "))
	return err
}
