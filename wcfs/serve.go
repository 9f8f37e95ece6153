package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/golang/glog"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/wcfs/wcfs/internal/arrays/database"
	"github.com/wcfs/wcfs/internal/arrays/naming"
	"github.com/wcfs/wcfs/internal/serve/control"
	"github.com/wcfs/wcfs/internal/serve/logging"
	"github.com/wcfs/wcfs/internal/serve/mount"
	"github.com/wcfs/wcfs/internal/serve/server"
	"github.com/wcfs/wcfs/internal/serve/terminal"
	"github.com/wcfs/wcfs/internal/zodb/fault"
	"github.com/wcfs/wcfs/internal/zodb/postgresql"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// Flags that are not for users.
const (
	legacyFlag     = "drop-in"    // the form without a command
	makeFlag       = "make"       // make the last element of MOUNTPOINT
	backgroundFlag = "background" // mount has started it; see background.go
	unitFlag       = "unit"       // a unit of systemd has: an empty MOUNTPOINT is none
)

// minProcs is how many threads run Go code at least. A thread that tells the
// kernel to drop pages waits there for READs that others must answer; it takes
// the runtime some milliseconds to notice that it is not running.
const minProcs = 4

// defaultLinger is how long a server without clients stays: programs look at the
// mount more than once, and whoever comes back wants to find its cache.
const defaultLinger = 5 * time.Second

// glogFlags are the flags of glog that serve takes, so that an operator can
// say how much goes where, and what they mean here.
var glogFlags = []struct{ name, usage string }{
	{"v", "log more the higher it is"},
	{"vmodule", "the same for some source files: PATTERN=N,..."},
	{"log_dir", "log to files in this directory, and not to stderr"},
	{"alsologtostderr", "with --log_dir: log to stderr as well"},
	{"stderrthreshold", "with --log_dir: log to stderr what is at least so severe: INFO, WARNING, ERROR"},
	{"logtostderr", "log to stderr, as without any of these"},
}

type serveFlags struct {
	debug      bool
	autoExit   bool
	linger     time.Duration
	traceFUSE  bool
	allowOther bool
	pinTimeout time.Duration
	viewIdle   time.Duration
	away       time.Duration // how long requests wait for the server of the database
	poll       time.Duration // how often a database is asked for commits that tells of none
	wait       bool          // for that server before the start
	logFile    string
	observe    observeFlags
	legacy     bool
	make       bool // make the mount point
	background bool // started by mount
	unit       bool // started by a unit
}

func newServe() *cobra.Command {
	var f serveFlags
	cmd := &cobra.Command{
		Use:        "serve [OPTIONS] DATABASE [MOUNTPOINT]",
		SuggestFor: []string{"start", "run"},
		Short:      "Mount a database and serve it in the foreground",
		Long: `Mount DATABASE on MOUNTPOINT and serve it until Ctrl-C, SIGTERM, SIGHUP, or until
somebody unmounts. DATABASE is a path, or a url such as file:///path/to/data.fs,
which wendelin.core calls zurl. demo:(BASE)/(DELTA), to be quoted in a shell, is
the database DELTA over BASE, as DemoStorage of ZODB shows it; both are urls.

Without MOUNTPOINT the usual place is used, where clients look for it:
` + mount.Root + `/<sha1 of url>. It is made for the time of serving. If another user
has it, ` + mount.Root + `-<uid>/<sha1 of url> is used, which wcfs and Go clients find.

` + fault.Help(),
		Example: `  wcfs serve data.fs
  wcfs serve file:///srv/data.fs /mnt/data
  wcfs serve -v=1 data.fs /mnt/data`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.unit && len(args) == 2 && args[1] == "" {
				args = args[:1]
			}
			if err := checkServeArgs(cmd, &f, args); err != nil {
				return err
			}
			return serve(cmd, &f, args)
		},
	}
	addServeFlags(cmd, &f)
	flags := cmd.Flags()
	flags.BoolVar(&f.legacy, legacyFlag, false, "")
	flags.BoolVar(&f.make, makeFlag, false, "")
	flags.BoolVar(&f.background, backgroundFlag, false, "")
	flags.BoolVar(&f.unit, unitFlag, false, "")
	for _, name := range []string{legacyFlag, makeFlag, backgroundFlag, unitFlag} {
		_ = flags.MarkHidden(name)
	}
	return cmd
}

// addServeFlags gives cmd what can be said about a server.
func addServeFlags(cmd *cobra.Command, f *serveFlags) {
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.DurationVar(&f.pinTimeout, "pintimeout", 30*time.Second, "time a client has to answer a pin before it is killed")
	flags.DurationVar(&f.viewIdle, "view-idle", 10*time.Minute, "time after which a past view is let go if nobody uses it")
	flags.DurationVar(&f.away, "storage-timeout", time.Minute, "time that requests wait for a database whose server is away")
	flags.DurationVar(&f.poll, "poll", postgresql.DefaultPoll, "time between two looks for commits in PostgreSQL, which tells of none")
	flags.BoolVar(&f.wait, "wait", false, "wait for the server of the database if it is not there yet")
	flags.BoolVar(&f.autoExit, "autoexit", false, "end when the last client that joined is gone")
	flags.DurationVar(&f.linger, "autoexit-linger", defaultLinger, "time that --autoexit waits for somebody to come back")
	flags.BoolVar(&f.allowOther, "allow-other", false, "let in other users: those who may read the database")
	flags.BoolVar(&f.debug, "debug", false, "log more, and serve .wcfs/debug/")
	flags.BoolVar(&f.traceFUSE, "trace.fuse", false, "log every FUSE message")
	flags.StringVar(&f.logFile, "log-file", "", "append the log to this file")
	f.observe.add(cmd)
	for _, f := range glogFlags {
		flags.AddGoFlag(flag.CommandLine.Lookup(f.name))
		flags.Lookup(f.name).Usage = f.usage
	}
}

