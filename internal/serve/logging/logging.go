// Package logging takes the log of a server to where it goes: stderr, the journal of systemd,
// or a file. The log is made by glog, and by whatever else writes to stderr.
package logging

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/golang/glog"
	"golang.org/x/sys/unix"

	"github.com/wcfs/wcfs/internal/serve/terminal"
	"github.com/wcfs/wcfs/internal/zodb/fault"
)

// lastWords is how long a server that ends waits until its log is taken.
const lastWords = 2 * time.Second

// maxQueue is how many bytes of the log may wait until they are taken.
const maxQueue = 1 << 20

// Options says where the log goes.
type Options struct {
	File    string // to this file, "" for stderr
	Both    bool   // with File, to stderr as well until LeaveStderr
	Journal string // what systemd says in $JOURNAL_STREAM
}

// Open makes stderr a pipe that is copied to where the log goes. The caller has to call
// Close when it has logged the last line.
func Open(opt Options) (*Output, error) {
	out := &Output{stderr: os.Stderr}
	if isJournal(os.Stderr, opt.Journal) {
		out.journal = newJournal(os.Stderr)
	}
	if opt.File != "" {
		file, err := os.OpenFile(opt.File, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640)
		if err != nil {
			return nil, &fault.Error{Kind: fault.Usage, About: "--log-file", Msg: err.Error(), Err: err}
		}
		out.file = file
		out.both.Store(opt.Both)
	}
	return out, out.shield()
}

// Output is where the log goes: stderr or a file. It is behind a pipe that is
// stderr for all others. glog ends the process when a line cannot be written, and
// so does SIGPIPE: a full disk or a log reader that is gone would take the mount
// of all clients away. glog also waits with all who log for a reader that is slow,
// and clients would wait with it. Here such lines are lost.
type Output struct {
	stderr  *os.File
	journal *journal    // what stderr is, or nil
	file    *os.File    // nil: stderr
	both    atomic.Bool // to the file and to stderr
	close   func()      // ends the copying
}

// shield begins to copy.
func (out *Output) shield() error {
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("pipe for the log: %w", err)
	}
	broken := make(chan os.Signal, 1)
	signal.Notify(broken, syscall.SIGPIPE)
	os.Stderr = w
	queue, copied := NewQueue(maxQueue, lostLog), make(chan struct{})
	go fill(queue, r)
	go func() {
		defer close(copied)
		out.copyAll(queue)
	}()
	out.close = func() {
		glog.Flush()
		os.Stderr = out.stderr
		_ = w.Close()
		select {
		case <-copied:
		case <-time.After(lastWords):
			out.giveUp()
		}
		signal.Stop(broken)
	}
	return nil
}

// Close flushes the log and waits a moment until it is taken.
func (out *Output) Close() { out.close() }

// giveUp makes stderr one that nobody has to wait for.
func (out *Output) giveUp() {
	if null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0); err == nil {
		os.Stderr = null
	}
}

// fill puts what src gives into the queue, until src ends.
func fill(queue *Queue, src io.Reader) {
	defer queue.End()
	buf := make([]byte, 64<<10)
	for {
		n, err := src.Read(buf)
		if n > 0 {
			queue.Put(buf[:n])
		}
		if err != nil {
			return
		}
	}
}

func lostLog(_, n int) []byte {
	return fmt.Appendf(nil, "W%s %7d logqueue.go] %d bytes of the log are lost: they were not taken in time\n",
		time.Now().Format("0102 15:04:05.000000"), os.Getpid(), n)
}

// copyAll copies the log to where it goes until it ends, whether that takes it or
// not. It may hold names of others.
func (out *Output) copyAll(queue *Queue) {
	buf := make([]byte, 64<<10)
	var names terminal.Cleaner
	for queue.Wait() {
		out.copy(names.Clean(buf[:queue.Take(buf)]))
	}
	out.copy(names.End())
	if out.journal != nil {
		_ = out.journal.Flush()
	}
}

// copy writes to where the log goes.
func (out *Output) copy(text []byte) {
	if out.file != nil {
		_, _ = out.file.Write(text)
	}
	if out.file == nil || out.both.Load() {
		_, _ = out.people().Write(text)
	}
}

// people is stderr in the form that those behind it like.
func (out *Output) people() io.Writer {
	if out.journal != nil {
		return out.journal
	}
	return out.stderr
}

// LeaveStderr makes the descriptors 1 and 2 those of the log file, or of nothing.
// The last words of the runtime, when it has to end the process, so get into the
// log.
func (out *Output) LeaveStderr() {
	target := out.file
	if target == nil {
		var err error
		if target, err = os.OpenFile(os.DevNull, os.O_WRONLY, 0); err != nil {
			return // without /dev; whoever reads what we say goes away
		}
		defer target.Close()
	}
	out.both.Store(false)
	for _, fd := range []int{1, 2} {
		_ = unix.Dup3(int(target.Fd()), fd, 0)
	}
}
