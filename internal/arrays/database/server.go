package database

import (
	"context"
	"errors"
	"os"
	"syscall"

	"golang.org/x/term"

	"github.com/wcfs/wcfs/internal/serve/terminal"
	"github.com/wcfs/wcfs/internal/zodb/fault"
	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/internal/zodb/zeo"
	"github.com/wcfs/wcfs/internal/zodb/zwrite"
)

// server is a database behind a server that is written to.
type server struct {
	cfg    zeo.Config
	client *zwrite.Client
	wait   *terminal.Progress // while the server has not committed; nil: it has not taken long yet
}

// server returns the database behind a server that a person named, nil if it is
// another one.
func (o Opener) server(arg string, w WriteOptions) (*server, error) {
	zurl, err := o.URL(arg)
	if err != nil {
		return nil, err
	}
	u, err := storage.ParseURL(zurl)
	if err != nil || u.Scheme != "zeo" {
		return nil, nil // who looks for a file says what is wrong
	}
	if w.Create {
		return nil, &fault.Error{Kind: fault.Usage, Msg: w.Verb + ": --create makes a file", Hint: "the database of a server is made by the server"}
	}
	cfg, err := zeo.ParseForWriting(u)
	if err != nil {
		return nil, err
	}
	return &server{cfg: cfg}, nil
}

// open connects.
func (s *server) open(ctx context.Context) (err error) {
	s.client, err = zwrite.Connect(ctx, zeo.DialWriter(s.cfg), zwrite.ClientOptions{Wait: s.cfg.Wait, Waiting: s.waiting})
	return err
}

// waiting says to a person what keeps an import that has sent everything.
func (s *server) waiting() {
	if !term.IsTerminal(int(os.Stderr.Fd())) {
		return
	}
	if s.wait == nil {
		s.wait = terminal.NewProgress("the server commits, or waits for a commit of somebody else", -1)
	}
	s.wait.Redraw()
}

// close ends the connection and returns the error of the import.
func (s *server) close(verb string, err error) error {
	if s.wait != nil {
		s.wait.Done()
	}
	_ = s.client.Close() // what was committed is
	if err != nil {
		err = NothingWritten(verb, err)
	}
	return err
}

// onServer returns what to do about an error of a server, to be put behind others.
func onServer(err error) string {
	switch {
	case errors.Is(err, syscall.ENOSPC):
		return "; make room where the server runs, and try again"
	case errors.Is(err, syscall.EDQUOT):
		return "; the storage of the server, or its user there, has a quota: make room, or raise it"
	case errors.As(err, new(*zwrite.LostError)):
		return "; the log of the server may say why"
	}
	return ""
}

// ofServer reports whether an error came from a server, or from the connection to it.
func ofServer(err error) bool {
	return errors.As(err, new(*zeo.ServerError)) || errors.As(err, new(*zwrite.LostError))
}
