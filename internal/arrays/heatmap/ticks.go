package heatmap

import (
	"time"

	"github.com/wcfs/wcfs/internal/serve/terminal"
)

// tick is a place on an axis with its label.
type tick struct {
	at    float64 // in bins
	label string
	below string // a second line
	block int64  // that it is of
}

// steps are those between ticks of time, each with how a tick is shown.
var steps = []struct {
	d      time.Duration
	layout string
}{
	{time.Microsecond, "05.000000"}, {2 * time.Microsecond, "05.000000"}, {5 * time.Microsecond, "05.000000"},
	{10 * time.Microsecond, "05.00000"}, {20 * time.Microsecond, "05.00000"}, {50 * time.Microsecond, "05.00000"},
	{100 * time.Microsecond, "05.0000"}, {200 * time.Microsecond, "05.0000"}, {500 * time.Microsecond, "05.0000"},
	{time.Millisecond, "05.000"}, {2 * time.Millisecond, "05.000"}, {5 * time.Millisecond, "05.000"},
	{10 * time.Millisecond, "05.00"}, {20 * time.Millisecond, "05.00"}, {50 * time.Millisecond, "05.00"},
	{100 * time.Millisecond, "05.0"}, {200 * time.Millisecond, "05.0"}, {500 * time.Millisecond, "05.0"},
	{time.Second, time.TimeOnly}, {2 * time.Second, time.TimeOnly}, {5 * time.Second, time.TimeOnly},
	{10 * time.Second, time.TimeOnly}, {30 * time.Second, time.TimeOnly},
	{time.Minute, "15:04"}, {2 * time.Minute, "15:04"}, {5 * time.Minute, "15:04"}, {10 * time.Minute, "15:04"}, {30 * time.Minute, "15:04"},
	{time.Hour, "15:04"}, {2 * time.Hour, "15:04"}, {3 * time.Hour, "15:04"}, {6 * time.Hour, "15:04"}, {12 * time.Hour, "15:04"},
	{day, "Jan 2"}, {2 * day, "Jan 2"}, {7 * day, "Jan 2"},
}

const day = 24 * time.Hour

// monthSteps are those that are longer, in months.
var monthSteps = []int{1, 2, 3, 6, 12, 24, 60, 120, 240, 600, 1200}

// timeTicks returns at most n ticks of the columns of a Map, at round times.
func (m *Map) timeTicks(n int) []tick {
	begin, end := m.timeOf(0), m.timeOf(m.columns())
	if m.columns() == 1 {
		at := m.timeOf(0)
		return []tick{{at: 0.5, label: at.Format("15:04:05.000"), below: at.Format(time.DateOnly)}}
	}
	for _, step := range steps {
		if end.Sub(begin)/step.d >= time.Duration(n) {
			continue
		}
		return m.ticks(begin.Add(step.d-1).Truncate(step.d), end, step.layout, step.d < day, func(t time.Time) time.Time { return t.Add(step.d) })
	}
	months := monthsOf(end) - monthsOf(begin)
	for _, step := range monthSteps {
		if months/step >= n && step != monthSteps[len(monthSteps)-1] {
			continue
		}
		first := (monthsOf(begin) + step) / step * step
		layout := "Jan 2006"
		if step >= 12 {
			layout = "2006"
		}
		return m.ticks(time.Date(0, time.Month(first+1), 1, 0, 0, 0, 0, time.UTC), end, layout, false,
			func(t time.Time) time.Time { return t.AddDate(0, step, 0) })
	}
	return nil
}

func monthsOf(t time.Time) int { return 12*t.Year() + int(t.Month()) - 1 }

// ticks returns those from first on. Those of a day have it below the first of them, and
// those of days the year.
func (m *Map) ticks(first, end time.Time, layout string, ofDay bool, next func(time.Time) time.Time) (all []tick) {
	below, last := time.DateOnly, ""
	switch {
	case layout[:2] == "05":
		below = "2006-01-02 15:04"
	case !ofDay:
		below = "2006"
	}
	for t := first; t.Before(end); t = next(t) {
		k := tick{at: float64(t.UnixMicro()-m.begin) / float64(m.perColumn), label: t.Format(layout)}
		if text := t.Format(below); text != last && layout != "Jan 2006" && layout != "2006" {
			k.below, last = text, text
		}
		all = append(all, k)
	}
	return all
}

// blockTicks returns at most n ticks of the rows of a Map, at round blocks.
func (m *Map) blockTicks(n int) (all []tick) {
	step := int64(1)
	for i := 0; m.blocks/step >= int64(n); i++ {
		step = [...]int64{1, 2, 5}[(i+1)%3] * pow10((i+1)/3)
	}
	for blk := int64(0); blk < max(1, m.blocks); blk += step {
		all = append(all, tick{at: (float64(blk) + 0.5) / float64(m.perRow), label: terminal.Number(blk), block: blk})
		if blk > blk+step {
			break // there is no larger number
		}
	}
	return all
}

func pow10(n int) int64 {
	p := int64(1)
	for range n {
		p *= 10
	}
	return p
}
