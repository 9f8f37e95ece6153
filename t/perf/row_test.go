package perf

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Row is a figure of the server beside that of a yardstick.
type Row struct {
	Name      string  `json:"name"`
	Unit      string  `json:"unit"`
	Value     float64 `json:"value"`
	Than      string  `json:"than"` // what the yardstick is
	Yardstick float64 `json:"yardstick"`
	Ratio     float64 `json:"ratio"` // of value to yardstick
	Target    Target  `json:"target"`
	Met       bool    `json:"met"`

	share float64 // of the samples that are below the value; 0: the median
}

// Target is what a row should reach. The zero Target is none.
type Target struct {
	Of    string  `json:"of"` // ratio or value
	Least bool    `json:"least"`
	Limit float64 `json:"limit"`
}

// Targets are said by one of these.
func ratioAtLeast(limit float64) Target { return Target{"ratio", true, limit} }
func ratioAtMost(limit float64) Target  { return Target{"ratio", false, limit} }
func valueAtLeast(limit float64) Target { return Target{"value", true, limit} }
func valueAtMost(limit float64) Target  { return Target{"value", false, limit} }

// met reports whether a row reaches its target.
func (r *Row) met() bool {
	if r.Target.Of == "" {
		return true
	}
	is := r.Ratio
	if r.Target.Of == "value" {
		is = r.Value
	}
	if r.Target.Least {
		return is >= r.Target.Limit
	}
	return is <= r.Target.Limit
}

// text says the target in few words.
func (r *Row) text() string {
	if r.Target.Of == "" {
		return "none"
	}
	sign, unit := "<=", ""
	if r.Target.Least {
		sign = ">="
	}
	if r.Target.Of == "value" {
		unit = " " + r.Unit
	}
	return sign + " " + strconv.FormatFloat(r.Target.Limit, 'f', -1, 64) + unit
}

// setSamples makes the figures of a row of what was measured. Without samples of a
// yardstick that is the median of the others.
func (r *Row) setSamples(ours, theirs []float64) {
	share := r.share
	if share == 0 {
		share = 0.5
	}
	if theirs == nil {
		r.Yardstick = percentile(ours, 0.5)
	} else {
		r.Yardstick = percentile(theirs, share)
	}
	r.Value = percentile(ours, share)
	r.Ratio = r.Value / r.Yardstick
	r.Met = r.met()
}

// percentile returns the sample that a share of all is below.
func percentile(samples []float64, share float64) float64 {
	sorted := slices.Sorted(slices.Values(samples))
	return sorted[min(len(sorted)-1, int(share*float64(len(sorted))))]
}

// in returns times in a unit.
func in(unit time.Duration, times ...time.Duration) (samples []float64) {
	for _, t := range times {
		samples = append(samples, float64(t)/float64(unit))
	}
	return samples
}

// Measured is what makes samples of one round.
type Measured func() []float64

// compare adds a row, of which it takes both figures by turns: now one first, now the other.
func (t *Table) compare(b *testing.B, r Row, ours, theirs Measured) {
	b.Run(r.Name, func(b *testing.B) {
		var is, than []float64
		for i := 0; b.Loop(); i++ {
			if theirs != nil && i%2 == 0 {
				than = append(than, theirs()...)
			}
			is = append(is, ours()...)
			if theirs != nil && i%2 == 1 {
				than = append(than, theirs()...)
			}
		}
		t.add(b, r, is, than)
	})
}

// report adds a row of what has been measured already.
func (t *Table) report(b *testing.B, r Row, ours, theirs []float64) {
	b.Run(r.Name, func(b *testing.B) {
		for b.Loop() { // so that this runs once
		}
		t.add(b, r, ours, theirs)
	})
}

func (t *Table) add(b *testing.B, r Row, ours, theirs []float64) {
	r.setSamples(ours, theirs)
	t.Rows = append(t.Rows, r)
	b.ReportMetric(0, "ns/op") // it has the preparations
	b.ReportMetric(r.Value, strings.ReplaceAll(r.Unit, " ", "-"))
	b.ReportMetric(r.Ratio, "x-"+strings.ReplaceAll(r.Than, " ", "-"))
}
