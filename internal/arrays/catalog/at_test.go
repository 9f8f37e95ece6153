package catalog

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// now is half past noon on a leap day.
var now = time.Date(2024, 2, 29, 12, 30, 0, 0, time.UTC)

func TestEveryFormOfAViewIsUnderstood(t *testing.T) {
	for text, want := range map[string]zodb.Tid{
		// ids
		"0285cbac258bf266":  0x0285cbac258bf266,
		"@0285cbac258bf266": 0x0285cbac258bf266,
		"0000000000000000":  0,
		"7fffffffffffffff":  zodb.TidMax,
		"2024022912000000":  0x2024022912000000,

		// The views that Python shows with that time, and not with a later
		// one.
		"1979-01-03T21:00:08.800000Z": 0x0285cbac258bf27c,
		"2024-02-29T23:59:59.999999Z": 0x03f6df7fffffffdc,
		"2000-01-01T00:00:01.000000":  0x0331620004444468,
		"2000-01-01T00:00:01":         0x0331620008888864,
		"2000-01-01T00:00:01.2":       0x03316200058bf234,
		"1900-01-01T00:00:00.000000":  0x23,
		"1900-01-01":                  0x23,

		// forms of the same
		"2025-04-11T11:04:00.000000+02:00": 0x0400000000000023,
		"2025-04-11 09:04:00.000000":       0x0400000000000023,
		"2025-04-11T09:04":                 0x0400000000000023,
		"2025-04-11 09:04Z":                0x0400000000000023,
		"2025-04-11T01:04-08:00":           0x0400000000000023,
		"2025-04-11 09:03:60.000000":       0x0400000000000023,

		// more digits than are shown: the exact time
		"2025-04-11 09:04:00.000000000": 0x0400000000000000,
		"2025-04-11 09:04:00.0000001":   0x040000000000000e,

		// days of tids only
		"2023-02-31 00:00:00.000000": dayTid(2023, 2, 31) + 0x23,

		// ago
		"-5m":         storage.TidOf(now.Add(-5 * time.Minute)),
		"-1h30m":      storage.TidOf(now.Add(-90 * time.Minute)),
		"-1.5h":       storage.TidOf(now.Add(-90 * time.Minute)),
		"-2d":         storage.TidOf(now.AddDate(0, 0, -2)),
		"-1w2d3h4.5s": storage.TidOf(now.AddDate(0, 0, -9).Add(-3*time.Hour - 4500*time.Millisecond)),
		"-0s":         storage.TidOf(now),

		"now":  storage.TidOf(now),
		"head": zodb.TidMax,
	} {
		got, err := viewOf(text, now)
		require.NoError(t, err)
		require.Equal(t, want, got, text)
		if text[0] != '@' {
			got, err = viewOf("@"+text, now)
			require.NoError(t, err)
			require.Equal(t, want, got, "@%s", text)
		}
	}
}

func TestWhatIsNoViewIsRefused(t *testing.T) {
	for _, text := range []string{
		"", " ", "@", "@@head", "yesterday", "0x0285cbac258bf266", "0285CBAC258BF266", "0285cbac258bf26", "8000000000000000", "ffffffffffffffff",
		"2024-02-30", "2024-2-3", "2024-02-29T", "2024-02-29T25:00", "12:00", "2024-02-29T12:00:00+2", "1899-12-31", "5909-01-01", "9999-12-31T23:59:59Z",
		"2023-02-31", "2023-02-31 00:00", "2023-02-31 00:00:00+01:00", "2023-02-32 00:00:00", "2024-02-29 12:00:61", "2024-02-29 12:00:60.5", "2024-02-29 24:00", "2024-00-01", "2024-02-29Z",
		"-", "--5m", "-+5m", "-5", "-d", "-5x", "-2d-5m", "-1d2w", "5m", "-99999w", "-9999999w", "-2562047h", "-106751d2562047h",
	} {
		_, err := viewOf(text, now)
		var bad *TimeError
		require.ErrorAs(t, err, &bad, "%q", text)
		require.Equal(t, text, bad.Text)
	}
}

