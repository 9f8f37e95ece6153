package control

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/wcfs/wcfs/internal/serve/mount"
	"github.com/wcfs/wcfs/internal/serve/proc"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// State says how a server is, in one word.
type State string

const (
	StateOK      State = "ok"
	StateDead    State = "dead"    // the process is gone, its mount is left
	StateStuck   State = "stuck"   // it does not answer
	StatePrivate State = "private" // only another user can ask it
	StateFailing State = "failing" // it answers, but wrongly

	// The server of its database is away.
	StateDisconnected State = "disconnected"
)

// Server is a mount of wcfs and the process that serves it.
type Server struct {
	mount.Entry
	PID     int       // 0 if the process is gone or cannot be seen
	Started time.Time // of the process; zero if that is not known
	State   State

	start string // of the process; see fuseProcess
}

// Servers returns the mounts of all servers of the host, and their processes as
// far as they can be seen. Nothing is asked of them: State is not set.
func Servers() ([]Server, error) {
	entries, err := mount.List()
	if err != nil || len(entries) == 0 {
		return nil, err
	}
	processes := fuseProcesses()
	now, err := mount.List()
	if err != nil {
		return nil, err
	}
	return processes.serversOf(entries, now), nil
}

// serversOf returns the mounts of before, with their processes, that are there after the
// processes were found, too. The kernel gives the number of a mount that has gone to the
// next one, so that the process which was found by that number may serve the next one.
func (list fuseProcessList) serversOf(before, after []mount.Entry) (servers []Server) {
	for _, e := range before {
		if isIn(after, e) {
			p := list.serving(e)
			servers = append(servers, Server{Entry: e, PID: p.pid, Started: proc.StartTime(p.pid), start: p.start})
		}
	}
	return servers
}

// isIn reports whether a table of mounts has e.
func isIn(table []mount.Entry, e mount.Entry) bool {
	return slices.ContainsFunc(table, func(o mount.Entry) bool {
		return o.Device() == e.Device() && o.Source == e.Source && slices.Contains(o.Places(), e.Dir)
	})
}

// List returns all servers of the host with their states. It takes no longer
// than the limit of the prober for each question, all being asked together.
func List(ctx context.Context, prober mount.Prober) ([]Server, error) {
	servers, err := Servers()
	if err != nil {
		return nil, err
	}
	var asking sync.WaitGroup
	for i := range servers {
		asking.Go(func() {
			if _, servers[i].State, _ = servers[i].Ask(ctx, prober); servers[i].State != StateOK {
				return
			}
			if _, err := servers[i].AskDatabase(ctx, prober); err != nil {
				servers[i].State = StateOf(err)
			}
		})
	}
	asking.Wait()
	return servers, ctx.Err()
}

// Summary is what is told about a server, without secrets.
type Summary struct {
	Mountpoint string     `json:"mountpoint"`
	ZURL       string     `json:"zurl"`
	PID        int        `json:"pid"`     // 0 if the process is gone or cannot be seen
	UID        int        `json:"uid"`     // owner of the mount, -1 if not known
	Started    *time.Time `json:"started"` // null if not known
	State      State      `json:"state"`
}

// Summary returns what is told about the server.
func (s *Server) Summary() Summary {
	sum := Summary{Mountpoint: s.Dir, ZURL: storage.Redact(s.Source), PID: s.PID, UID: s.UID, State: s.State}
	if !s.Started.IsZero() {
		sum.Started = &s.Started
	}
	return sum
}

// Ask asks the server for the newest transaction, which no cache of the kernel
// can answer. It is not asked for its .wcfs/zurl: whoever opens that is a client,
// and a server may end when the last client leaves.
func (s *Server) Ask(ctx context.Context, prober mount.Prober) (at string, state State, err error) {
	content, err := prober.Read(ctx, filepath.Join(s.Dir, "head", "at"))
	if err != nil {
		return "", StateOf(err), err
	}
	at = strings.TrimSpace(string(content))
	if _, ok := storage.ParseID(at); !ok {
		return "", StateFailing, fmt.Errorf("head/at says %.40q: something else is mounted there", at)
	}
	return at, StateOK, nil
}

// AskDatabase asks the server whether that of its database is connected, "" if it has
// none. The error is an awayError if it is not.
func (s *Server) AskDatabase(ctx context.Context, prober mount.Prober) (detail string, err error) {
	content, err := prober.Read(ctx, filepath.Join(s.Dir, ".wcfs", "storage"))
	if errors.Is(err, syscall.ENOENT) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	detail = strings.TrimSpace(string(content))
	if first, _, _ := strings.Cut(detail, "\n"); first != storage.Connected {
		return "", &awayError{detail}
	}
	return detail, nil
}

// awayError says that the server of a database is not connected.
type awayError struct{ text string }

func (e *awayError) Error() string { return e.text }

// StateOf says what it means that a question was answered by err.
func StateOf(err error) State {
	var stuck *mount.StuckError
	var away *awayError
	switch {
	case errors.As(err, &stuck):
		return StateStuck
	case errors.As(err, &away):
		return StateDisconnected
	case errors.Is(err, syscall.ENOTCONN), errors.Is(err, syscall.ECONNABORTED):
		return StateDead
	case errors.Is(err, syscall.EACCES):
		return StatePrivate
	}
	return StateFailing
}

// serves reports whether the server is for the database zurl, in whatever
// spelling clients agree on.
func (s *Server) serves(zurl string) bool { return storage.SameDatabase(s.Source, zurl) }

// mayControl reports whether this process may end the server.
func (s *Server) mayControl() bool {
	return os.Geteuid() == 0 || s.isOurs()
}

// isOurs reports whether the server is of this user.
func (s *Server) isOurs() bool { return s.UID == os.Geteuid() }
