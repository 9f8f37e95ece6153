package catalog

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// View returns the view that a text names in a database with that head, which is
// what an empty text names, too. A time is valid up to now even if nothing was
// committed since: the view is the head then.
//
// Errors: *TimeError, and *storage.FutureViewError for a tid beyond the head.
func View(text string, now time.Time, head zodb.Tid) (zodb.Tid, error) {
	if text == "" {
		return head, nil
	}
	first, at, err := parseAt(text, now)
	if err != nil || at <= head {
		return at, err
	}
	if _, ok := parseTid(text); ok {
		return 0, fmt.Errorf("%q: %w", text, &storage.FutureViewError{At: at, Head: head})
	}
	// The clock of who committed the head may be ahead of ours.
	if strings.TrimPrefix(text, "@") != headText && first > max(head, storage.TidOf(now)) {
		return 0, &TimeError{Text: text, Msg: "it is in the future"}
	}
	return head, nil
}

// headText names the newest view, whichever that is.
const headText = "head"

// parseAt returns the view that a text names, and the first tid that would be shown as
// text. The view may be newer than the head of a database: see View. The text is one of
//
//   - a tid of 16 lower-case hexadecimal digits;
//   - a time as of RFC 3339, from which the fraction, the seconds, the zone (it
//     is UTC then) and the time of day (midnight) may be left out, and which may
//     have a space instead of the T. It names the last transaction that is shown
//     with that time, or with an earlier one, when it is shown with as many
//     digits. So a time that was shown leads to what was shown with it. Without
//     seconds it is the very moment at which the minute or the day begins;
//   - a duration before now, as -5m, -1h30m, -2d, -1w12h;
//   - "now", and "head", which gives zodb.TidMax.
//
// All of them may have @ in front, as the directories of a mount do.
//
// Errors are *TimeError.
func parseAt(text string, now time.Time) (first, at zodb.Tid, err error) {
	fail := func(format string, args ...any) (zodb.Tid, zodb.Tid, error) {
		return 0, 0, &TimeError{Text: text, Msg: fmt.Sprintf(format, args...)}
	}
	view := strings.TrimPrefix(text, "@")
	if tid, ok := parseTid(text); ok {
		if tid > zodb.TidMax {
			return fail("it is beyond the last possible tid, %s", zodb.TidMax)
		}
		return tid, tid, nil
	}
	switch {
	case view == "":
		return fail("it is empty")
	case view == headText:
		return zodb.TidMax, zodb.TidMax, nil
	case view == "now":
		at, err = tidOf(text, now)
		return at, at, err
	case strings.HasPrefix(view, "-"):
		ago, ok := parseDuration(view[1:])
		if !ok {
			return fail("it begins like a duration ago and is none")
		}
		at, err = tidOf(text, now.Add(-ago))
		return at, at, err
	}
	span, ok := parseTime(view)
	if !ok {
		return fail("it has none of the forms that are known")
	}
	first, at, ok = span.tids()
	if !ok {
		return fail("%s", tidYears())
	}
	return first, at, nil
}

// parseTid parses the tid form of a view.
func parseTid(text string) (tid zodb.Tid, ok bool) {
	id, ok := storage.ParseID(strings.TrimPrefix(text, "@"))
	return zodb.Tid(id), ok
}

// tidOf returns the tid of a moment if it has one.
func tidOf(text string, when time.Time) (zodb.Tid, error) {
	when = when.UTC()
	if when.Before(storage.TimeOf(0)) || when.After(storage.TimeOf(zodb.TidMax)) {
		return 0, &TimeError{Text: text, Msg: tidYears()}
	}
	return min(storage.TidOf(when), zodb.TidMax), nil
}

func tidYears() string {
	return fmt.Sprintf("tids are from the years %d to %d", storage.TimeOf(0).Year(), storage.TimeOf(zodb.TidMax).Year())
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
