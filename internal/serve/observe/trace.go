package observe

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/wcfs/wcfs/internal/core"
	"github.com/wcfs/wcfs/internal/serve/logging"
	"github.com/wcfs/wcfs/internal/serve/proc"
)

const (
	// maxReaders bounds who may read the trace at a time. Each costs a copy of
	// every line.
	maxReaders = 16

	// readerQueue is how many bytes a Reader may lag behind: some thousand lines.
	readerQueue = 512 << 10

	// stamp is how glog tells the time.
	stamp = "0102 15:04:05.000000"
)

// ErrTooManyReaders is the answer to more readers of the trace than there may be.
var ErrTooManyReaders = errors.New("too many readers of the trace")

// trace is who listens.
type trace struct {
	readers atomic.Int32 // len(all), to be asked without lock

	mu   sync.Mutex // map operations only
	open int        // Readers, also those that have not begun
	all  map[*Reader]struct{}
	size int64     // bytes of lines since the first of all has begun
	last time.Time // when the last line came
}

func (t *trace) count() int { return int(t.readers.Load()) }

// publish gives every reader a line.
func (t *trace) publish(line []byte) {
	for _, r := range t.grow(len(line)) {
		r.queue.Put(line)
	}
	t.arrived()
}

// grow makes room for a line of n bytes, and returns who is to get it. The size is
// never less than what somebody has read: tail -f would begin anew.
func (t *trace) grow(n int) []*Reader {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.all) > 0 {
		t.size += int64(n)
	}
	return slices.Collect(maps.Keys(t.all))
}

// arrived notes that a line can be read: tail -f looks for it then.
func (t *trace) arrived() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.all) > 0 {
		t.last = time.Now()
	}
}

// Reader reads the trace: a line for everything that happens from the first Read on.
// A line begins as lines of the log do, with a letter and a time; a
// request that failed has the letter W.
//
//	I0802 12:34:56.123456 read /head/bigfile/0000000000000003 off=0 size=4096 pid=77 uid=1000 comm=python3: OK 4096 <0.000812>
//	I0802 12:34:56.123456 commit @03e1c2d0a0b0c0d0 files=1 blocks=2: OK <0.004012>
//	I0802 12:34:56.123456 pin 0000000000000003 #5 @03e1c2d0a0b0c0d0 pid=77: ack <0.000210>
//	E0802 12:34:56.123456 kill pid=77: timeout: pin #5 @03e1c2d0a0b0c0d0: ...
//	W0802 12:34:56.123456 lost 4711 lines: they are read too slowly
//
// The time is that of the end; what is in <> is how long it took, in seconds. Of a
// request, pid is the thread that made it, as the kernel tells; it is 0 for a release.
// Words that are not plain are quoted as in Go.
type Reader struct {
	trace *trace
	queue *logging.Queue
	once  sync.Once // for the end
}

// OpenTrace returns a new Reader, which must be closed. The error is
// ErrTooManyReaders.
func (o *Observer) OpenTrace() (*Reader, error) {
	t := &o.trace
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open >= maxReaders {
		return nil, ErrTooManyReaders
	}
	t.open++
	return &Reader{trace: t, queue: logging.NewQueue(readerQueue, lostLine)}, nil
}

// Read returns as many bytes of lines as there are and fit. It does not wait for any.
func (r *Reader) Read(dest []byte) int {
	r.trace.begin(r)
	return r.queue.Take(dest)
}

// begin gives r what happens from now on, unless it gets that already. A trace that
// is only opened has no cost, and changes no size.
func (t *trace) begin(r *Reader) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.all == nil {
		t.all = make(map[*Reader]struct{})
	}
	t.all[r] = struct{}{}
	t.readers.Store(int32(len(t.all)))
}

// Close ends the Reader, which must not be read any more.
func (r *Reader) Close() { r.once.Do(func() { r.trace.end(r) }) }

func (t *trace) end(r *Reader) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.open--
	delete(t.all, r)
	t.readers.Store(int32(len(t.all)))
	if len(t.all) == 0 {
		t.size, t.last = 0, time.Time{}
	}
}

// Traced returns how many bytes those who read the trace may have got, and when the
// last came: nothing if nobody reads it.
func (o *Observer) Traced() (size int64, last time.Time) {
	o.trace.mu.Lock()
	defer o.trace.mu.Unlock()
	return o.trace.size, o.trace.last
}

// Tracing reports whether somebody reads the trace. A caller asks before it
// describes what has happened.
func (o *Observer) Tracing() bool { return o.trace.readers.Load() > 0 }

// Request is one request that is answered.
type Request struct {
	Op       Op
	Path     string // from the root of the mount
	Off      int64
	Size     int // bytes that were asked for or offered; -1: the op is not about bytes
	Done     int // bytes that were read or written
	Pid, Uid uint32
	Errno    syscall.Errno
	Took     time.Duration
}

// Trace gives all readers the line of a request.
func (o *Observer) Trace(r Request) {
	letter := byte('I')
	if r.Errno != 0 {
		letter = 'W'
	}
	line := begin(letter)
	line = fmt.Appendf(line, "%s %s", r.Op, Plain(r.Path))
	if r.Size >= 0 {
		line = fmt.Appendf(line, " off=%d size=%d", r.Off, r.Size)
	}
	line = fmt.Appendf(line, " pid=%d uid=%d comm=%s: %s", r.Pid, r.Uid, Plain(cmp.Or(proc.Name(int(r.Pid)), "-")), errnoName(r.Errno))
	if r.Size >= 0 && r.Errno == 0 {
		line = fmt.Appendf(line, " %d", r.Done)
	}
	o.trace.publish(finish(line, r.Took))
}

func (o *Observer) traceCommit(c core.Commit) {
	line := fmt.Appendf(begin('I'), "commit @%s files=%d blocks=%d: OK", c.Tid, c.Files, c.Blocks)
	o.trace.publish(finish(line, c.Took))
}

func (o *Observer) tracePin(p core.Pin) {
	letter, result := byte('I'), "ack"
	if p.Err != nil {
		letter, result = 'W', plainText(p.Err.Error())
	}
	line := fmt.Appendf(begin(letter), "pin %s #%d @%s pid=%d: %s", p.Oid, p.Blk, p.Rev, p.Pid, result)
	o.trace.publish(finish(line, p.Took))
}

func (o *Observer) traceKill(k core.Kill) {
	o.trace.publish(fmt.Appendf(begin('E'), "kill pid=%d: %s: %s\n", k.Pid, k.Reason, plainText(k.Why)))
}

func lostLine(n, _ int) []byte {
	return fmt.Appendf(begin('W'), "lost %d lines: they are read too slowly\n", n)
}

// begin returns the beginning of a line.
func begin(letter byte) []byte {
	line := make([]byte, 0, 256)
	line = append(line, letter)
	line = time.Now().AppendFormat(line, stamp)
	return append(line, ' ')
}

// finish ends a line with how long something took.
func finish(line []byte, took time.Duration) []byte {
	return fmt.Appendf(line, " <%.6f>\n", took.Seconds())
}

// Plain returns a word as it is, or quoted if it could be taken for something else:
// clients choose the names that they look up.
func Plain(word string) string {
	if word == "" || word != plainText(word) || slices.Contains([]byte(word), ' ') {
		return strconv.QuoteToASCII(word)
	}
	return word
}

// plainText returns text without characters that are not of one line.
func plainText(text string) string {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return strconv.QuoteToASCII(text)
		}
	}
	return text
}
