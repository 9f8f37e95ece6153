package main

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/wcfs/wcfs/internal/arrays/demo"
)

type demoFlags struct {
	seconds  int
	keep     bool
	interval time.Duration // a hidden one, so that tests need not wait
}

func newDemo() *cobra.Command {
	var f demoFlags
	cmd := &cobra.Command{
		Use:   "demo [OPTIONS]",
		Short: "Show in a few seconds what this is for, on a sample",
		Long: `Make a small database with an array, serve it, and show what happens while
somebody commits to it once a second: the newest state moves, a client's memory
keeps still until the client moves it forward, only changed blocks leave the page
cache, and the past is there as files.

It needs what serve needs, ends by itself, and takes everything away again, also
after Ctrl-C. The database is in TMPDIR, with 12 MiB and 2 or 4 more for each
commit. Exit codes are those of serve; 70 also if anything showed wrong data.`,
		Example: `  wcfs demo
  wcfs demo --seconds 20
  wcfs demo --keep             # to look at the database afterwards`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkDemoArgs(cmd, &f, args); err != nil {
				return err
			}
			return runDemo(cmd, &f)
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.IntVar(&f.seconds, "seconds", 8, fmt.Sprintf("`N`: how long the writer commits, %d to %d", demo.MinCommits, demo.MaxCommits))
	flags.BoolVar(&f.keep, "keep", false, "leave the database, and say where it is")
	flags.DurationVar(&f.interval, "interval", time.Second, "")
	_ = flags.MarkHidden("interval")
	return cmd
}

func checkDemoArgs(cmd *cobra.Command, f *demoFlags, args []string) error {
	if len(args) > 0 {
		return &usageError{msg: fmt.Sprintf("demo: expected no arguments, got %q", args[0]), text: "Usage: wcfs " + cmd.Use}
	}
	if f.seconds < demo.MinCommits || f.seconds > demo.MaxCommits {
		return usagef("demo: --seconds must be %d to %d, got %d", demo.MinCommits, demo.MaxCommits, f.seconds)
	}
	if f.interval <= 0 {
		return usagef("demo: --interval must be positive, got %s", f.interval)
	}
	return nil
}

func runDemo(cmd *cobra.Command, f *demoFlags) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("demo: find this program: %w", err)
	}
	// When nobody reads the output any more, writing it must fail and not end
	// the process, which has something to clean up.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	return demo.Run(cmd.Context(), demo.Options{
		Out:      os.Stdout,
		Styled:   term.IsTerminal(int(os.Stdout.Fd())) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb",
		Commits:  f.seconds,
		Interval: f.interval,
		Keep:     f.keep,
		Program:  os.Args[0],
		Serve: func(database, dir string) *exec.Cmd {
			serve := exec.Command(self, "serve", "--autoexit", "--autoexit-linger=0s", database, dir)
			serve.Args[0] = os.Args[0] // as this was called, whatever links led to it
			return serve
		},
	})
}
