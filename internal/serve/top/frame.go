package top

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/serve/control"
	"github.com/wcfs/wcfs/internal/serve/terminal"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// frame is what is shown at a moment.
type frame struct {
	now     time.Time
	servers []*watched
	gone    error         // why there are none
	words   []string      // the last ones of servers that have ended
	silence time.Duration // for how long a look has been under way that takes longer than usual; else 0
}

// lines returns the frame for a terminal of that width.
func (f *frame) lines(width int) []line {
	lines := []line{f.head(width)}
	switch {
	case f.gone != nil:
		lines = append(lines, wrapped(f.gone.Error(), bad, width)...)
	case len(f.servers) == 1:
		lines = append(lines, f.servers[0].lines(f.now, width)...)
	case len(f.servers) > 1:
		lines = append(append(lines, line{}), list(f.servers, width)...)
		lines = append(lines, line{}, line{{"name one to see more of it: wcfs top MOUNTPOINT", faint}})
	}
	for _, words := range f.words {
		lines = append(append(lines, line{}), wrapped(words, plain, width)...)
	}
	return lines
}

// head is the first line: what this is, of when, and how the server is.
func (f *frame) head(width int) line {
	name := "wcfs top"
	if len(f.servers) == 1 {
		name = terminal.Line(f.servers[0].now.server.Dir)
	}
	state := f.state()
	clock := f.now.Format(time.TimeOnly)
	room := width - len(clock) - len(state.text) - 3
	return line{{padded(shorten(name, room), room, false), strong}, {" ", plain}, state, {"  ", plain}, {clock, faint}}
}

func (f *frame) state() cell {
	if f.silence > 0 {
		return cell{fmt.Sprintf("no answer for %s", age(f.silence.Seconds())), bad}
	}
	if len(f.servers) != 1 {
		return cell{terminal.Count(int64(len(f.servers)), "server"), plain}
	}
	return stateCell(f.servers[0].now.server.State)
}

func stateCell(s control.State) cell {
	if s == control.StateOK {
		return cell{string(s), good}
	}
	return cell{string(s), bad}
}

// lines returns what is shown of one server.
func (w *watched) lines(now time.Time, width int) (lines []line) {
	s := w.now.server.Summary()
	lines = append(lines, flow("database", []cell{{shorten(terminal.Line(s.ZURL), width-labelWidth), plain}}, width)...)
	if w.now.trouble != "" {
		lines = append(lines, wrapped(w.now.trouble, bad, width)...)
	}
	clients := clientTable(w.now, width)
	if w.now.slow() { // first, since it may be all that has room
		lines, clients = append(lines, clients...), nil
	}
	for _, group := range groups() {
		if cells := append(w.beginning(group, now), w.cells(group)...); len(cells) > 0 {
			lines = append(lines, flow(group, cells, width)...)
		}
	}
	if w.now.dump != nil {
		lines = append(append(lines, line{}), dumped(w.now.dump)...)
	}
	if len(clients) > 0 {
		lines = append(append(lines, line{}), clients...)
	}
	return lines
}

// groups returns the groups of figures in order.
func groups() (names []string) {
	for _, f := range figures {
		if !slices.Contains(names, f.group) {
			names = append(names, f.group)
		}
	}
	return names
}

// beginning returns what stands before the figures of a group.
func (w *watched) beginning(group string, now time.Time) (cells []cell) {
	switch s := w.now.server; {
	case group == "head" && w.now.head != "":
		cells = append(cells, cell{"@" + w.now.head, plain})
		if tid, ok := storage.ParseID(w.now.head); ok && tid != 0 {
			cells = append(cells, cell{storage.TimeOf(zodb.Tid(tid)).UTC().Format("2006-01-02 15:04:05Z"), plain})
		}
	case group == "storage" && w.now.metrics != nil && s.State != control.StateDisconnected:
		cells = append(cells, cell{"connected", plain})
	case group == "process" && s.PID != 0:
		cells = append(cells, cell{"pid " + strconv.Itoa(s.PID), plain})
		if !s.Started.IsZero() {
			cells = append(cells, cell{"up " + age(now.Sub(s.Started).Seconds()), plain})
		}
	}
	return cells
}

