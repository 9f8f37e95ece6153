package report

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/arrays/fsck"
	"github.com/wcfs/wcfs/internal/serve/terminal"
)

// Check prints what a check finds.
type Check struct {
	w    *bufio.Writer
	json bool
}

// NewCheck returns a report of a check that is printed to w.
func NewCheck(w io.Writer, asJSON bool) *Check { return &Check{bufio.NewWriter(w), asJSON} }

// damageDoc is what --json prints for one damage.
type damageDoc struct {
	Damage string `json:"damage"` // file, index, or array
	Pos    *int64 `json:"position,omitempty"`
	Oid    string `json:"oid,omitempty"`
	Tid    string `json:"tid,omitempty"`
	Name   string `json:"name,omitempty"`
	File   string `json:"file,omitempty"`
	First  *int64 `json:"first_block,omitempty"`
	Last   *int64 `json:"last_block,omitempty"`
	View   string `json:"view,omitempty"`
	What   string `json:"what"`
	Means  string `json:"means"`
}

func newDamageDoc(d *fsck.Damage) damageDoc {
	doc := damageDoc{Damage: "file", Name: d.Name, What: d.What, Means: d.Means}
	switch {
	case d.Index:
		doc.Damage = "index"
	case d.View != 0:
		doc.Damage, doc.View = "array", d.View.String()
	}
	if d.Pos >= 0 {
		doc.Pos = &d.Pos
	}
	if d.Oid != zodb.InvalidOid {
		doc.Oid = d.Oid.String()
	}
	if d.Tid != 0 {
		doc.Tid = d.Tid.String()
	}
	if d.File != zodb.InvalidOid {
		doc.File = d.File.String()
	}
	if d.Block >= 0 {
		doc.First, doc.Last = &d.Block, &d.Last
	}
	return doc
}

// text is the line for people.
func (d *damageDoc) text() string {
	var where []string
	add := func(format string, args ...any) { where = append(where, fmt.Sprintf(format, args...)) }
	if d.Damage == "index" {
		add(".index")
	}
	if d.File != "" {
		name := d.File
		if d.Name != "" {
			name = terminal.Name(d.Name)
		}
		add("%s", name)
		add("as of @%s", d.View)
	}
	switch {
	case d.First == nil:
	case *d.First == *d.Last:
		add("block %d", *d.First)
	default:
		add("blocks %d-%d", *d.First, *d.Last)
	}
	if d.Pos != nil {
		add("position %d", *d.Pos)
	}
	if d.Oid != "" {
		add("object %s", d.Oid)
	}
	if d.Tid != "" {
		add("@%s", d.Tid)
	}
	return strings.Join(where, ", ") + ": " + terminal.Name(strings.ReplaceAll(d.What, "\n", " ")) + "; " + d.Means
}

// Damage prints one damage as soon as it is found.
func (o *Check) Damage(d fsck.Damage) error {
	doc := newDamageDoc(&d)
	if o.json {
		if err := terminal.JSONLine(o.w, &doc); err != nil {
			return err
		}
	} else if _, err := fmt.Fprintln(o.w, doc.text()); err != nil {
		return err
	}
	return o.w.Flush()
}

// Summary prints what was looked at.
func (o *Check) Summary(database string, s *fsck.Summary) error {
	if o.json {
		doc := struct {
			Database     string `json:"database"`
			Sound        bool   `json:"sound"`
			Damages      int64  `json:"damages"`
			Unreadable   int64  `json:"unreadable_blocks"`
			Transactions int64  `json:"transactions"`
			Records      int64  `json:"records"`
			Files        int64  `json:"files"`
			Blocks       int64  `json:"blocks"`
			Head         string `json:"head"`
			Incomplete   bool   `json:"incomplete"`
			Unfinished   string `json:"unfinished,omitempty"`
		}{database, s.Sound(), s.Damages, s.Unreadable, s.Txns, s.Records, s.Files, s.Blocks, s.Head.String(), s.Cut, s.Tail}
		if err := terminal.JSONLine(o.w, &doc); err != nil {
			return err
		}
		return o.w.Flush()
	}
	verdict := "sound"
	if !s.Sound() {
		verdict = fmt.Sprintf("%s, %s cannot be read", terminal.Count(s.Damages, "damage"), terminal.Count(s.Unreadable, "block"))
	}
	if s.Tail != "" {
		fmt.Fprintf(o.w, "note: %s\n", s.Tail)
	}
	fmt.Fprintf(o.w, "%s: %s, %s, %s of %s: %s\n", database, terminal.Count(s.Txns, "transaction"), terminal.Count(s.Records, "record"),
		terminal.Count(s.Blocks, "block"), terminal.Count(s.Files, "file"), verdict)
	return o.w.Flush()
}