// viewOf returns the view that a text names, which may be newer than any head.
func viewOf(text string, now time.Time) (zodb.Tid, error) {
	_, at, err := parseAt(text, now)
	return at, err
}

// TestAViewIsOneOfTheDatabase: times up to now mean the head if it is older, and
// nothing in the future means anything.
func TestAViewIsOneOfTheDatabase(t *testing.T) {
	head := storage.TidOf(now.Add(-time.Hour))
	for text, want := range map[string]zodb.Tid{
		"":                        head,
		"head":                    head,
		"@head":                   head,
		"@-1m":                    head,
		"now":                     head,
		"-5m":                     head,
		"2024-02-29T12:00":        head,
		"2024-02-29T11:00":        storage.TidOf(now.Add(-90*time.Minute)) + 0x23,
		"-2h":                     storage.TidOf(now.Add(-2 * time.Hour)),
		head.String():             head,
		"@" + (head - 1).String(): head - 1,
	} {
		got, err := View(text, now, head)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
	var future *storage.FutureViewError
	_, err := View((head + 1).String(), now, head)
	require.ErrorAs(t, err, &future)
	var bad *TimeError
	_, err = View("2024-02-29T12:31", now, head)
	require.ErrorAs(t, err, &bad)
	_, err = View("soon", now, head)
	require.ErrorAs(t, err, &bad)

	// The second that has begun is not in the future, the next one is.
	got, err := View("2024-02-29T12:30:00", now.Add(time.Millisecond), head)
	require.NoError(t, err)
	require.Equal(t, head, got)
	_, err = View("2024-02-29T12:30:01", now.Add(time.Millisecond), head)
	require.ErrorAs(t, err, &bad)

	// A committer whose clock was ahead of ours.
	ahead := storage.TidOf(now.Add(time.Hour))
	got, err = View("2024-02-29T13:00", now, ahead)
	require.NoError(t, err)
	require.Equal(t, storage.TidOf(now.Add(30*time.Minute))+0x23, got)
	got, err = View(FormatSecond(ahead), now, ahead)
	require.NoError(t, err)
	require.Equal(t, ahead, got)
}

func TestTimesAreShownAsByPython(t *testing.T) {
	for tid, want := range map[zodb.Tid]string{
		0x0285cbac258bf266:      "1979-01-03 21:00:08.800000",
		0x03b84285d71c57dd:      "2016-07-01 09:41:50.416574",
		0x037969f722a53488:      "2008-10-24 05:11:08.120000",
		0x0400000000000000:      "2025-04-11 09:04:00.000000",
		0x040000000ccccccb:      "2025-04-11 09:04:03.000000", // cut, it is a second early
		0:                       "1900-01-01 00:00:00.000000",
		dayTid(2023, 2, 31):     "2023-02-31 00:00:00.000000",
		0x03ffffffffffffff:      "2025-04-11 09:04:00.000000", // Python: 09:03:60
		zodb.TidMax:             "5908-11-23 02:08:00.000000",
		dayTid(2023, 3, 1) - 1:  "2023-03-01 00:00:00.000000",
		dayTid(2023, 2, 31) - 1: "2023-02-31 00:00:00.000000",
		1 << 23:                 "1900-01-01 00:00:00.117188", // halves are rounded to even
		3 << 23:                 "1900-01-01 00:00:00.351562",
	} {
		require.Equal(t, want, FormatTime(tid), "%s", tid)
		require.Equal(t, want[:19], FormatSecond(tid))
		require.Equal(t, want[:10]+"T"+want[11:]+"Z", FormatRFC3339(tid))
	}
}

// TestShownTimesMeanTheirTransaction: a time that was shown, in whatever form and with
// however few digits of the second, names the last of those that are shown with it.
func TestShownTimesMeanTheirTransaction(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	for range 4_000 {
		tid := randomTid(rnd)
		shown := FormatTime(tid)
		if shown > FormatTime(tid+1<<32) {
			continue // it is rounded over a day that only tids have, as the 31st of September
		}
		for _, text := range []string{shown, FormatRFC3339(tid), shown[:24], shown[:23], shown[:21], FormatSecond(tid), FormatSecond(tid) + "Z"} {
			at, err := viewOf(text, now)
			require.NoError(t, err, "%s: %s", tid, text)
			require.GreaterOrEqual(t, at, tid, text)
			digits := len(strings.TrimSuffix(text, "Z"))
			require.Equal(t, shown[:digits], FormatTime(at)[:digits], "%s: %s", tid, text)
			if at < zodb.TidMax && dayExists(storage.DateOf(at+1).Year, storage.DateOf(at+1).Month, storage.DateOf(at+1).Day) {
				require.Greater(t, FormatTime(at + 1)[:digits], shown[:digits], "%s: %s is not the last", tid, text)
			}
			first, last, err := parseAt(text, now)
			require.NoError(t, err)
			require.True(t, first <= tid && tid <= last, "%s: %s", tid, text)
		}
	}
}

// randomTid returns a tid, often one near a border of something.
func randomTid(rnd *rand.Rand) zodb.Tid {
	tid := zodb.Tid(rnd.Uint64() >> 1)
	switch rnd.IntN(6) {
	case 0:
		tid &^= 1<<32 - 1
	case 1:
		tid |= 1<<32 - 1
	case 2:
		tid &^= 1<<(10+rnd.IntN(22)) - 1
	case 3: // what a committer makes of microseconds
		tid = storage.TidOf(storage.TimeOf(tid &^ (1<<32 - 1)).Add(time.Duration(rnd.IntN(60e6)) * time.Microsecond))
	case 4:
		tid = storage.TidOf(storage.TimeOf(tid &^ (1<<32 - 1)).Add(time.Duration(rnd.IntN(60)) * time.Second))
	}
	return min(tid, zodb.TidMax)
}

// TestTransactionsOfOneSecond: of two that are shown alike the time means the later.
func TestTransactionsOfOneSecond(t *testing.T) {
	first := storage.TidOf(time.Date(2026, 11, 27, 0, 38, 2, 999_999_900, time.UTC)) // shown as of the next second
	second := storage.TidOf(time.Date(2026, 11, 27, 0, 38, 3, 400_000_000, time.UTC))
	third := second + 1 // in the same microsecond
	fourth := storage.TidOf(time.Date(2026, 11, 27, 0, 38, 4, 0, time.UTC))
	for _, tid := range []zodb.Tid{first, second, third} {
		at, err := View(FormatSecond(tid), now.AddDate(9, 0, 0), fourth)
		require.NoError(t, err)
		require.True(t, third <= at && at < fourth, "%s", at)
	}
	at, err := View(FormatTime(first), now, fourth)
	require.NoError(t, err)
	require.True(t, first <= at && at < second)
	at, err = View(FormatTime(second), now, fourth)
	require.NoError(t, err)
	require.True(t, third <= at && at < fourth)
}

// dayTid returns the tid of the beginning of a day that need not exist.
func dayTid(year, month, day uint64) zodb.Tid {
	return zodb.Tid((((year-1900)*12+month-1)*31 + day - 1) * 24 * 60 << 32)
}

func TestDaysThatAMonthDoesNotHaveAreOfTheNext(t *testing.T) {
	require.Equal(t, time.Date(2023, 3, 3, 0, 0, 0, 0, time.UTC), storage.TimeOf(dayTid(2023, 2, 31)))
	require.Equal(t, time.Date(2023, 5, 1, 0, 0, 0, 0, time.UTC), storage.TimeOf(dayTid(2023, 4, 31)))
}

func FuzzParseAt(f *testing.F) {
	for _, text := range []string{"-1w2d3h", "2024-02-29T12:00:00.5+02:00", "@0285cbac258bf266", "head"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		tid, err := viewOf(text, now)
		var bad *TimeError
		if err != nil && !errors.As(err, &bad) || err == nil && tid > zodb.TidMax {
			t.Errorf("%q: %s, %v", text, tid, err)
		}
	})
}