func checkServeArgs(cmd *cobra.Command, f *serveFlags, args []string) error {
	if f.legacy && len(args) != 2 {
		return &usageError{msg: fmt.Sprintf("expected 2 arguments, got %d", len(args)), text: "Usage: wcfs [OPTIONS] zurl mntpt"}
	}
	if len(args) < 1 || len(args) > 2 {
		return &usageError{msg: fmt.Sprintf("%s: expected DATABASE [MOUNTPOINT], got %d arguments", cmd.Name(), len(args)),
			text: "Usage: wcfs " + cmd.Use}
	}
	for _, arg := range args {
		if arg == "" {
			return &usageError{msg: cmd.Name() + ": DATABASE and MOUNTPOINT must not be empty"}
		}
	}
	if f.pinTimeout <= 0 {
		return usagef("%s: -pintimeout must be positive, got %s", cmd.Name(), f.pinTimeout)
	}
	if f.viewIdle < server.MinViewIdle {
		return usagef("%s: --view-idle must be at least %s, got %s", cmd.Name(), server.MinViewIdle, f.viewIdle)
	}
	if f.away <= 0 {
		return usagef("%s: --storage-timeout must be positive, got %s", cmd.Name(), f.away)
	}
	if f.poll < time.Millisecond || f.poll > postgresql.MaxPoll {
		return usagef("%s: --poll must be between 1ms and %s, got %s", cmd.Name(), postgresql.MaxPoll, f.poll)
	}
	if f.linger < 0 {
		return usagef("%s: --autoexit-linger must not be negative, got %s", cmd.Name(), f.linger)
	}
	return f.observe.check(cmd)
}

func serve(cmd *cobra.Command, f *serveFlags, args []string) error {
	isTerminal := term.IsTerminal(int(os.Stderr.Fd()))
	var back *background
	if f.background {
		back = newBackground()
	}
	out, err := openLog(cmd, f)
	if err != nil {
		return err
	}
	defer out.Close()
	if back != nil {
		args[0] = wholeURL(args[0])
	}
	opt, err := serveOptions(f, args)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(cmd.Context())
	defer cancel()
	var last *control.LastWords
	switch {
	case back != nil:
		opt.OnReady = func(dir string) {
			out.LeaveStderr()
			last = control.Serving(dir, storage.Redact(opt.ZURL), f.logFile)
			if err := back.ready(dir); err != nil {
				glog.Errorf("whoever started this is gone: %s", err)
				cancel()
			}
		}
	case isTerminal:
		opt.OnReady = func(dir string) {
			terminal.Say("serving %s\n      at %s; stop with Ctrl-C", terminal.Line(storage.Redact(opt.ZURL)), terminal.Line(dir))
		}
	}
	runtime.GOMAXPROCS(max(minProcs, runtime.GOMAXPROCS(0)))
	err = server.Run(ctx, opt)
	if last != nil {
		last.End(err, fault.Exit(err))
	}
	return err
}

// openLog makes glog write to stderr or to the log file, unless the user wants the files of
// glog. Those in the temporary directory, glog's own default, are where nobody looks.
func openLog(cmd *cobra.Command, f *serveFlags) (*logging.Output, error) {
	flags := cmd.Flags()
	if dir := flags.Lookup("log_dir"); dir.Changed {
		if err := unix.Access(dir.Value.String(), unix.W_OK|unix.X_OK); err != nil {
			return nil, usagef("%s: -log_dir %s: %s", cmd.Name(), dir.Value, err)
		}
	} else if !flags.Changed("logtostderr") {
		_ = flag.Set("logtostderr", "true")
	}
	if f.debug && !flags.Changed("v") {
		_ = flag.Set("v", "1")
	}
	// With --background mount hands on what goes wrong at the start.
	out, err := logging.Open(logging.Options{File: expandHome(f.logFile), Both: f.background, Journal: os.Getenv("JOURNAL_STREAM")})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", cmd.Name(), err)
	}
	return out, nil
}

// serveOptions turns the command line into what the server understands.
func serveOptions(f *serveFlags, args []string) (server.Options, error) {
	zurl, err := opener().URL(args[0])
	if err != nil {
		return server.Options{}, err
	}
	opt := server.Options{
		ZURL:       zurl,
		Drivers:    database.Drivers(),
		Storage:    opener().Options(),
		PinTimeout: f.pinTimeout,
		ViewIdle:   f.viewIdle,
		Debug:      f.debug,
		AllowOther: f.allowOther,
		AutoExit:   f.autoExit,
		Linger:     f.linger,
		TraceFUSE:  f.traceFUSE,
		Naming:     func(ctx context.Context, db storage.Loader) server.Naming { return naming.New(ctx, db) },
	}
	opt.Storage.Timeout, opt.Storage.Poll = f.away, f.poll
	if f.wait {
		opt.Storage.Wait = storage.Forever
	}
	if err := f.observe.fill(&opt); err != nil {
		return server.Options{}, err
	}
	if len(args) == 2 {
		opt.Mountpoint, opt.CreateMountpoint = expandHome(args[1]), f.make
		return opt, nil
	}
	opt.CreateMountpoint = true
	opt.Mountpoint, err = choosePoint(zurl)
	return opt, err
}

// choosePoint returns where the database is mounted if the user does not say. If it
// is not where clients of other programs look, that is said.
func choosePoint(zurl string) (string, error) {
	dir, foreign, err := mount.Choose(zurl)
	if foreign != "" {
		terminal.Say("the usual place is not free: %s; using %s, where only this program and its Go clients look",
			terminal.Line(foreign), dir)
	}
	return dir, err
}
