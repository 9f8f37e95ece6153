// Command wcfs serves the big arrays of a ZODB database as plain files.
//
//	wcfs COMMAND ...                 see: wcfs --help
//	wcfs [OPTIONS] ZURL MOUNTPOINT   wcfs serve, in the form wendelin.core starts
//	mount.wcfs ZURL MOUNTPOINT ...   wcfs mount, in the form mount(8) starts
//
// This package only parses the command line, calls internal/..., and turns an
// error into one line on stderr and an exit code. It is the only place that
// reads flags and the environment, and that ends the process.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/wcfs/wcfs/internal/serve/manual"
	"github.com/wcfs/wcfs/internal/serve/mount"
	"github.com/wcfs/wcfs/internal/serve/terminal"
	"github.com/wcfs/wcfs/internal/zodb/fault"
)

func main() { os.Exit(run(os.Args[0], os.Args[1:])) }

// run executes one command and returns the exit code.
func run(name string, args []string) int {
	if len(args) == 3 && args[0] == mount.ProbeCommand {
		return mount.Probe(args[1], args[2], os.Stdout) // a child of ours
	}
	// glog keeps its settings in the global flag set. The ones that we adopt
	// are parsed with our own flags; this call only tells glog that parsing
	// was done.
	_ = flag.CommandLine.Parse(nil)

	ctx, stop := signal.NotifyContext(context.Background(), endSignals()...)
	// A second signal ends the process at once. It is not stopped otherwise: a signal
	// that comes when all is done must not make a failure of it.
	context.AfterFunc(ctx, stop)

	err := orInterrupted(ctx, execute(ctx, name, args))
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, "wcfs:", terminal.Error(err))
	var usage *usageError
	if errors.As(err, &usage) && usage.text != "" {
		fmt.Fprintln(os.Stderr, terminal.Harmless(usage.text))
	}
	return fault.Exit(err)
}

// execute executes one command, or what mount(8) wants when it calls by that
// name.
func execute(ctx context.Context, name string, args []string) error {
	if isMountHelper(name) {
		args, fake, err := helperArgs(args)
		if err != nil || fake {
			return err
		}
		return asMount(executeArgs(ctx, args))
	}
	return executeArgs(ctx, args)
}

func executeArgs(ctx context.Context, args []string) error {
	root := newRoot()
	root.SetArgs(withCommand(root, args))
	return root.ExecuteContext(ctx)
}

// endSignals are what asks us to end. The terminal that goes away does, unless
// nohup(1) says otherwise.
func endSignals() []os.Signal {
	signals := []os.Signal{syscall.SIGINT, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		signals = append(signals, syscall.SIGHUP)
	}
	return signals
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "wcfs",
		Short: "Serve the big arrays of a ZODB database as plain files",
		Long: `wcfs mounts a ZODB database: every ZBigFile in it is a plain file that any
program can read or map into memory, as of now and as of any past transaction.`,
		Example: `  wcfs demo                               # what this is for, in ten seconds
  wcfs import temperature.npy data.fs temperature
  wcfs mount data.fs /mnt/data            # in the background
  cat /mnt/data/head/at                   # the newest transaction
  wcfs ls data.fs                         # which file is which array
  wcfs stop /mnt/data`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return &usageError{msg: "a command is missing", text: "see: wcfs --help"}
			}
			return &usageError{msg: fmt.Sprintf("unknown command %q", args[0]), text: suggest(cmd, args[0])}
		},
		Run: func(*cobra.Command, []string) {},
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.Version = version()
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &usageError{msg: err.Error(), text: "see: " + cmd.CommandPath() + " --help"}
	})
	addGroup(root, "Servers:", newServe(), newMount(), newList(), newStatus(), newTop(), newStop())
	addGroup(root, "Databases:", newImport(), newExport(), newLs(), newLog(), newDiff(), newCat(), newCheck(), newMv(), newRm())
	addGroup(root, "More:", newDemo(), newVersion())
	root.SetHelpCommand(newHelp(root))
	root.SetHelpCommandGroupID("More:")
	root.AddCommand(&cobra.Command{
		Use:    "__man DIR",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE:   func(_ *cobra.Command, args []string) error { return manual.Write(args[0], root) },
	})
	return root
}

