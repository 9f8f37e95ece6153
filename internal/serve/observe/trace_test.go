package observe

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wcfs/wcfs/internal/core"
)

// TestWritersDoNotWaitForReaders: while nobody reads, all writers end.
func TestWritersDoNotWaitForReaders(t *testing.T) {
	t.Parallel()
	o := New(time.Second)
	slow := listen(t, o)
	const writers, each = 8, 2000
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			for range each {
				o.Trace(Request{Op: GetAttr, Path: "/", Size: -1})
			}
		})
	}
	all.Wait()
	text := everything(slow)
	lines := strings.SplitAfter(strings.TrimSuffix(text, "\n"), "\n")
	var lost int
	_, err := fmt.Sscanf(lines[len(lines)-1][len("W0802 12:34:56.123456 "):], "lost %d lines", &lost)
	require.NoError(t, err, lines[len(lines)-1])
	require.Equal(t, writers*each, len(lines)-1+lost)
	require.Less(t, len(text), readerQueue+1000)
}

// listen returns a Reader that has begun, and is closed when the test ends.
func listen(t testing.TB, o *Observer) *Reader {
	r, err := o.OpenTrace()
	require.NoError(t, err)
	t.Cleanup(r.Close)
	require.Zero(t, r.Read(make([]byte, 10)))
	return r
}

// everything returns what a Reader has not read yet.
func everything(r *Reader) string {
	var all bytes.Buffer
	buf := make([]byte, 1000)
	for n := r.Read(buf); n > 0; n = r.Read(buf) {
		all.Write(buf[:n])
	}
	return all.String()
}

// TestReaderHasWhatHappensFromItsFirstRead on, and never waits. A reader that has
// only opened the trace has no part in it. Size and time grow with the lines, for
// tail -f.
func TestReaderHasWhatHappensFromItsFirstRead(t *testing.T) {
	t.Parallel()
	o := New(time.Second)
	tell := func() { o.Trace(Request{Op: Open, Path: "/a", Size: -1}) }
	idle, err := o.OpenTrace()
	require.NoError(t, err)
	tell()
	size, last := o.Traced()
	require.False(t, o.Tracing())
	require.Zero(t, size)
	require.Zero(t, last)
	require.Empty(t, everything(idle), "what was before")

	first := listen(t, o)
	tell()
	size, last = o.Traced()
	require.Contains(t, everything(first), "open /a")
	second := listen(t, o)
	tell()
	text := everything(first)
	require.Equal(t, text, everything(second))
	more, later := o.Traced()
	require.EqualValues(t, int(size)+len(text), more)
	require.True(t, later.After(last))

	for _, r := range []*Reader{idle, first, second} {
		r.Close()
	}
	require.False(t, o.Tracing())
	size, last = o.Traced()
	require.Zero(t, size)
	require.Zero(t, last)
}

// TestLinesSayWhatHappened: one line each, whatever clients make names of.
func TestLinesSayWhatHappened(t *testing.T) {
	t.Parallel()
	o := New(time.Second)
	o.Trace(Request{Op: Read}) // nobody listens
	require.False(t, o.Tracing())
	r := listen(t, o)
	require.True(t, o.Tracing())
	pid := uint32(os.Getpid())
	name, err := os.ReadFile("/proc/self/comm")
	require.NoError(t, err)
	who := fmt.Sprintf("pid=%d uid=7 comm=%s", pid, Plain(strings.TrimSpace(string(name))))
	for _, c := range []struct {
		tell func()
		want string
	}{
		{func() {
			o.Trace(Request{Op: Read, Path: "/head/bigfile/0000000000000003", Off: 4096, Size: 8192, Done: 100, Pid: pid, Uid: 7, Took: 812 * time.Microsecond})
		}, "I read /head/bigfile/0000000000000003 off=4096 size=8192 " + who + ": OK 100 <0.000812>\n"},
		{func() {
			o.Trace(Request{Op: Read, Path: "/a", Size: 1, Pid: pid, Uid: 7, Errno: syscall.EIO, Took: time.Second})
		}, "W read /a off=0 size=1 " + who + ": EIO <1.000000>\n"},
		{func() { o.Trace(Request{Op: Lookup, Path: "/a b", Size: -1, Uid: 7}) }, `I lookup "/a b" pid=0 uid=7 comm=-: OK <0.000000>` + "\n"},
		{func() {
			o.Trace(Request{Op: Lookup, Path: "/a\nI0101 \x00\xff\"", Size: -1, Uid: 7, Errno: 4095})
		}, `W lookup "/a\nI0101 \x00\xff\"" pid=0 uid=7 comm=-: other <0.000000>` + "\n"},
		{func() { o.Committed(core.Commit{Tid: 0x3e1, Files: 1, Blocks: 2, Took: 4 * time.Millisecond}) },
			"I commit @00000000000003e1 files=1 blocks=2: OK <0.004000>\n"},
		{func() {
			o.Pinned(core.Pin{Pid: 9, Oid: 3, Blk: 5, Rev: "head", Took: time.Millisecond})
		}, "I pin 0000000000000003 #5 @head pid=9: ack <0.001000>\n"},
		{func() {
			o.Pinned(core.Pin{Pid: 9, Oid: 3, Blk: 5, Rev: "head", Err: errors.New("a\nb")})
		}, `W pin 0000000000000003 #5 @head pid=9: "a\nb" <0.000000>` + "\n"},
		{func() { o.Killed(core.Kill{Pid: 9, Reason: core.TimedOut, Why: "pin #5: late"}) },
			"E kill pid=9: timeout: pin #5: late\n"},
	} {
		before := time.Now()
		c.tell()
		line := everything(r)
		at, err := time.ParseInLocation(stamp, line[1:1+len(stamp)], time.Local)
		require.NoError(t, err, line)
		at = at.AddDate(before.Year(), 0, 0)
		require.WithinRange(t, at, before.Add(-time.Millisecond), time.Now().Add(time.Millisecond), line)
		require.Equal(t, c.want, line[:1]+line[1+len(stamp):])
	}
}

// TestReadersAreBounded: each costs a copy of every line.
func TestReadersAreBounded(t *testing.T) {
	t.Parallel()
	o := New(time.Second)
	var all []*Reader
	for range maxReaders {
		r, err := o.OpenTrace()
		require.NoError(t, err)
		all = append(all, r)
	}
	_, err := o.OpenTrace()
	require.ErrorIs(t, err, ErrTooManyReaders)
	all[3].Close()
	all[3].Close() // changes nothing
	again, err := o.OpenTrace()
	require.NoError(t, err)
	again.Close()
	for _, r := range all {
		r.Close()
	}
	require.False(t, o.Tracing())
}
