package control

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/wcfs/wcfs/internal/serve/mount"
	"github.com/wcfs/wcfs/internal/serve/proc"
	"github.com/wcfs/wcfs/internal/zodb/fault"
)

// Check is one thing that was looked at.
type Check struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"` // what was seen
}

// Report says how a server is.
type Report struct {
	Summary
	Device string  `json:"device"` // of the mount, MAJOR:MINOR
	Checks []Check `json:"checks"` // in order, up to the first question that failed
	Dump   *Dump   `json:"dump"`   // null unless the server is stuck
}

// Examine finds out how a server is. It takes at most the limit of the prober for
// the first question that is not answered, and some seconds to look at the
// processes that wait.
func Examine(ctx context.Context, prober mount.Prober, s Server) Report {
	r := Report{Device: fmt.Sprintf("%d:%d", s.Major, s.Minor)}
	s.State = StateOK
	r.add("mount entry", fmt.Sprintf("%s (%s): %s", s.Dir, r.Device, s.Summary().ZURL), nil)
	detail, err := s.Process()
	r.add("wcfs server", detail, err)
	if err != nil {
		s.State = StateFailing
	}
	for _, question := range questions {
		detail, err := question.ask(ctx, prober, &s)
		if question.name == ofServer && detail == "" && err == nil {
			continue // it has none
		}
		r.add(question.name, detail, err)
		if err != nil {
			s.State = StateOf(err)
			break
		}
	}
	if s.State == StateStuck {
		r.Dump = NewDump(s)
	}
	r.Summary = s.Summary()
	return r
}

func (r *Report) add(name, detail string, err error) {
	if err != nil {
		detail = err.Error()
	}
	r.Checks = append(r.Checks, Check{Name: name, OK: err == nil, Detail: detail})
}

// questions are asked of the mount, in this order.
var questions = []struct {
	name string
	ask  func(context.Context, mount.Prober, *Server) (detail string, err error)
}{
	{"stat mountpoint", askDevice},
	{"read .wcfs/stats", func(ctx context.Context, prober mount.Prober, s *Server) (string, error) {
		_, err := prober.Read(ctx, filepath.Join(s.Dir, ".wcfs", "stats"))
		return "", err
	}},
	{"read head/at", func(ctx context.Context, prober mount.Prober, s *Server) (string, error) {
		at, _, err := s.Ask(ctx, prober)
		return at, err
	}},
	{ofServer, func(ctx context.Context, prober mount.Prober, s *Server) (string, error) {
		return s.AskDatabase(ctx, prober)
	}},
}

// ofServer is the question for the server of the database.
const ofServer = "database"

func askDevice(ctx context.Context, prober mount.Prober, s *Server) (string, error) {
	dev, err := prober.Stat(ctx, s.Dir)
	if err == nil && dev != s.Device() {
		err = fmt.Errorf("%s is on device %#x, not on that of the mount: something is mounted on top of it", s.Dir, dev)
	}
	return "", err
}

// Process says how the process of the server is.
func (s *Server) Process() (detail string, err error) {
	if s.PID == 0 {
		if !s.mayControl() {
			return fmt.Sprintf("of %s, cannot be seen", mount.UserName(s.UID)), nil
		}
		return "", errors.New("no process serves this mount")
	}
	detail = fmt.Sprintf("pid %d", s.PID)
	if !s.Started.IsZero() {
		detail += ", up " + time.Since(s.Started).Truncate(time.Second).String()
	}
	switch state := proc.State(s.PID); state {
	case "T", "t":
		return "", fmt.Errorf("%s, is stopped (state %s); let it go on: kill -CONT %d", detail, state, s.PID)
	case "Z", "X", "":
		return "", fmt.Errorf("%s, has ended", detail)
	}
	return detail, nil
}

// Err returns what is wrong with the server, nil if nothing is. It is a *fault.Error.
func (r *Report) Err() error {
	switch r.State {
	case StateOK:
		return nil
	case StateStuck:
		return &fault.Error{Kind: fault.Stuck, Msg: r.Mountpoint + ": the server does not answer", Hint: "stop it: wcfs stop " + r.Mountpoint}
	case StateDead:
		return &fault.Error{Kind: fault.NotRunning, Msg: r.Mountpoint + ": the server is dead, its mount is left",
			Hint: "start it again, or clean up: wcfs stop " + r.Mountpoint}
	case StateDisconnected:
		return &fault.Error{Msg: r.Mountpoint + ": the server of the database is away", Hint: "nothing is to be done here: it is tried again all the time"}
	case StatePrivate:
		return &fault.Error{Msg: fmt.Sprintf("%s: the server there belongs to %s, and answers nobody else", r.Mountpoint, mount.UserName(r.UID))}
	}
	return &fault.Error{Msg: r.Mountpoint + ": the server is not as it should be"}
}