// cells returns the figures of a group that can be told.
func (w *watched) cells(group string) (cells []cell) {
	for _, f := range figures {
		if f.group != group || w.now.metrics == nil {
			continue
		}
		v, ok := f.value(w)
		if !ok || f.quiet(v) {
			continue
		}
		c := cell{fmt.Sprintf(f.text, f.show(v)), plain}
		if f.alarm != nil && f.alarm(v) {
			c.mark = bad
		}
		cells = append(cells, c)
	}
	return cells
}

// quiet reports whether the figure is only worth its place if it is not 0: nothing is wrong.
func (f *figure) quiet(v float64) bool { return v == 0 && f.alarm != nil && f.alarm(0.001) }

// slow reports whether a client keeps others waiting.
func (l *look) slow() bool { return len(l.clients) > 0 && l.waits(l.clients[0]) > pinAlarm }

// waits returns for how many seconds a client has not answered.
func (l *look) waits(c client) float64 {
	if c.Since == nil {
		return 0
	}
	return max(0, l.at.Sub(*c.Since).Seconds())
}

// clientTable returns the clients of a server, those first that keep others waiting.
func clientTable(l *look, width int) (lines []line) {
	if len(l.clients) == 0 {
		return nil
	}
	columns := []column{{head: "COMMAND"}, {head: "PID", number: true}, {head: "UNANSWERED", number: true}, {head: "SINCE", number: true},
		{head: "PINNED", number: true}, {head: "WATCHES", number: true}, {head: "LINKS", number: true}}
	for _, c := range l.clients {
		since, mark := "-", plain
		if c.Since != nil {
			since = age(l.waits(c))
		}
		if l.waits(c) > pinAlarm {
			mark = bad
		}
		for i, text := range []string{terminal.Line(c.Command), strconv.Itoa(c.PID), strconv.Itoa(c.Unanswered), since,
			strconv.Itoa(c.Pinned), strconv.Itoa(c.Watches), strconv.Itoa(c.Links)} {
			columns[i].add(text, mark)
		}
	}
	lines = table(columns, len("COMMAND"), width)
	if l.omitted != "" {
		lines = append(lines, line{{terminal.Line(l.omitted), faint}})
	}
	return lines
}

// list returns a line for each server.
func list(servers []*watched, width int) []line {
	columns := []column{{head: "MOUNTPOINT"}, {head: "STATE"}}
	shown := []figure{}
	for _, f := range figures {
		if head, ok := listed[f.group+" "+f.name]; ok {
			shown = append(shown, f)
			columns = append(columns, column{head: head, number: true})
		}
	}
	for _, w := range servers {
		columns[0].add(terminal.Line(w.now.server.Dir), plain)
		state := stateCell(w.now.server.State)
		columns[1].add(state.text, state.mark)
		for i, f := range shown {
			text, mark := "-", plain
			if v, ok := f.value(w); ok && w.now.metrics != nil {
				text = f.show(v)
				if f.alarm != nil && f.alarm(v) {
					mark = bad
				}
			}
			columns[2+i].add(text, mark)
		}
	}
	return table(columns, 12, width)
}

// listed are the figures that a list of servers has, and the heads of their columns.
var listed = map[string]string{
	"head lag_seconds": "BEHIND", "commits per_second": "COMMITS/s", "reads per_second": "READS/s",
	"reads head_bytes_per_second": "BYTES/s", "clients links": "LINKS", "reads waiting_for_clients": "WAITING",
}

// dumped returns what the processes around a server wait for.
func dumped(d *control.Dump) (lines []line) {
	var text strings.Builder
	d.Print(&text)
	for row := range strings.Lines(text.String()) {
		lines = append(lines, line{{terminal.Line(strings.TrimRight(row, "\n")), plain}})
	}
	return lines
}

// wrapped returns text in as many lines as it needs.
func wrapped(text string, mark mark, width int) (lines []line) {
	current := ""
	for _, word := range strings.Fields(terminal.Line(text)) {
		if current != "" && len(current)+1+len(word) > width {
			lines = append(lines, line{{current, mark}})
			current = ""
		}
		current = strings.TrimLeft(current+" "+word, " ")
	}
	return append(lines, line{{current, mark}})
}
