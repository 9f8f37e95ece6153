package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"

	"github.com/golang/glog"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// setupLog makes glog write to stderr or to the log file, unless the user wants
// the files of glog. Those in the temporary directory, glog's own default, are
// where nobody looks. The caller has to call close when it has logged the last
// line.
func setupLog(cmd *cobra.Command, f *serveFlags) (*logOutput, error) {
	flags := cmd.Flags()
	if dir := flags.Lookup("log_dir"); dir.Changed {
		if err := unix.Access(dir.Value.String(), unix.W_OK|unix.X_OK); err != nil {
			return nil, &usageError{msg: fmt.Sprintf("serve: -log_dir %s: %s", dir.Value, err)}
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
		file, err := os.OpenFile(f.logFile, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640)
		if err != nil {
			return nil, &usageError{msg: fmt.Sprintf("serve: --log-file: %s", err)}
		}
		out.file = file
		out.both.Store(f.background) // mount hands on what goes wrong
	}
	return out, out.shield()
}

// logOutput is where the log goes: stderr or a file. It is behind a pipe that is
// stderr for all others. glog ends the process when a line cannot be written, and
// so does SIGPIPE: a full disk or a log reader that is gone would take the mount
// of all clients away. Here such lines are lost.
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
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		out.copyAll(r)
	}()
	out.close = func() {
		glog.Flush()
		os.Stderr = out.stderr
		w.Close()
		<-copied
		signal.Stop(broken)
	}
	return nil
}

// copyAll copies src to where the log goes until src ends, whether that takes it
// or not.
func (out *logOutput) copyAll(src io.Reader) {
	buf := make([]byte, 64<<10)
	for {
		n, err := src.Read(buf)
		if out.file != nil {
			_, _ = out.file.Write(buf[:n])
		}
		if out.file == nil || out.both.Load() {
			_, _ = out.people().Write(buf[:n])
		}
		if err != nil {
			if out.journal != nil {
				_ = out.journal.Flush()
			}
			return
		}
	}
}

// people is stderr in the form that those behind it like.
func (out *logOutput) people() io.Writer {
	if out.journal != nil {
		return out.journal
	}
	return out.stderr
}
