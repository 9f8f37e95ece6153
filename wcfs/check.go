package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/arrays/fsck"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

func newCheck() *cobra.Command {
	var allViews, asJSON bool
	cmd := &cobra.Command{
		Use:   "check [--all-views] [--json] DATABASE",
		Short: "Tell all that is damaged in a database",
		Long: `Check reads all of a database and tells what is damaged, one line each: where it
is, what is wrong, and what that means to readers. Nothing is written, and the
application and servers may go on meanwhile.

First the file is checked: every transaction and every record, the links between
them, and the .index. Then every block of every ZBigFile is loaded, as of now,
whether anything leads to it or not. A record that is damaged is told, and the
block that cannot be read because of it, too. FileStorage has no checksums: wrong
bits in the data of a block are only seen if they make it unreadable.

A last transaction that is not finished is a commit that is under way or was
interrupted. It is told and is no damage.

The exit code is 0 if the database is sound, and 7 if it is damaged.`,
		Example: `  wcfs check data.fs
  wcfs check data.fs --all-views
  wcfs check data.fs --json | jq -r 'select(.damage).what'`,
		DisableFlagsInUseLine: true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return &usageError{msg: fmt.Sprintf("check: expected DATABASE, got %d arguments", len(args)), text: "Usage: wcfs " + cmd.Use}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return orInterrupted(cmd.Context(), runCheck(cmd.Context(), args[0], allViews, asJSON))
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.BoolVar(&allViews, "all-views", false, "load every block as of every transaction that changed it, too")
	flags.BoolVar(&asJSON, "json", false, "print one JSON object a line, the summary last")
	return cmd
}

func runCheck(ctx context.Context, database string, allViews, asJSON bool) error {
	u, _, err := fileURL(database, "only files can be checked")
	if err != nil {
		return err
	}
	home, _ := os.UserHomeDir()
	out := &checkOutput{w: bufio.NewWriter(os.Stdout), json: asJSON}
	out.at, out.end = progressOf("check " + database)
	defer func() { out.end() }()
	sum, err := fsck.Check(ctx, u.FilePath(home), fsck.Options{
		Open: func(ctx context.Context) (storage.Storage, error) {
			out.end()
			out.at, out.end = progressOf("open " + database)
			opt := storageOptions()
			opt.Warnf = func(string, ...any) {} // all of it was told
			opt.Progress = out.at
			store, _, err := drivers().Open(ctx, u.Raw, opt)
			out.end()
			bar := newProgress("load blocks of "+database, -1)
			out.loaded, out.end = bar.Add, bar.Done
			return store, err
		},
		AllViews: allViews,
		Progress: func(done, total int64) { out.at(done, total) },
		Loaded:   func(n int64) { out.loaded(n) },
		Found:    out.damage,
	})
	if err != nil {
		_ = out.w.Flush()
		return err
	}
	out.end()
	if err := out.summary(database, sum); err != nil {
		return err
	}
	if !sum.Sound() {
		return &damagedError{database, sum.Damages}
	}
	return nil
}

// damagedError says that a check has found damage.
type damagedError struct {
	database string
	n        int64
}

func (e *damagedError) Error() string {
	return fmt.Sprintf("%s is damaged: %s found", e.database, plural(e.n, "damage"))
}

// checkOutput prints what a check finds.
type checkOutput struct {
	w      *bufio.Writer
	json   bool
	at     func(done, total int64)
	loaded func(n int64)
	end    func() // takes the progress away
}

// damageDoc is what --json prints for one damage. Its names are a promise to scripts.
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
			name = printable(d.Name)
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
	return strings.Join(where, ", ") + ": " + printable(strings.ReplaceAll(d.What, "\n", " ")) + "; " + d.Means
}

// damage prints one damage as soon as it is found.
func (o *checkOutput) damage(d fsck.Damage) error {
	doc := newDamageDoc(&d)
	if o.json {
		if err := printJSONLine(o.w, &doc); err != nil {
			return err
		}
	} else if _, err := fmt.Fprintln(o.w, doc.text()); err != nil {
		return err
	}
	return o.w.Flush()
}

// summary prints what was looked at.
func (o *checkOutput) summary(database string, s *fsck.Summary) error {
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
		if err := printJSONLine(o.w, &doc); err != nil {
			return err
		}
		return o.w.Flush()
	}
	verdict := "sound"
	if !s.Sound() {
		verdict = fmt.Sprintf("%s, %s cannot be read", plural(s.Damages, "damage"), plural(s.Unreadable, "block"))
	}
	if s.Tail != "" {
		fmt.Fprintf(o.w, "note: %s\n", s.Tail)
	}
	fmt.Fprintf(o.w, "%s: %s, %s, %s of %s: %s\n", database, plural(s.Txns, "transaction"), plural(s.Records, "record"),
		plural(s.Blocks, "block"), plural(s.Files, "file"), verdict)
	return o.w.Flush()
}
