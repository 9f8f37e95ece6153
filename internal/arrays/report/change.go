// Package report tells what was found in a database, and what was done to it: as lines and
// tables for people, and as JSON for programs. The names in JSON are a promise to scripts.
package report

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/arrays/catalog"
	"github.com/wcfs/wcfs/internal/arrays/changes"
	"github.com/wcfs/wcfs/internal/serve/terminal"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// logLine is one line of log.
type logLine struct {
	tid    zodb.Tid
	what   string // what follows user and description, for people
	damage error
	doc    logDoc
}

// logDoc is what --json prints for one transaction. The fields for a NAME are nil
// without one, and objects is nil with one.
type logDoc struct {
	Tid         string `json:"tid"`
	Time        string `json:"time"`
	User        string `json:"user"`
	Description string `json:"description"`
	Objects     *int   `json:"objects,omitempty"`
	*changeDoc
}

// changeDoc is what --json prints for what became of an array or file.
type changeDoc struct {
	Events  []string   `json:"events"`
	Blocks  []blockDoc `json:"blocks"`
	NBlocks int64      `json:"changed_blocks"`
	BlkSize int64      `json:"blksize"`
	OldSize int64      `json:"old_size"`
	NewSize int64      `json:"new_size"`
	Damage  string     `json:"damage,omitempty"`
}

// blockDoc is blocks one after another.
type blockDoc struct {
	First  int64 `json:"first"`
	Last   int64 `json:"last"`
	Offset int64 `json:"offset"` // of the first one in the file, in bytes
	Length int64 `json:"length"` // bytes
}

// newTxnLine is a line about all that a transaction changed.
func newTxnLine(txn *storage.Txn) logLine {
	n := len(txn.Oids)
	doc := newLogDoc(txn.Tid, string(txn.User), string(txn.Description))
	doc.Objects = &n
	return logLine{tid: txn.Tid, what: terminal.Count(int64(n), "object"), doc: doc}
}

// newChangeLine is a line about what a transaction changed of an array or file.
func newChangeLine(c *changes.Change) logLine {
	doc := newLogDoc(c.Tid, c.User, c.Description)
	doc.changeDoc = newChangeDoc(c)
	return logLine{tid: c.Tid, what: changeText(c), damage: c.Damage, doc: doc}
}

func newLogDoc(tid zodb.Tid, user, description string) logDoc {
	return logDoc{
		Tid:         tid.String(),
		Time:        catalog.FormatRFC3339(tid),
		User:        strings.ToValidUTF8(user, "\uFFFD"),
		Description: strings.ToValidUTF8(description, "\uFFFD"),
	}
}

func newChangeDoc(c *changes.Change) *changeDoc {
	doc := &changeDoc{
		Events:  append([]string{}, c.Events.Names()...),
		Blocks:  make([]blockDoc, 0, len(c.Blocks)),
		NBlocks: c.NBlocks,
		BlkSize: c.BlkSize,
		OldSize: c.OldSize,
		NewSize: c.NewSize,
	}
	for _, r := range c.Blocks {
		doc.Blocks = append(doc.Blocks, blockDoc{r.Lo, r.Hi, r.Lo * c.BlkSize, r.Len() * c.BlkSize})
	}
	if c.Damage != nil {
		doc.Damage = terminal.Error(c.Damage)
	}
	return doc
}

// text is the line for people.
func (l *logLine) text() string {
	parts := []string{l.doc.Tid, catalog.FormatSecond(l.tid) + "Z"}
	for _, s := range []string{l.doc.User, l.doc.Description} {
		if s = shortText(s); s != "" {
			parts = append(parts, s)
		}
	}
	parts = append(parts, l.what)
	if l.damage != nil {
		parts = append(parts, "incomplete")
	}
	return strings.Join(parts, "  ")
}

// changeText tells what changed, as
//
//	created  blocks 3-7,9 (6)  size 4.0 MiB -> 6.0 MiB
func changeText(c *changes.Change) string {
	var parts []string
	if events := c.Events &^ changes.Damaged; events != 0 { // the line is marked
		parts = append(parts, events.String())
	}
	switch {
	case c.NBlocks == 1:
		parts = append(parts, "block "+rangesText(c.Blocks))
	case c.NBlocks > 1:
		parts = append(parts, fmt.Sprintf("blocks %s (%d)", rangesText(c.Blocks), c.NBlocks))
	}
	if c.OldSize != c.NewSize {
		parts = append(parts, resizeText(c))
	}
	return strings.Join(parts, "  ")
}

// resizeText tells the size before and after.
func resizeText(c *changes.Change) string {
	if c.OldSize == c.NewSize {
		return "size " + terminal.Size(c.NewSize)
	}
	return fmt.Sprintf("size %s -> %s", terminal.Size(c.OldSize), terminal.Size(c.NewSize))
}

// rangesText returns "3-7,9". Of many it shows the first ones.
func rangesText(ranges []changes.Range) string {
	const limit = 8
	var words []string
	for i, r := range ranges {
		if i == limit {
			words = append(words, "...")
			break
		}
		words = append(words, rangeText(r))
	}
	return strings.Join(words, ",")
}

func rangeText(r changes.Range) string {
	if r.Lo == r.Hi {
		return strconv.FormatInt(r.Lo, 10)
	}
	return fmt.Sprintf("%d-%d", r.Lo, r.Hi)
}

// shortText returns s on one short line, with nothing that a terminal would take
// for a command.
func shortText(s string) string {
	const limit = 60
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
	runes := []rune(strings.Join(strings.Fields(s), " "))
	if len(runes) > limit {
		return string(runes[:limit-3]) + "..."
	}
	return string(runes)
}
