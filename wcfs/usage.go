package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/wcfs/wcfs/internal/zodb/fault"
)

// usageError says that the command line is wrong.
type usageError struct {
	msg  string
	text string // printed after the message; may be empty
}

func (e *usageError) Error() string    { return e.msg }
func (e *usageError) Kind() fault.Kind { return fault.Usage }

func usagef(format string, args ...any) error { return &usageError{msg: fmt.Sprintf(format, args...)} }

// wantArgs returns what refuses any other number of arguments than n, which are what, and
// then what check refuses.
func wantArgs(n int, what string, check ...func(*cobra.Command) error) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != n {
			return wrongArgs(cmd, what, args)
		}
		for _, check := range check {
			if err := check(cmd); err != nil {
				return err
			}
		}
		return nil
	}
}

func wrongArgs(cmd *cobra.Command, what string, args []string) error {
	return &usageError{msg: fmt.Sprintf("%s: expected %s, got %d arguments", cmd.Name(), what, len(args)), text: "Usage: wcfs " + cmd.Use}
}

// noArgs refuses arguments.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return &usageError{msg: fmt.Sprintf("%s: expected no arguments, got %d", cmd.Name(), len(args)), text: "Usage: wcfs " + cmd.Use}
	}
	return nil
}

// addAt gives a command the option that names a view.
func addAt(cmd *cobra.Command, at *string) {
	cmd.Flags().StringVar(at, "at", "", "`VIEW`: a tid, a time (the last transaction shown with it), or a time ago such as -5m (default: now)")
}
