package perf

import (
	"flag"
	"os"
	"testing"
)

var (
	to   = flag.String("to", "", "where the table is written for programs, in JSON")
	rest = flag.Duration("rest", 0, "how long a server does nothing until its memory is looked at; 0: that is left out")
)

// BenchmarkTable measures all rows, and prints them as a table.
func BenchmarkTable(b *testing.B) {
	needsRoot(b)
	t := newTable(b)
	program := buildYardstick(b)
	many := t.manyCommits(b) // its server is idle from then on
	last := t.Rows
	t.Rows = nil
	b.Run("data", func(b *testing.B) { t.data(b, program) })
	b.Run("commits", func(b *testing.B) { t.commits(b, program) })
	b.Run("changed", func(b *testing.B) { t.changed(b) })
	b.Run("watches", func(b *testing.B) { t.watches(b, program) })
	b.Run("readers", func(b *testing.B) { t.readers(b) })
	b.Run("append", func(b *testing.B) { t.appends(b, program) })
	b.Run("start", func(b *testing.B) { t.start(b, program) })
	t.Rows = append(t.Rows, last...)
	many.rest(b, t)
	t.end(b)
	t.print(os.Stdout)
	if *to != "" {
		t.write(b, *to)
	}
}
