package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/golang/glog"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// setupLog makes glog write to stderr unless the user wants files. Files in
// the temporary directory, glog's own default, are where nobody looks. The
// caller has to call closeLog when it has logged the last line.
func setupLog(cmd *cobra.Command, f *serveFlags) (closeLog func(), err error) {
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
	return shieldStderr()
}

// shieldStderr puts a pipe before stderr. glog ends the process when a line
// cannot be written, and so does SIGPIPE: a full disk or a log reader that is
// gone would take the mount of all clients away. Here such lines are lost.
func shieldStderr() (closeLog func(), err error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("pipe for the log: %w", err)
	}
	broken := make(chan os.Signal, 1)
	signal.Notify(broken, syscall.SIGPIPE)
	stderr := os.Stderr
	os.Stderr = w
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		copyAll(stderr, r)
	}()
	return func() {
		glog.Flush()
		os.Stderr = stderr
		w.Close()
		<-copied
		signal.Stop(broken)
	}, nil
}

// copyAll copies src to dst until src ends, whether dst takes it or not.
func copyAll(dst io.Writer, src io.Reader) {
	buf := make([]byte, 64<<10)
	for {
		n, err := src.Read(buf)
		_, _ = dst.Write(buf[:n])
		if err != nil {
			return
		}
	}
}
