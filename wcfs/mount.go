package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/wcfs/wcfs/internal/serve/control"
	"github.com/wcfs/wcfs/internal/serve/mount"
	"github.com/wcfs/wcfs/internal/serve/terminal"
	"github.com/wcfs/wcfs/internal/zodb/fault"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

const (
	// probeLimit is how long a mount may take to answer a question.
	probeLimit = 5 * time.Second

	// startWait is how long mount waits for a server that somebody else starts at
	// the same time.
	startWait = 30 * time.Second
)

func newMount() *cobra.Command {
	var f serveFlags
	cmd := &cobra.Command{
		Use:   "mount [OPTIONS] DATABASE [MOUNTPOINT]",
		Short: "Start a server in the background",
		Long: `Mount DATABASE on MOUNTPOINT as wcfs serve does, but in the background. The command returns when the mount has answered, and prints where it
is. If the server cannot start, its error and its exit code are those of this
command, and nothing of it is left.

There is one server for a database at a mount point, and so one at the usual place:
if it runs already, also because of another start at the same time, its place is
printed and the exit code is 3.

Once the server runs its log goes to --log-file or -log_dir, and nowhere if
neither is given.

` + fault.Help(),
		Example: `  wcfs mount data.fs
  wcfs mount --log-file /var/log/wcfs.log file:///srv/data.fs /mnt/data
  wcfs stop data.fs`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkServeArgs(cmd, &f, args); err != nil {
				return err
			}
			return startServer(cmd, &f, args)
		},
	}
	addServeFlags(cmd, &f)
	return cmd
}

func startServer(cmd *cobra.Command, f *serveFlags, args []string) error {
	opt, err := startOptions(cmd, f, args)
	if err != nil {
		return err
	}
	err = control.Start(cmd.Context(), opt)
	if err == nil || fault.Is(err, fault.Running) {
		fmt.Println(terminal.ForPeople(os.Stdout, opt.Dir))
	}
	if err == nil && f.logFile == "" && !cmd.Flags().Changed("log_dir") && term.IsTerminal(int(os.Stderr.Fd())) {
		fmt.Fprintln(os.Stderr, "wcfs: it serves in the background and logs nothing (see --log-file); stop with: wcfs stop", terminal.Line(opt.Dir))
	}
	return err
}

func startOptions(cmd *cobra.Command, f *serveFlags, args []string) (opt control.StartOptions, err error) {
	served, err := serveOptions(f, args)
	if err != nil {
		return opt, err
	}
	dir, err := filepath.Abs(served.Mountpoint)
	if err == nil {
		dir, err = control.RealDir(dir)
	}
	if err != nil {
		return opt, fmt.Errorf("mount point %s: %w", served.Mountpoint, err)
	}
	exe, err := os.Executable()
	if err != nil {
		return opt, fmt.Errorf("find the program to start: %w", err)
	}
	// Clients know a server by its last two arguments, which everybody can see.
	line := append([]string{"serve", "--" + backgroundFlag}, sameFlags(cmd)...)
	if served.CreateMountpoint {
		line = append(line, "--"+makeFlag)
	}
	shown := storage.Redact(served.ZURL)
	var env []string
	if shown != served.ZURL {
		env = []string{zurlEnv + "=" + served.ZURL}
	}
	return control.StartOptions{
		Exe:    exe,
		Args:   append(line, "--", shown, dir),
		Env:    env,
		ZURL:   served.ZURL,
		Dir:    dir,
		Prober: prober(),
		Wait:   startWait,
		Words:  terminal.Writer{To: os.Stderr},
	}, nil
}

// sameFlags returns the flags that cmd was given. Paths come without relation to
// the current directory, which a server in the background does not keep.
func sameFlags(cmd *cobra.Command) (flags []string) {
	cmd.Flags().Visit(func(flag *pflag.Flag) {
		value := flag.Value.String()
		switch flag.Name {
		case "log-file", "log_dir":
			value = absolute(value)
		case "metrics", "pprof":
			if path, ok := strings.CutPrefix(value, "unix:"); ok {
				value = "unix:" + absolute(path)
			}
		}
		flags = append(flags, "--"+flag.Name+"="+value)
	})
	return flags
}

// absolute returns path without relation to the current directory, if it is one.
func absolute(path string) string {
	if abs, err := filepath.Abs(expandHome(path)); err == nil && path != "" {
		return abs
	}
	return path
}

// prober asks mounts questions through children that run this program.
func prober() mount.Prober { return mount.Prober{Limit: probeLimit} }
