package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"time"
)

const (
	// MinCommits is how many commits the story needs: some before the client
	// moves forward, and one after.
	MinCommits = 3

	// MaxCommits is how many fit: numbers of commits have two digits, and a
	// demo must not fill the disk.
	MaxCommits = 60
)

// Options says what to show, and how.
type Options struct {
	Out      io.Writer
	Styled   bool          // Out is a terminal that may be sent bold and faint text
	Commits  int           // after the one that makes the array; MinCommits to MaxCommits
	Interval time.Duration // between them
	Keep     bool          // leave the database
	Program  string        // what people type for wcfs, for the commands to try next

	// Serve returns the command that serves a database on an empty directory,
	// until SIGINT or until the last client is gone: so the server ends as it
	// should also when this process is killed. (A signal at the death of its
	// parent would come once for each thread of that; the second one kills.)
	// What it logs, and "wcfs: ..." if it fails, goes to stderr.
	Serve func(database, dir string) *exec.Cmd
}

// Run shows the demo. It ends by itself, or early with ctx, and leaves nothing
// but the database if that was asked for.
//
// Errors: *WrongError, that of the server, which has the kind that its exit code says,
// those of zwrite, of Out, of the operating system, and the cause of ctx.
func Run(ctx context.Context, opt Options) error {
	place, err := makePlace()
	if err != nil {
		return err
	}
	screen := &screen{out: opt.Out, styled: opt.Styled}
	sum, err := runIn(ctx, place, screen, opt)
	err = errors.Join(err, place.remove(opt.Keep))
	if err == nil {
		screen.summary(sum)
	}
	switch {
	case opt.Keep:
		screen.kept(place.database)
	case err == nil:
		screen.removed()
	}
	if err != nil {
		return err
	}
	screen.next(opt, place.database)
	return screen.err
}

// runIn makes the database, serves it, and tells the story.
func runIn(ctx context.Context, place *place, screen *screen, opt Options) (sum summary, err error) {
	w, first, err := createDatabase(ctx, place.database)
	if err != nil {
		return sum, stopped(ctx, err)
	}
	defer func() { err = errors.Join(err, w.close()) }()
	serving, ended := context.WithCancelCause(ctx)
	defer ended(nil)
	server, err := startServer(serving, opt.Serve(place.database, place.point), place.point, ended)
	if err != nil {
		return sum, err
	}
	defer func() { err = errors.Join(err, server.stop()) }()
	s := &story{opt: opt, screen: screen, writer: w, first: first}
	err = s.tell(serving, server)
	return s.sum, stopped(ctx, err)
}

// stopped puts the end of ctx in place of what failed because of that.
func stopped(ctx context.Context, err error) error {
	if err == nil || ctx.Err() == nil {
		return err
	}
	return fmt.Errorf("stopped before the end: %w", context.Cause(ctx))
}
