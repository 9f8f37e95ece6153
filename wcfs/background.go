package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/wcfs/wcfs/internal/serve/control"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// zurlEnv is the variable that has the url of the database if there are secrets in it, of
// which the arguments have what may be seen: of servers that mount starts, and of all
// commands that clients run.
const zurlEnv = "WCFS_ZURL"

// wholeURL returns the url that mount was given, of which shown is what may be seen.
func wholeURL(shown string) string {
	whole, ok := os.LookupEnv(zurlEnv)
	_ = os.Unsetenv(zurlEnv) // programs that we execute need it not
	if !ok || storage.Redact(whole) != shown {
		return shown
	}
	return whole
}

// background is a server that mount has started: it tells when it is ready, and
// then lets go of the terminal.
type background struct{ to *os.File }

// newBackground takes the descriptor that mount has given us. Programs that we
// execute must not have it, since mount waits for its end.
func newBackground() *background {
	unix.CloseOnExec(control.ReadyFD)
	return &background{os.NewFile(control.ReadyFD, "ready")}
}

// ready tells that dir is served. It fails if nobody waits for that any more.
func (b *background) ready(dir string) error {
	defer b.to.Close()
	_, err := fmt.Fprintln(b.to, dir)
	return err
}
