package main

import (
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/wcfs/wcfs/internal/serve/control"
	"github.com/wcfs/wcfs/internal/serve/mount"
	"github.com/wcfs/wcfs/internal/serve/top"
	"github.com/wcfs/wcfs/internal/zodb/fault"
)

// minInterval is the shortest time between looks that is of use: a look costs some children.
const minInterval = 100 * time.Millisecond

// topFlags are the options of top as typed.
type topFlags struct {
	once, json bool
	interval   time.Duration
}

func newTop() *cobra.Command {
	var f topFlags
	cmd := &cobra.Command{
		Use:        "top [OPTIONS] [DATABASE|MOUNTPOINT]",
		SuggestFor: []string{"htop", "watch", "monitor"},
		Short:      "Show how a server fares, on a screen that lives",
		Long: `Show what the server of a database or on a mount point does now: the newest
transaction and how far head/ is behind, commits, reads, blocks that are kept in the
page cache and dropped from it, watches and pins, the state of the server of the
database, and the clients, those first that keep others waiting. Without an argument
it shows the only server, or a line for each. Rates are those since the look before;
what is not as it should be is red. NO_COLOR is honoured.

A server that does not answer within ` + topLimit.String() + ` is shown as stuck, with what its threads
wait for in the kernel and who uses the mount, and is asked more and more rarely. One
that ends, or begins anew, is shown so.

q or Ctrl-C ends it. --once prints one frame, of two looks with the interval between
them, and --json one as a document. The clients are told to the user of the server
only.`,
		Example: `  wcfs top
  wcfs top /mnt/data
  wcfs top --once data.fs
  wcfs top --json data.fs | jq '.servers[0].figures.reads'`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return wrongArgs(cmd, "at most DATABASE or MOUNTPOINT", args)
			}
			if f.interval < minInterval {
				return usagef("top: --interval must be at least %s, got %s", minInterval, f.interval)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return runTop(cmd, &f, args) },
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.DurationVar(&f.interval, "interval", 2*time.Second, "time between looks")
	flags.BoolVar(&f.once, "once", false, "print one frame")
	flags.BoolVar(&f.json, "json", false, "print one JSON document")
	return cmd
}

// topLimit is how long a server may take to answer: less than elsewhere, since somebody
// waits for the next frame.
const topLimit = 3 * time.Second

func runTop(cmd *cobra.Command, f *topFlags, args []string) (err error) {
	opt := top.Options{Prober: mount.Prober{Limit: topLimit}, Interval: f.interval, Colour: os.Getenv("NO_COLOR") == ""}
	opt.Find = func() ([]control.Server, error) {
		servers, _, err := serversFor(args)
		return servers, err
	}
	opt.Ended = func() []control.LastWords {
		_, ended, _ := serversFor(args)
		return ended
	}
	defer func() {
		if fault.Is(err, fault.NotRunning) {
			tellEnded(opt.Ended())
		}
	}()
	if len(args) == 1 {
		target, err := newTarget(args[0])
		if err != nil {
			return err
		}
		opt.Find = func() ([]control.Server, error) {
			server, err := target.Only()
			return []control.Server{server}, err
		}
	}
	if f.once || f.json {
		return top.Once(cmd.Context(), opt, os.Stdout, f.json)
	}
	if kind := os.Getenv("TERM"); !term.IsTerminal(int(os.Stdin.Fd())) || !term.IsTerminal(int(os.Stdout.Fd())) || kind == "" || kind == "dumb" {
		return &usageError{msg: "top: this is no terminal to draw on", text: "print one frame: wcfs top --once"}
	}
	return top.Run(cmd.Context(), opt, os.Stdin, os.Stdout)
}
