package catalog

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/storage"
)

// timeLayouts are the forms of a time, besides that of RFC 3339. Seconds may
// have a fraction in all of them. Without a zone it is UTC, as times are shown.
var timeLayouts = []string{
	time.RFC3339,
	"2006-01-02T15:04:05",
	"2006-01-02T15:04Z07:00",
	"2006-01-02T15:04",
	"2006-01-02",
}

// View returns the view that a text names in a database with that head, which is
// what an empty text names, too. A time is valid up to now even if nothing was
// committed since: the view is the head then.
//
// Errors: *TimeError, and *storage.FutureViewError for a tid beyond the head.
func View(text string, now time.Time, head zodb.Tid) (zodb.Tid, error) {
	if text == "" {
		return head, nil
	}
	at, err := ParseAt(text, now)
	if err != nil || at <= head {
		return at, err
	}
	if _, ok := parseTid(text); ok {
		return 0, fmt.Errorf("%q: %w", text, &storage.FutureViewError{At: at, Head: head})
	}
	if strings.TrimPrefix(text, "@") != headText && at > storage.TidOf(now) {
		return 0, &TimeError{Text: text, Msg: "it is in the future"}
	}
	return head, nil
}

// headText names the newest view, whichever that is.
const headText = "head"

// ParseAt returns the view that a text names. It may be newer than the head of
// a database: see View. The text is one of
//
//   - a tid of 16 lower-case hexadecimal digits;
//   - a time as of RFC 3339, from which the fraction, the seconds, the zone (it
//     is UTC then) and the time of day (midnight) may be left out, and which may
//     have a space instead of the T;
//   - a duration before now, as -5m, -1h30m, -2d, -1w12h;
//   - "now", and "head", which gives zodb.TidMax.
//
// All of them may have @ in front, as the directories of a mount do.
//
// Errors are *TimeError.
func ParseAt(text string, now time.Time) (zodb.Tid, error) {
	fail := func(format string, args ...any) (zodb.Tid, error) {
		return 0, &TimeError{Text: text, Msg: fmt.Sprintf(format, args...)}
	}
	view := strings.TrimPrefix(text, "@")
	if tid, ok := parseTid(text); ok {
		if tid > zodb.TidMax {
			return fail("it is beyond the last possible tid, %s", zodb.TidMax)
		}
		return tid, nil
	}
	switch {
	case view == "":
		return fail("it is empty")
	case view == headText:
		return zodb.TidMax, nil
	case view == "now":
		return tidOf(text, now)
	case strings.HasPrefix(view, "-"):
		ago, ok := parseDuration(view[1:])
		if !ok {
			return fail("it begins like a duration ago and is none")
		}
		return tidOf(text, now.Add(-ago))
	}
	when, err := parseTime(view)
	if err != nil {
		return fail("it has none of the forms that are known")
	}
	return tidOf(text, when)
}

// parseTid parses the tid form of a view.
func parseTid(text string) (tid zodb.Tid, ok bool) {
	id, ok := storage.ParseID(strings.TrimPrefix(text, "@"))
	return zodb.Tid(id), ok
}

// tidOf returns the tid of a moment if it has one.
func tidOf(text string, when time.Time) (zodb.Tid, error) {
	when = when.UTC()
	first, last := TimeOf(0), TimeOf(zodb.TidMax)
	if when.Before(first) || when.After(last) {
		return 0, &TimeError{Text: text, Msg: fmt.Sprintf("tids are from the years %d to %d", first.Year(), last.Year())}
	}
	return storage.TidOf(when), nil
}

func parseTime(text string) (when time.Time, err error) {
	if len(text) > 10 && text[10] == ' ' {
		text = text[:10] + "T" + text[11:]
	}
	for _, layout := range timeLayouts {
		if when, err = time.Parse(layout, text); err == nil {
			return when, nil
		}
	}
	return time.Time{}, err
}

// weeksDays are the units of a duration that package time does not have.
var weeksDays = regexp.MustCompile(`^(?:(\d{1,5})w)?(?:(\d{1,5})d)?`)

// parseDuration parses a duration without sign.
func parseDuration(text string) (d time.Duration, ok bool) {
	m := weeksDays.FindStringSubmatch(text)
	weeks, _ := strconv.Atoi(m[1]) // or empty: none
	days, _ := strconv.Atoi(m[2])
	d = time.Duration(7*weeks+days) * 24 * time.Hour
	rest := text[len(m[0]):]
	if rest == "" {
		return d, text != ""
	}
	if strings.HasPrefix(rest, "-") || strings.HasPrefix(rest, "+") {
		return 0, false
	}
	more, err := time.ParseDuration(rest)
	return d + more, err == nil && d+more >= d
}

// TimeOf returns the moment of a tid in UTC. A day that its month does not have
// is one of the next month: tids have 31 days in each. For all others TidOf of
// the result is the tid again.
func TimeOf(tid zodb.Tid) time.Time {
	d := dateOf(tid)
	ticks := uint64(tid) & (1<<32 - 1)
	const times = 60e9 / (1 << 11)                 // 60e9/2^32 nanoseconds are a tick, and 2^11 cancels out
	nanoseconds := (ticks*times + 1<<21 - 1) >> 21 // rounded up, or it would be another tick
	return time.Date(d.year, time.Month(d.month), d.day, d.hour, d.minute, 0, int(nanoseconds), time.UTC)
}

// FormatTime returns the time of a tid as Python shows it: in UTC, with
// microseconds. Seconds are rounded without carry, so they may be 60, and a month
// may have 31 days.
func FormatTime(tid zodb.Tid) string {
	d := dateOf(tid)
	seconds := float64(uint64(tid)&(1<<32-1)) * 60 / (1 << 32)
	return fmt.Sprintf("%04d-%02d-%02d %02d:%02d:%09.6f", d.year, d.month, d.day, d.hour, d.minute, seconds)
}

// date is the upper half of a tid.
type date struct{ year, month, day, hour, minute int }

func dateOf(tid zodb.Tid) date {
	minutes := int(tid >> 32)
	return date{
		year:   minutes/(60*24*31*12) + 1900,
		month:  minutes/(60*24*31)%12 + 1,
		day:    minutes/(60*24)%31 + 1,
		hour:   minutes / 60 % 24,
		minute: minutes % 60,
	}
}