// addGroup adds commands that belong together in the help.
func addGroup(root *cobra.Command, title string, commands ...*cobra.Command) {
	root.AddGroup(&cobra.Group{ID: title, Title: title})
	for _, cmd := range commands {
		cmd.GroupID, cmd.DisableFlagsInUseLine = title, true
		root.AddCommand(cmd)
	}
}

// withCommand returns args with "serve" put before them when they are of the
// form that names no command: wcfs [OPTIONS] ZURL MOUNTPOINT. Options of serve
// and mount may be written with one dash, as Go programs do.
func withCommand(root *cobra.Command, args []string) []string {
	serve, _, _ := root.Find([]string{"serve"})
	if len(args) > 0 && (args[0] == serve.Name() || args[0] == "mount") {
		return append([]string{args[0]}, doubleDashes(serve, args[1:])...)
	}
	if len(args) == 1 && isVersionFlag(args[0]) { // with more, -v is the one of serve
		return []string{"--version"}
	}
	if !isLegacy(root, args) {
		return doubleDashes(root, args)
	}
	return append([]string{serve.Name(), "--" + legacyFlag}, doubleDashes(serve, args)...)
}

// isLegacy reports whether args name no command. A lone word that looks like
// neither a url nor a path is taken for a misspelt command.
func isLegacy(root *cobra.Command, args []string) bool {
	if len(args) == 0 {
		return false
	}
	switch first := args[0]; {
	case first == "-h", first == "-help", first == "--help", first == "--version", first == "-version":
		return false
	case strings.HasPrefix(first, "-"):
		return true
	default:
		command, _, err := root.Find(args[:1])
		known := err == nil && command != root || first == "help" || strings.HasPrefix(first, "__complete") || first == "completion"
		return !known && strings.ContainsAny(first, ":/.~")
	}
}

// isVersionFlag reports whether arg is how some programs are asked for their version.
func isVersionFlag(arg string) bool { return arg == "-v" || arg == "-V" }

// newHelp returns the command that shows the help of another one.
func newHelp(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:                   "help [COMMAND]",
		Short:                 "Help about any command",
		DisableFlagsInUseLine: true,
		RunE: func(_ *cobra.Command, args []string) error {
			cmd, rest, err := root.Find(args)
			if err != nil || len(rest) > 0 {
				return &usageError{msg: fmt.Sprintf("help: unknown command %q", args[0]), text: suggest(root, args[0])}
			}
			cmd.InitDefaultHelpFlag()
			cmd.InitDefaultVersionFlag()
			return cmd.Help()
		},
	}
}

// doubleDashes spells the long options of cmd in args with two dashes.
func doubleDashes(cmd *cobra.Command, args []string) []string {
	out := make([]string, 0, len(args))
	for i, arg := range args {
		if arg == "--" {
			return append(out, args[i:]...)
		}
		if strings.HasPrefix(arg, "-") && !strings.HasPrefix(arg, "--") {
			name, _, _ := strings.Cut(arg[1:], "=")
			if name == "help" || name == "version" || len(name) > 1 && cmd.Flags().Lookup(name) != nil {
				arg = "-" + arg
			}
		}
		out = append(out, arg)
	}
	return out
}

// suggest names the commands that a misspelt one may have meant.
func suggest(root *cobra.Command, word string) string {
	for _, cmd := range root.Commands() {
		if slices.Contains(cmd.SuggestFor, word) { // not mount for umount
			return "did you mean: wcfs " + cmd.Name()
		}
	}
	root.SuggestionsMinimumDistance = 2
	if names := root.SuggestionsFor(word); len(names) > 0 {
		return "did you mean: wcfs " + strings.Join(names, ", wcfs ")
	}
	return "see: wcfs --help"
}
