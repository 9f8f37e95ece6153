package demo

import (
	"bytes"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"
)

// showAll shows a whole demo with the widest numbers there are.
func showAll(s *screen) {
	opt := Options{Interval: time.Second, Program: "wcfs"}
	s.intro("/tmp/wcfs-demo-1234567890/mnt/head/bigfile/0000000000000001", opt)
	tid := zodb.Tid(0x040d2456b340b8fa)
	now := firstState()
	s.row(0, tid, 1, look{head: now, snapshot: now})
	for commit := int64(2); commit <= MaxCommits+1; commit++ {
		held := now
		now = now.after(commit)
		s.row(time.Duration(commit)*time.Second, tid, commit, look{head: now, snapshot: held, dropped: changedBy(commit)})
	}
	s.row(time.Minute, tid, 61, look{head: now, snapshot: now, dropped: []int64{0, 1, 2}})
	s.row(time.Minute, tid, 61, look{head: now, snapshot: now})
	s.moved(1234*time.Microsecond, 0)
	s.moved(12*time.Second, 4096)
	s.past(tid, now)
	s.summary(summary{commits: 61, followed: 123 * time.Millisecond, cached: 360, changed: 100, dropped: 360, pins: 100, read: 720 << 20, reclaimed: 720 << 20})
	s.removed()
	s.next(opt, "/tmp/demo.fs")
	opt.Keep = true
	s.next(opt, "/tmp/demo.fs")
}

// TestEverythingFitsIntoATerminal of 80 columns, and is plain text unless it may
// be styled, which changes nothing else.
func TestEverythingFitsIntoATerminal(t *testing.T) {
	var plain, styled bytes.Buffer
	showAll(&screen{out: &plain})
	showAll(&screen{out: &styled, styled: true})
	for line := range strings.Lines(plain.String()) {
		line = strings.TrimSuffix(line, "\n")
		require.LessOrEqual(t, len(line), 80, line)
		require.Equal(t, strings.TrimRight(line, " "), line)
		require.Regexp(t, `^[ -~]*$`, line)
	}
	escape := regexp.MustCompile("\x1b\\[[0-9]+m")
	require.Regexp(t, escape, styled.String())
	require.Equal(t, plain.String(), escape.ReplaceAllString(styled.String(), ""))
}

// TestWhatChangedIsBold, and the snapshot is faint.
func TestWhatChangedIsBold(t *testing.T) {
	var out bytes.Buffer
	s := &screen{out: &out, styled: true}
	s.row(0, 1, 2, look{head: state{1, 2, 1, 1, 1, 1}, snapshot: state{1, 1, 1, 1, 1, 1}, dropped: []int64{1}})
	require.Contains(t, out.String(), "  1 \x1b[1m 2\x1b[0m  1  1  1  1 ")
	require.Contains(t, out.String(), "\x1b[2m  1  1  1  1  1  1\x1b[0m  #1\n")
}

type brokenPipe struct{ left int }

var errPipe = errors.New("broken pipe")

func (w *brokenPipe) Write(data []byte) (int, error) {
	if w.left--; w.left < 0 {
		return 0, errPipe
	}
	return len(data), nil
}

// TestOutputEndsWithItsFirstError: no later line is written, so there is no gap.
func TestOutputEndsWithItsFirstError(t *testing.T) {
	w := &brokenPipe{left: 2}
	s := &screen{out: w}
	showAll(s)
	require.ErrorIs(t, s.err, errPipe)
	require.Equal(t, -1, w.left)
}

// TestNumbersAreShort, with two or three digits and a unit.
func TestNumbersAreShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0.0 ms", 1234 * time.Microsecond: "1.2 ms", 12345 * time.Microsecond: "12 ms", 1234 * time.Millisecond: "1.2 s",
	} {
		require.Equal(t, want, short(d))
	}
	for n, want := range map[int64]string{0: "nothing", 4096: "4 KiB", 34 << 20: "34 MiB"} {
		require.Equal(t, want, size(n))
	}
}
