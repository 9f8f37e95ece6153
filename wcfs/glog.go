package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/golang/glog"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// lastWords is how long a server that ends waits until its log is taken.
const lastWords = 2 * time.Second

// setupLog makes glog write to stderr or to the log file, unless the user wants
// the files of glog. Those in the temporary directory, glog's own default, are
// where nobody looks. The caller has to call close when it has logged the last
// line.
func setupLog(cmd *cobra.Command, f *serveFlags) (*logOutput, error) {
	flags := cmd.Flags()
	if dir := flags.Lookup("log_dir"); dir.Changed {
		if err := unix.Access(dir.Value.String(), unix.W_OK|unix.X_OK); err != nil {
			return nil, &usageError{msg: fmt.Sprintf("%s: -log_dir %s: %s", cmd.Name(), dir.Value, err)}
		}
	} else if !flags.Changed("logtostderr") {
		_ = flag.Set("logtostderr", "true")
	}
	if f.debug && !flags.Changed("v") {
		_ = flag.Set("v", "1")
	}
	out := &logOutput{stderr: os.Stderr}
	if isJournal(os.Stderr, os.Getenv("JOURNAL_STREAM")) {
		out.journal = newJournal(os.Stderr)
	}
	if f.logFile != "" {
		file, err := os.OpenFile(expandHome(f.logFile), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640)
		if err != nil {
			return nil, &usageError{msg: fmt.Sprintf("%s: --log-file: %s", cmd.Name(), err)}
		}
		out.file = file
		out.both.Store(f.background) // mount hands on what goes wrong
	}
	return out, out.shield()
}

// logOutput is where the log goes: stderr or a file. It is behind a pipe that is
// stderr for all others. glog ends the process when a line cannot be written, and
// so does SIGPIPE: a full disk or a log reader that is gone would take the mount
// of all clients away. glog also waits with all who log for a reader that is slow,
// and clients would wait with it. Here such lines are lost.
type logOutput struct {
	stderr  *os.File
	journal *journal    // what stderr is, or nil
	file    *os.File    // nil: stderr
	both    atomic.Bool // to the file and to stderr
	close   func()
}

// shield begins to copy.
func (out *logOutput) shield() error {
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("pipe for the log: %w", err)
	}
	broken := make(chan os.Signal, 1)
	signal.Notify(broken, syscall.SIGPIPE)
	os.Stderr = w
	queue, copied := newLogQueue(maxLogQueue), make(chan struct{})
	go queue.fill(r)
	go func() {
		defer close(copied)
		out.copyAll(queue)
	}()
	out.close = func() {
		glog.Flush()
		os.Stderr = out.stderr
		w.Close()
		select {
		case <-copied:
		case <-time.After(lastWords):
			out.giveUp()
		}
		signal.Stop(broken)
	}
	return nil
}

// giveUp makes stderr one that nobody has to wait for.
func (out *logOutput) giveUp() {
	if null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0); err == nil {
		os.Stderr = null
	}
}

// copyAll copies the log to where it goes until it ends, whether that takes it or
// not. It may hold names of others.
func (out *logOutput) copyAll(queue *logQueue) {
	buf := make([]byte, 64<<10)
	var names logCleaner
	for n := queue.take(buf); n > 0; n = queue.take(buf) {
		out.copy(names.clean(buf[:n]))
	}
	out.copy(names.end())
	if out.journal != nil {
		_ = out.journal.Flush()
	}
}

// copy writes to where the log goes.
func (out *logOutput) copy(text []byte) {
	if out.file != nil {
		_, _ = out.file.Write(text)
	}
	if out.file == nil || out.both.Load() {
		_, _ = out.people().Write(text)
	}
}

// people is stderr in the form that those behind it like.
func (out *logOutput) people() io.Writer {
	if out.journal != nil {
		return out.journal
	}
	return out.stderr
}
