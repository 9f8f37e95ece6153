package main

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/wcfs/wcfs/internal/serve/control"
	"github.com/wcfs/wcfs/internal/serve/terminal"
	"github.com/wcfs/wcfs/internal/zodb/fault"
)

// minStop is the shortest time in which stopping makes sense.
const minStop = time.Second

func newStop() *cobra.Command {
	var timeout time.Duration
	var kill bool
	cmd := &cobra.Command{
		Use:        "stop [OPTIONS] DATABASE|MOUNTPOINT",
		SuggestFor: []string{"umount", "unmount", "kill", "end"},
		Short:      "Stop a server, whatever state it is in",
		Long: `Stop the server of a database or on a mount point, and leave nothing: no mount,
no process of the server, and no client in this mount namespace, since a client
would go on without its data. It is fine if no server is running.

The mount is taken away and the server is asked to end (SIGTERM). If it does not,
the kernel is told to give up the connection to it, so that all who wait for it
get free, and it is ended by SIGQUIT, which dumps its goroutines into its log, and
by SIGKILL. Then clients that still use the mount are ended by SIGTERM and SIGKILL,
and the exit code is 11. What is done is said on stderr.

Who only stands in the mount, as a shell does after cd, has nothing to lose and is
not ended, but named: the mount is detached, and the exit code is 1. With --kill such
processes are ended, too, but for those that this command was started by.

` + fault.Help(),
		Example: `  wcfs stop data.fs
  wcfs stop --timeout 1m /mnt/data`,
		Args: wantArgs(1, "DATABASE or MOUNTPOINT", func(cmd *cobra.Command) error {
			if timeout < minStop {
				return usagef("stop: --timeout must be at least %s, got %s", minStop, timeout)
			}
			return nil
		}),
		RunE: func(cmd *cobra.Command, args []string) error {
			target, err := newTarget(args[0])
			if err != nil {
				return err
			}
			return control.Stop(cmd.Context(), target, control.StopOptions{
				Prober:  prober(),
				Timeout: timeout,
				Kill:    kill,
				Logf: func(format string, args ...any) {
					terminal.Say("%s", terminal.Line(fmt.Sprintf(format, args...)))
				},
				Dump: func(why string, d *control.Dump) {
					fmt.Fprintln(os.Stderr, "wcfs:", terminal.Line(why))
					d.Print(terminal.Writer{To: os.Stderr})
				},
			})
		},
	}
	cmd.Flags().DurationVar(&timeout, "timeout", 25*time.Second, "time that stopping may take")
	cmd.Flags().BoolVar(&kill, "kill", false, "end also who only stands in the mount, as shells do")
	return cmd
}
