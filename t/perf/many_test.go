package perf

import (
	"fmt"
	"testing"
	"time"

	"github.com/wcfs/wcfs/t/harness"
)

const (
	steps   = 2000
	endings = 100 // of the steps, at the beginning and in the end, which are compared

	// preserved is how many MiB of old content a server keeps for a while; see
	// internal/serve/server.
	preserved = 128
)

// ManyCommits is a server that has seen many commits.
type ManyCommits struct {
	server *harness.Server
	atRest time.Time
	memory []float64 // then
}

// manyCommits commits a block, reads it, which pins it for a watch, and moves the watch, many
// times. The server lives as long as all.
func (t *Table) manyCommits(all *testing.B) *ManyCommits {
	var m *ManyCommits
	all.Run("many", func(b *testing.B) {
		const blocks = 64
		w := newWritten(all, blkSize, blocks)
		m = &ManyCommits{server: w.server}
		f := harness.OpenRandom(b, w.path())
		defer f.Close()
		for blk := range int64(blocks) {
			harness.Pread(b, f, blk*blkSize, blkSize)
		}
		watchers := startWatchers(w.server, 1)
		watchers.watch(w.file, w.Head())
		before := rss(w.server)
		var commit, read, resync []time.Duration
		for i := range int64(steps) {
			commit = append(commit, w.published(i%blocks, 1))
			start := time.Now()
			harness.Pread(b, f, i%blocks*blkSize, blkSize)
			read = append(read, time.Since(start))
			took, _ := watchers.watch(w.file, w.Head())
			resync = append(resync, took)
		}
		for _, c := range []struct {
			name  string
			times []time.Duration
		}{{"commit", commit}, {"read with a pin", read}, {"resync", resync}} {
			each := in(time.Microsecond, c.times...)
			r := Row{Name: c.name + ", last 100 of 2000", Unit: "us", Than: "first 100", Target: ratioAtMost(1.05)}
			t.report(b, r, each[steps-endings:], each[:endings])
		}
		m.memory, m.atRest = rss(w.server), time.Now()
		t.report(b, Row{Name: "memory after 2000 commits", Unit: "MiB", Than: "before", Target: valueAtMost(64 + preserved)}, m.memory, before)
		watchers.end()
	})
	return m
}

// rest has the row of the memory of a server that had nothing to do for a while.
func (m *ManyCommits) rest(b *testing.B, t *Table) {
	if m == nil || *rest == 0 { // not asked for
		return
	}
	b.Run("rest", func(b *testing.B) {
		<-time.After(time.Until(m.atRest.Add(*rest)))
		t.report(b, Row{Name: fmt.Sprintf("memory %.4g minutes later", rest.Minutes()), Unit: "MiB", Than: "then", Target: valueAtMost(64)}, rss(m.server), m.memory)
	})
}

// rss is the memory of a server, in MiB.
func rss(s *harness.Server) []float64 { return []float64{float64(s.RSS()) / (1 << 20)} }
