package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"

	"github.com/wcfs/wcfs/internal/serve/server"
)

// observeFlags say where to watch a server from, besides .wcfs/.
type observeFlags struct{ metrics, pprof string }

func (f *observeFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.metrics, "metrics", "", "answer /metrics, /healthz and /readyz by HTTP at `ADDR`, HOST:PORT or unix:PATH")
	flags.StringVar(&f.pprof, "pprof", "", "answer /debug/pprof/ by HTTP at `ADDR`; for those who may see all of the process")
}

// check returns what is wrong with the flags.
func (f *observeFlags) check(cmd *cobra.Command) error {
	_, err := address(f.metrics)
	if err != nil {
		return usagef("%s: --metrics: %s", cmd.Name(), err)
	}
	if _, err = address(f.pprof); err != nil {
		return usagef("%s: --pprof: %s", cmd.Name(), err)
	}
	return nil
}

// fill puts what the flags and the environment say into opt.
func (f *observeFlags) fill(opt *server.Options) (err error) {
	if opt.Metrics, err = address(f.metrics); err != nil {
		return err
	}
	if opt.PProf, err = address(f.pprof); err != nil {
		return err
	}
	opt.Supervisor, err = supervisor()
	return err
}

func address(text string) (*server.Address, error) {
	if text == "" {
		return nil, nil
	}
	if path, ok := strings.CutPrefix(text, "unix:"); ok {
		text = "unix:" + expandHome(path)
	}
	a, err := server.ParseAddress(text)
	return &a, err
}

// supervisor returns the service manager that the environment tells of. Without
// $NOTIFY_SOCKET it is told nothing.
func supervisor() (*server.Supervisor, error) {
	watchdog, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		return nil, fmt.Errorf("$WATCHDOG_USEC and $WATCHDOG_PID: %w", err)
	}
	return &server.Supervisor{Notify: notify, Watchdog: min(watchdog, time.Hour)}, nil
}

func notify(message string) error {
	_, err := daemon.SdNotify(false, message)
	return err
}
