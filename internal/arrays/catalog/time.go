package catalog

import (
	"fmt"
	"math/bits"
	"regexp"
	"strconv"
	"strings"
	"time"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// FormatTime returns the time of a tid as ZODB shows it: in UTC, rounded to
// microseconds. The second 60, that ZODB has where rounding leads to the next
// minute, is 0 of that. A month may have 31 days. With digits cut off at the end it
// is a time that parseAt understands, too.
func FormatTime(tid zodb.Tid) string {
	const layout = "2006-01-02 15:04:05.000000"
	d, when := storage.DateOf(tid), storage.TimeOf(tid)
	if dayExists(d.Year, d.Month, d.Day) {
		return when.Format(layout)
	}
	if storage.Micro(tid) == 60e6 {
		d = storage.DateOf(tid + 1<<32)
	}
	return fmt.Sprintf("%04d-%02d-%02d", d.Year, d.Month, d.Day) + when.Format(layout[len("2006-01-02"):])
}

// FormatSecond is FormatTime without the fraction of the second.
func FormatSecond(tid zodb.Tid) string { return FormatTime(tid)[:len("2006-01-02 15:04:05")] }

// FormatRFC3339 is FormatTime in the form of RFC 3339.
func FormatRFC3339(tid zodb.Tid) string { return strings.Replace(FormatTime(tid), " ", "T", 1) + "Z" }

func dayExists(year, month, day int) bool {
	return time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC).Day() == day
}

// timeForm has the parts of a time: date, hour, minute, second, fraction, zone.
var timeForm = regexp.MustCompile(`^(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,18}))?)?(Z|[-+]\d\d:\d\d)?)?$`)

// moment is what a text says about a time: all that begins with its digits.
type moment struct {
	minute int64 // of the calendar of tids
	nano   int64 // in the minute
	width  int64 // how many nanoseconds from there
}

// parseTime parses a time as parseAt describes it.
func parseTime(text string) (_ moment, ok bool) {
	part := timeForm.FindStringSubmatch(text)
	if part == nil {
		return moment{}, false
	}
	num := func(i int) int { n, _ := strconv.Atoi(part[i]); return n } // 0 if it is left out
	year, month, day, hour, minute, second := num(1), num(2), num(3), num(4), num(5), num(6)
	if month < 1 || month > 12 || day < 1 || day > 31 || hour > 23 || minute > 59 || second > 60 {
		return moment{}, false
	}
	zone := part[8]
	if !dayExists(year, month, day) && (part[6] == "" || zone != "" && zone != "Z") {
		return moment{}, false // nobody means such a day, but tids have them
	}
	if zone != "" && zone != "Z" {
		utc, err := time.Parse("2006-01-02 15:04-07:00", text[:10]+" "+part[4]+":"+part[5]+zone)
		if err != nil {
			return moment{}, false
		}
		utc = utc.UTC()
		year, month, day, hour, minute = utc.Year(), int(utc.Month()), utc.Day(), utc.Hour(), utc.Minute()
	}
	m := moment{nano: int64(second) * 1e9, width: 1e9}
	for _, digit := range part[7][:min(len(part[7]), 9)] {
		m.width /= 10
		m.nano += int64(digit-'0') * m.width
	}
	if part[6] == "" {
		m.width = 1e3 // the very moment
	}
	days := (int64(year-1900)*12+int64(month)-1)*31 + int64(day) - 1
	m.minute = (days*24+int64(hour))*60 + int64(minute)
	return m, second < 60 || m.nano == 60e9 // which ZODB shows
}

// tids returns the first and the last tid that is shown as m. They do not exist
// outside of the years of tids.
func (m moment) tids() (first, last zodb.Tid, ok bool) {
	if m.minute < 0 || m.minute > int64(zodb.TidMax>>32)+1 {
		return 0, 0, false
	}
	if m.width < 1e3 { // more digits than are shown: this is about the exact time
		hi, lo := bits.Mul64(uint64(min(m.nano+m.width, 60e9)-1), 1<<32)
		tick, _ := bits.Div64(hi, lo, 60e9)
		last = zodb.Tid(uint64(m.minute)<<32 + tick)
		return last, last, last <= zodb.TidMax
	}
	micro := m.minute*60e6 + m.nano/1e3
	before := lastRounded(micro - 1)
	if before >= int64(zodb.TidMax) {
		return 0, 0, false
	}
	return zodb.Tid(before + 1), zodb.Tid(lastRounded(micro + m.width/1e3 - 1)), true
}

// lastRounded returns the last tid that rounds to a microsecond, counted from the
// first tid, or to an earlier one; -1 if there is none.
func lastRounded(micro int64) int64 {
	if micro < 0 {
		return -1
	}
	minute, n := micro/60e6, uint64(micro%60e6)
	tick := (2*n + 1) << 31 / 60e6
	if (2*n+1)<<31%60e6 == 0 && n%2 == 1 {
		tick-- // halves are rounded to even
	}
	if minute > int64(zodb.TidMax>>32) {
		return int64(zodb.TidMax)
	}
	return minute<<32 + int64(tick)
}
