package fusefs

import (
	"cmp"
	"fmt"

	"github.com/wcfs/wcfs/internal/serve/observe"
	"github.com/wcfs/wcfs/internal/serve/proc"
)

// maxClients bounds the lines of .wcfs/clients: who reads it looks for those that are slow,
// and they come first.
const maxClients = 1000

// clients returns the content of .wcfs/clients: a line for each process with links, those
// first that have not answered for longest.
//
//	pid=77 links=1 watches=4 pinned=120 unanswered=1 since=2024-02-29T12:34:56.123456Z comm=python3
//	pid=78 links=1 watches=2 pinned=0 unanswered=0 since=- comm=python3
//	# 3 more
//
// Unanswered are pins that were sent and are not acknowledged, the oldest of them since that
// time. Words that are not plain are quoted as in the trace. A time, and not how long that
// is ago, keeps the text as it is while nothing happens.
func (t *FS) clients() ([]byte, error) {
	var text []byte
	all := t.opt.Isolation.Clients()
	for _, c := range all[:min(len(all), maxClients)] {
		since := "-"
		if !c.Oldest.IsZero() {
			since = c.Oldest.UTC().Format("2006-01-02T15:04:05.000000Z07:00")
		}
		text = fmt.Appendf(text, "pid=%d links=%d watches=%d pinned=%d unanswered=%d since=%s comm=%s\n",
			c.Pid, c.Links, c.Watches, c.Pinned, c.Unanswered, since, observe.Plain(cmp.Or(proc.Name(c.Pid), "-")))
	}
	if n := len(all) - maxClients; n > 0 {
		text = fmt.Appendf(text, "# %d more\n", n)
	}
	return text, nil
}
