package top

import (
	"bufio"
	"bytes"
	"strconv"
	"strings"
	"time"
)

// client is a line of .wcfs/clients.
type client struct {
	PID        int        `json:"pid"`
	Command    string     `json:"command"`
	Links      int        `json:"links"`
	Watches    int        `json:"watches"`
	Pinned     int        `json:"pinned_blocks"`
	Unanswered int        `json:"unanswered_pins"`
	Since      *time.Time `json:"unanswered_since"` // null if there is none
}

// parseClients returns the clients of a list, and how many it says that it leaves out.
// Words of newer servers are passed over.
func parseClients(text []byte) (all []client, omitted string) {
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		if comment, ok := strings.CutPrefix(lines.Text(), "# "); ok {
			omitted = comment
			continue
		}
		if c := parseClient(lines.Text()); c.PID > 0 {
			all = append(all, c)
		}
	}
	return all, omitted
}

func parseClient(line string) (c client) {
	line, command, _ := strings.Cut(line, " comm=")
	c.Command = command
	if name, err := strconv.Unquote(command); err == nil {
		c.Command = name
	}
	for _, word := range strings.Fields(line) {
		name, value, _ := strings.Cut(word, "=")
		n, _ := strconv.Atoi(value)
		switch name {
		case "pid":
			c.PID = n
		case "links":
			c.Links = n
		case "watches":
			c.Watches = n
		case "pinned":
			c.Pinned = n
		case "unanswered":
			c.Unanswered = n
		case "since":
			if at, err := time.Parse(time.RFC3339, value); err == nil {
				c.Since = &at
			}
		}
	}
	return c
}
