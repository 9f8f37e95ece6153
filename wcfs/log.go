package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/arrays/catalog"
	"github.com/wcfs/wcfs/internal/arrays/changes"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// logFlags are the options of log as typed.
type logFlags struct {
	since, until string
	number       int
	reverse      bool
	json         bool
}

func newLog() *cobra.Command {
	var f logFlags
	cmd := &cobra.Command{
		Use:   "log [OPTIONS] DATABASE [NAME|OID]",
		Short: "List the transactions that changed an array, and which blocks",
		Long: `List the transactions that changed an array or file, newest first: when, by whom,
which blocks, and how the size changed. Blocks are counted from 0. A block that
was stored with the content it had counts as changed.

Without NAME all transactions of the database are listed, with the number of
objects that each changed.

A VIEW is a tid, a time such as 2024-02-29T12:00:00Z, or a time ago such as -5m.
A time means the last transaction that is shown with it, so of several in one
second the last; --json shows microseconds, rounded as by ZODB.
--since and --until list what is after the one and not after the other. The name
is looked up as of --until. An array or file that is deleted by now can be named
by its oid.

A transaction is marked incomplete if a part of the block table could not be read
before or after it, as it is with what a pack has left of old transactions.`,
		Example: `  wcfs log data.fs temperature
  wcfs log data.fs temperature --since -1h
  wcfs log data.fs -n 5
  wcfs log data.fs temperature --json | jq -r 'select(.new_size > .old_size).tid'`,
		DisableFlagsInUseLine: true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 1 || len(args) > 2 {
				return &usageError{msg: fmt.Sprintf("log: expected DATABASE [NAME|OID], got %d arguments", len(args)), text: "Usage: wcfs " + cmd.Use}
			}
			if cmd.Flags().Changed("number") && f.number < 1 {
				return &usageError{msg: fmt.Sprintf("log: -n must be at least 1, got %d", f.number)}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return orInterrupted(cmd.Context(), runLog(cmd.Context(), &f, args))
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&f.since, "since", "", "list what is after this `VIEW`")
	flags.StringVar(&f.until, "until", "", "list what is not after this `VIEW`")
	flags.IntVarP(&f.number, "number", "n", 0, "list only the newest `N`")
	flags.BoolVar(&f.reverse, "reverse", false, "list oldest first")
	flags.BoolVar(&f.json, "json", false, "print one JSON object a line")
	return cmd
}

func runLog(ctx context.Context, f *logFlags, args []string) error {
	db, head, err := openHistory(ctx, args[0])
	if err != nil {
		return err
	}
	defer db.Close()
	now := time.Now()
	hi, err := catalog.View(f.until, now, head)
	if err != nil {
		return err
	}
	lo := zodb.Tid(0)
	if f.since != "" {
		if lo, err = catalog.View(f.since, now, head); err != nil {
			return err
		}
	}
	bar := newProgress("look through "+args[0], -1)
	defer bar.Done()
	db = watchedHistory{watched{db, bar}, db}
	out := newHistoryOutput(f, os.Stdout)
	out.bar = bar
	if len(args) == 1 {
		err = db.Iterate(ctx, lo+1, hi, func(txn *storage.Txn) error { return out.add(newTxnLine(txn)) })
	} else {
		err = logOf(ctx, db, args[1], lo, hi, out)
	}
	if flushErr := out.end(); err == nil { // what was found is worth printing anyway
		err = flushErr
	}
	if err == nil && out.lines == 0 {
		fmt.Fprintln(os.Stderr, "wcfs: no transactions to list")
	}
	return err
}

// logOf lists what changed one array or file.
func logOf(ctx context.Context, db historyDB, name string, lo, hi zodb.Tid, out *historyOutput) error {
	of, err := findSubject(ctx, db, hi, name)
	if err != nil {
		return err
	}
	seen := false
	err = changes.Log(ctx, db, of.array, of.file, lo, hi, func(c *changes.Change) error {
		seen = true
		return out.add(newChangeLine(c))
	})
	if err == nil && !seen && of.missing != nil {
		return of.missing
	}
	return err
}

// watchedHistory is a historyDB whose transactions and loads move a progress bar.
type watchedHistory struct {
	watched
	past storage.Iterator
}

// Iterate implements storage.Iterator.
func (w watchedHistory) Iterate(ctx context.Context, lo, hi zodb.Tid, f func(*storage.Txn) error) error {
	return w.past.Iterate(ctx, lo, hi, func(txn *storage.Txn) error {
		w.bar.Add(0)
		return f(txn)
	})
}

// historyDB is a database that can list past transactions.
type historyDB interface {
	storage.Storage
	storage.Iterator
}

// openHistory opens the database that a person named. The caller closes it.
func openHistory(ctx context.Context, arg string) (historyDB, zodb.Tid, error) {
	store, head, err := openDatabase(ctx, arg)
	if err != nil {
		return nil, 0, err
	}
	db, ok := store.(historyDB)
	if !ok {
		store.Close()
		return nil, 0, fmt.Errorf("%s: databases of this kind do not list past transactions", store.URL())
	}
	return db, head, nil
}

// subject is whose history is wanted.
type subject struct {
	array, file zodb.Oid // array is 0 if there is none

	// missing says why there is no such file at the view. It is set if an oid
	// was given: there may have been one before.
	missing error
}

// findSubject finds an array or file as of a view by name or oid.
func findSubject(ctx context.Context, db storage.Storage, at zodb.Tid, name string) (*subject, error) {
	e, err := findEntry(ctx, db, at, name)
	if err == nil {
		t := &subject{file: e.File}
		if e.File != e.Oid {
			t.array = e.Oid
		}
		return t, nil
	}
	var notFound *catalog.NotFoundError
	var damage *storage.CorruptError
	oid, ok := catalog.ParseOid(name)
	if ok && (errors.As(err, &notFound) || errors.As(err, &damage)) {
		return &subject{file: oid, missing: err}, nil
	}
	return nil, err
}

// historyOutput prints lines in the order and number that was asked for.
type historyOutput struct {
	f     *logFlags
	w     *bufio.Writer
	bar   *progress // nil if there is none; goes away before anything is printed
	kept  []logLine // if lines cannot be printed at once; a ring of the newest if only so many are wanted
	next  int       // in the ring, when it is full
	lines int       // added
	note  error     // the first damage
	noted zodb.Tid
}

func newHistoryOutput(f *logFlags, w io.Writer) *historyOutput {
	return &historyOutput{f: f, w: bufio.NewWriter(w)}
}

// add adds a line. They are added oldest first.
func (o *historyOutput) add(l logLine) error {
	o.lines++
	switch {
	case o.f.reverse && o.f.number == 0:
		return o.print(l)
	case o.f.number == 0 || len(o.kept) < o.f.number:
		o.kept = append(o.kept, l)
	default:
		o.kept[o.next] = l
		o.next = (o.next + 1) % len(o.kept)
	}
	return nil
}

// end prints what was kept, and what there is to say about all.
func (o *historyOutput) end() error {
	kept := slices.Concat(o.kept[o.next:], o.kept[:o.next])
	if !o.f.reverse {
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
	if o.note != nil && !o.f.json {
		fmt.Fprintf(os.Stderr, "wcfs: incomplete, as @%s: %s\n", o.noted, oneLine(o.note))
	}
	return nil
}

func (o *historyOutput) print(l logLine) error {
	if o.bar != nil {
		o.bar.Done()
	}
	if o.note == nil && l.damage != nil {
		o.note, o.noted = l.damage, l.tid
	}
	if o.f.json {
		return printJSONLine(o.w, &l.doc)
	}
	_, err := fmt.Fprintln(o.w, l.text())
	return err
}
