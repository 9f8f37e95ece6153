package main

import (
	"context"
	"errors"
	"os"
)

// errInterrupted is what a command that a signal ended says. Its work until then
// does not matter.
var errInterrupted = errors.New("interrupted")

// orInterrupted returns err, or errInterrupted if the end of ctx is its cause.
func orInterrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, os.ErrDeadlineExceeded)) {
		return errInterrupted
	}
	return err
}
