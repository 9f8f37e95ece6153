package storage

import (
	"time"

	"lab.nexedi.com/kirr/neo/go/zodb"
)

// ParseID parses the text form of a Tid or Oid: exactly 16 lower-case hexadecimal
// digits. Upper case is refused: one object would have two names.
func ParseID(s string) (id uint64, ok bool) {
	if len(s) != 16 {
		return 0, false
	}
	for _, c := range []byte(s) {
		switch {
		case '0' <= c && c <= '9':
			id = id<<4 | uint64(c-'0')
		case 'a' <= c && c <= 'f':
			id = id<<4 | uint64(c-'a'+10)
		default:
			return 0, false
		}
	}
	return id, true
}

// secondsPerTick is 60/2^32 as package persistent has it in TimeStamp.c.
const secondsPerTick = 1.3969838619232178e-08

// TidOf returns the tid of a moment as Python computes it: minutes in a calendar
// of months with 31 days, and the fraction of the minute in units of 60/2^32
// seconds, not rounded but truncated. The moment must be in a year from 1900 on.
func TidOf(t time.Time) zodb.Tid {
	t = t.UTC()
	minutes := t.Year() - 1900
	minutes = minutes*12 + int(t.Month()) - 1
	minutes = minutes*31 + t.Day() - 1
	minutes = minutes*24 + t.Hour()
	minutes = minutes*60 + t.Minute()
	seconds := float64(t.Second()) + float64(t.Nanosecond())/1e9
	ticks := min(uint64(seconds/secondsPerTick), 1<<32-1)
	return zodb.Tid(uint64(minutes)<<32 | ticks)
}
