package report

import (
	"bufio"
	"fmt"
	"io"
	"slices"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/arrays/changes"
	"github.com/wcfs/wcfs/internal/serve/terminal"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// LogOptions says which lines of a log are wanted, and how.
type LogOptions struct {
	Number  int  // only so many of the newest, 0 for all
	Reverse bool // oldest first
	JSON    bool
}

// Log prints lines about transactions, in the order and number that was asked for.
type Log struct {
	opt   LogOptions
	w     *bufio.Writer
	bar   *terminal.Progress // nil if there is none
	kept  []logLine          // if lines cannot be printed at once; a ring of the newest if only so many are wanted
	next  int                // in the ring, when it is full
	lines int                // added
	note  error              // the first damage
	noted zodb.Tid
}

// NewLog returns a log that is printed to w. A bar that is drawn meanwhile goes away before
// anything is printed.
func NewLog(opt LogOptions, w io.Writer, bar *terminal.Progress) *Log {
	return &Log{opt: opt, w: bufio.NewWriter(w), bar: bar}
}

// Txn adds a line about all that a transaction changed.
func (o *Log) Txn(txn *storage.Txn) error { return o.add(newTxnLine(txn)) }

// Change adds a line about what a transaction changed of an array or file.
func (o *Log) Change(c *changes.Change) error { return o.add(newChangeLine(c)) }

// Empty reports whether no line was added.
func (o *Log) Empty() bool { return o.lines == 0 }

// add adds a line. They are added oldest first.
func (o *Log) add(l logLine) error {
	o.lines++
	switch {
	case o.opt.Reverse && o.opt.Number == 0:
		return o.print(l)
	case o.opt.Number == 0 || len(o.kept) < o.opt.Number:
		o.kept = append(o.kept, l)
	default:
		o.kept[o.next] = l
		o.next = (o.next + 1) % len(o.kept)
	}
	return nil
}

// End prints what was kept, and what there is to say about all.
func (o *Log) End() error {
	kept := slices.Concat(o.kept[o.next:], o.kept[:o.next])
	if !o.opt.Reverse {
		slices.Reverse(kept)
	}
	for _, l := range kept {
		if err := o.print(l); err != nil {
			return err
		}
	}
	if err := o.w.Flush(); err != nil {
		return err
	}
	if o.note != nil && !o.opt.JSON {
		terminal.Say("incomplete, as @%s: %s", o.noted, terminal.Error(o.note))
	}
	return nil
}

func (o *Log) print(l logLine) error {
	if o.bar != nil {
		o.bar.Done()
	}
	if o.note == nil && l.damage != nil {
		o.note, o.noted = l.damage, l.tid
	}
	if o.opt.JSON {
		return terminal.JSONLine(o.w, &l.doc)
	}
	_, err := fmt.Fprintln(o.w, l.text())
	return err
}
