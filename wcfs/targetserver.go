package main

import (
	"context"
	"errors"
	"os"
	"syscall"

	"golang.org/x/term"

	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/internal/zodb/zeo"
	"github.com/wcfs/wcfs/internal/zodb/zwrite"
)

// serverTarget is a database behind a server that is written to.
type serverTarget struct {
	cfg    zeo.Config
	client *zwrite.Client
	wait   *progress // while the server has not committed; nil: it has not taken long yet
}

// parseServer returns the database behind a server that a person named, nil if it is
// another one.
func parseServer(arg string, f *importFlags) (*serverTarget, error) {
	zurl, err := resolveURL(arg)
	if err != nil {
		return nil, err
	}
	u, err := storage.ParseURL(zurl)
	if err != nil || u.Scheme != "zeo" {
		return nil, nil // who looks for a file says what is wrong
	}
	if f.create {
		return nil, &usageError{msg: "import: --create makes a file; the database of a server is made by the server"}
	}
	cfg, err := zeo.ParseForWriting(u)
	if err != nil {
		return nil, err
	}
	return &serverTarget{cfg: cfg}, nil
}

// open connects.
func (s *serverTarget) open(ctx context.Context) (err error) {
	s.client, err = zwrite.Connect(ctx, zeo.DialWriter(s.cfg), zwrite.ClientOptions{Wait: s.cfg.Wait, Waiting: s.waiting})
	return err
}

// waiting says to a person what keeps an import that has sent everything.
func (s *serverTarget) waiting() {
	if !term.IsTerminal(int(os.Stderr.Fd())) {
		return
	}
	if s.wait == nil {
		s.wait = newProgress("the server commits, or waits for a commit of somebody else", -1)
	}
	s.wait.Redraw()
}

// close ends the connection and returns the error of the import.
func (s *serverTarget) close(err error) error {
	if s.wait != nil {
		s.wait.Done()
	}
	_ = s.client.Close() // what was committed is
	if err != nil {
		err = nothingWritten(err)
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
	case is[*zwrite.LostError](err):
		return "; the log of the server may say why"
	}
	return ""
}
