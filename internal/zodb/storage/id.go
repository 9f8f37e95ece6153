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

// Date is the upper half of a tid. A month has 31 days.
type Date struct{ Year, Month, Day, Hour, Minute int }

// DateOf returns the upper half of a tid.
func DateOf(tid zodb.Tid) Date {
	minutes := int(tid >> 32)
	return Date{
		Year:   minutes/(60*24*31*12) + 1900,
		Month:  minutes/(60*24*31)%12 + 1,
		Day:    minutes/(60*24)%31 + 1,
		Hour:   minutes / 60 % 24,
		Minute: minutes % 60,
	}
}

// Micro returns the lower half of a tid in microseconds, as ZODB rounds it to show
// it: half to even. It is 60 000 000 where that leads to the next minute.
func Micro(tid zodb.Tid) int64 {
	x := uint64(tid) & (1<<32 - 1) * 60e6 // in units of 2^-32 microseconds
	micro, rest := x>>32, x&(1<<32-1)
	if rest > 1<<31 || rest == 1<<31 && micro%2 == 1 {
		micro++
	}
	return int64(micro)
}

// TimeOf returns the moment of a tid in UTC, rounded to microseconds as ZODB does:
// committers truncate, so a tid of a full second is a bit before it. A day that its
// month does not have is one of the next month.
func TimeOf(tid zodb.Tid) time.Time {
	d := DateOf(tid)
	return time.Date(d.Year, time.Month(d.Month), d.Day, d.Hour, d.Minute, 0, int(Micro(tid)*1e3), time.UTC)
}
