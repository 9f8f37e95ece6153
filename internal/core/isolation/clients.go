package isolation

import (
	"cmp"
	"slices"
	"time"
)

// Client is a process with links.
type Client struct {
	Pid        int
	Links      int
	Watches    int
	Pinned     int       // blocks, as it has acknowledged
	Unanswered int       // pins that were sent and are not acknowledged
	Oldest     time.Time // when the oldest of these was sent; zero without one
}

// Clients returns all clients, those first that have not answered for longest. It takes the
// locks of all links and files.
func (e *Engine) Clients() []Client {
	byPid := make(map[int]*Client)
	for _, l := range e.list() {
		c := byPid[l.proc.Pid()]
		if c == nil {
			c = &Client{Pid: l.proc.Pid()}
			byPid[c.Pid] = c
		}
		c.add(l)
	}
	var all []Client
	for _, c := range byPid {
		all = append(all, *c)
	}
	slices.SortFunc(all, func(a, b Client) int {
		return cmp.Or(b.waiting()-a.waiting(), a.Oldest.Compare(b.Oldest), cmp.Compare(b.Pinned, a.Pinned), cmp.Compare(a.Pid, b.Pid))
	})
	return all
}

// waiting returns 1 if something is not answered.
func (c *Client) waiting() int { return min(c.Unanswered, 1) }

// add counts what a link has.
func (c *Client) add(l *Link) {
	c.Links++
	for _, w := range l.watchList() {
		c.Watches++
		c.Pinned += w.Pinned()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range l.messages {
		if c.Unanswered++; c.Oldest.IsZero() || m.sent.Before(c.Oldest) {
			c.Oldest = m.sent
		}
	}
}
