package main

import (
	"flag"
	"fmt"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// setupLog makes glog write to stderr unless the user wants files. Files in
// the temporary directory, glog's own default, are where nobody looks.
func setupLog(cmd *cobra.Command, f *serveFlags) error {
	flags := cmd.Flags()
	if dir := flags.Lookup("log_dir"); dir.Changed {
		if err := unix.Access(dir.Value.String(), unix.W_OK|unix.X_OK); err != nil {
			return &usageError{msg: fmt.Sprintf("serve: -log_dir %s: %s", dir.Value, err)}
		}
	} else if !flags.Changed("logtostderr") {
		_ = flag.Set("logtostderr", "true")
	}
	if f.debug && !flags.Changed("v") {
		_ = flag.Set("v", "1")
	}
	return nil
}
