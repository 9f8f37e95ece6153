package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wcfs/wcfs/internal/serve/mount"
	"github.com/wcfs/wcfs/internal/serve/proc"
	"github.com/wcfs/wcfs/internal/zodb/fault"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

const (
	// endPatience is how long ending a server that is not wanted any more may take.
	endPatience = 10 * time.Second

	// While a server starts it is looked at every readyPoll. It is given up when it
	// was found dead, but not gone, maxZombie times.
	readyPoll = 500 * time.Millisecond
	maxZombie = 4

	// sayPatience is how long a server may take to let go of what it says things
	// on, once it serves.
	sayPatience = time.Second

	// A start that lost against another one looks after firstRetry, and then
	// ever less often, whether that one serves.
	firstRetry = 50 * time.Millisecond
	lastRetry  = time.Second
)

// ReadyFD is the descriptor on which a server in the background says that it
// serves: by one line, its mount point.
const ReadyFD = 3

// StartOptions says what to start.
type StartOptions struct {
	Exe    string   // the program
	Args   []string // all its arguments; without secrets; it must serve ZURL on Dir
	Env    []string // of the environment, what it gets besides ours
	ZURL   string
	Dir    string // absolute, and without symbolic links: see RealDir
	Prober mount.Prober
	Wait   time.Duration // how long to wait for another start of the same server
	Words  io.Writer     // gets what the server says until it is ready, a line at a time
}

// Start starts a server in the background and returns when its mount answers.
// Else nothing is left of it. The server belongs to nobody then: it has a session
// of its own and nothing of ours.
//
// Errors are what the server said when it ended, with the kind of its exit code, and
// others: of kind Running if the database is served there already, also if that is the
// outcome of several starts at the same time; Stuck or Taken if the server that is
// there does not answer, or not to us.
func Start(ctx context.Context, opt StartOptions) error {
	deadline := time.Now().Add(opt.Wait)
	for retry := firstRetry; ; retry = min(2*retry, lastRetry) {
		if err := lookForServer(ctx, opt); err != nil {
			return err
		}
		err := launch(ctx, opt)
		if !fault.Is(err, fault.Mounted) || time.Now().After(deadline) || !otherStarts(opt) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("start %s: %w", opt.Dir, ctx.Err())
		case <-time.After(retry):
		}
	}
}

// RealDir resolves the symbolic links of dir, which must be absolute, without
// asking any mount of wcfs. At managed places there are none: what another user
// may have put there is not followed.
func RealDir(dir string) (string, error) {
	if mount.IsManaged(dir) {
		return dir, nil
	}
	servers, err := Servers()
	if err != nil {
		return "", err
	}
	return resolveLinks(dir, func(path string) bool { return isPlace(servers, path) }), nil
}

// lookForServer returns an error if the mount point has a server that is alive.
func lookForServer(ctx context.Context, opt StartOptions) error {
	s, ok, err := serverAt(opt.Dir)
	if err != nil || !ok {
		return err
	}
	if !s.isOurs() && s.UID >= 0 && !s.IsForAll() {
		return taken(s.Dir, storage.Redact(opt.ZURL), s.UID)
	}
	_, state, err := s.Ask(ctx, opt.Prober)
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("start %s: %w", opt.Dir, ctx.Err())
	case state == StateStuck:
		return &fault.Error{Kind: fault.Stuck, Msg: s.Dir + ": there is a server that does not answer", Err: err,
			Hint: "see wcfs status " + s.Dir + ", or stop it: wcfs stop " + s.Dir}
	case state == StatePrivate:
		return taken(s.Dir, storage.Redact(opt.ZURL), s.UID)
	case state == StateOK && s.serves(opt.ZURL) && opt.Prober.Condition(ctx, opt.Dir) == mount.Alive:
		return &fault.Error{Kind: fault.Running, Msg: "already running at " + s.Dir}
	}
	return nil // the server that we start waits, clears up, or says what is the matter
}

func taken(dir, zurl string, uid int) error {
	return &fault.Error{Kind: fault.Taken, About: dir,
		Msg:  fmt.Sprintf("the server there belongs to %s, and nobody else can use it", mount.UserName(uid)),
		Hint: "choose a mount point of your own: wcfs mount " + zurl + " MOUNTPOINT"}
}

// serverAt returns the server on dir.
func serverAt(dir string) (s Server, ok bool, err error) {
	entries, err := mount.List()
	for _, e := range entries {
		for _, place := range e.Places() {
			if place == dir {
				e.Dir = dir
				s, ok = Server{Entry: e}, true
			}
		}
	}
	return s, ok, err
}

// otherStarts reports whether the mount point has nothing, or a server of the
// same database: somebody else is faster.
func otherStarts(opt StartOptions) bool {
	fstype, source, err := mount.On(opt.Dir)
	return err == nil && (fstype == "" || fstype == mount.FSType && storage.SameDatabase(source, opt.ZURL))
}

// launch starts the server once and waits until its mount answers.
func launch(ctx context.Context, opt StartOptions) error {
	words, ready, cmd, err := spawn(opt)
	if err != nil {
		return fmt.Errorf("start %s: %w", opt.Exe, err)
	}
	started := Server{PID: cmd.Process.Pid, start: proc.Start(cmd.Process.Pid)}
	said, ended := make(chan struct{}), make(chan struct{})
	relay := newRelay(opt.Words)
	go func() {
		relay.copy(words)
		close(said)
		_ = cmd.Wait()
		close(ended)
	}()
	err = waitReady(ctx, opt, ready, cmd.Process.Pid)
	if err == nil {
		// A server that serves lets go of what we read. The goroutine waits for its
		// end, or for ours.
		waitFor(said, sayPatience)
		return nil
	}
	if errors.Is(err, errEnded) && waitFor(ended, endPatience) {
		return relay.outcome(cmd.ProcessState)
	}
	endServer(started, ended, opt)
	if ctx.Err() != nil {
		return fmt.Errorf("start %s: %w", opt.Dir, ctx.Err())
	}
	return err
}

// errEnded says that a server ended before it was ready.
var errEnded = errors.New("the server ended")

// spawn starts the program in a session of its own. It gets nothing that we were
// given by accident, as the lock of a script or the end of its pipe: whoever waits
// for that would wait for the server.
func spawn(opt StartOptions) (words, ready *os.File, cmd *exec.Cmd, err error) {
	words, theirWords, err := os.Pipe()
	if err != nil {
		return nil, nil, nil, err
	}
	defer theirWords.Close()
	ready, theirReady, err := os.Pipe()
	if err != nil {
		_ = words.Close()
		return nil, nil, nil, err
	}
	defer theirReady.Close()
	_ = unix.CloseRange(ReadyFD, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC) // Linux 5.11
	cmd = exec.Command(opt.Exe, opt.Args...)
	cmd.Stdout, cmd.Stderr = theirWords, theirWords
	cmd.Env = append(os.Environ(), opt.Env...)
	cmd.ExtraFiles = []*os.File{theirReady} // ReadyFD
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if filepath.IsAbs(strings.TrimPrefix(opt.ZURL, "file://")) {
		cmd.Dir = "/" // else the url may be relative
	}
	if err := cmd.Start(); err != nil {
		_ = words.Close()
		_ = ready.Close()
		return nil, nil, nil, err
	}
	return words, ready, cmd, nil
}

// waitReady returns nil when the server has said that it serves, and its mount
// has answered.
func waitReady(ctx context.Context, opt StartOptions, ready *os.File, pid int) error {
	defer ready.Close()
	if err := readReady(ctx, ready, pid); err != nil {
		return err
	}
	s, ok, err := serverAt(opt.Dir)
	if err != nil {
		return err
	}
	state := StateDead
	if ok {
		if _, state, err = s.Ask(ctx, opt.Prober); err == nil {
			return nil
		}
		s, ok, _ = serverAt(opt.Dir)
	}
	if !ok || state == StateDead || fuseProcesses().serving(s.Entry).pid != pid {
		return fmt.Errorf("%s: somebody has unmounted it as soon as it was ready", opt.Dir)
	}
	return fmt.Errorf("%s: the server says that it serves, but its mount does not answer as it should: %w", opt.Dir, err)
}

// readReady waits for what the server says when it is ready. A server that waited
// for itself when it died cannot go away, and what it had open stays open: it is
// known by its first thread, which has ended.
func readReady(ctx context.Context, ready *os.File, pid int) error {
	for zombie := 0; zombie < maxZombie; {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		_ = ready.SetReadDeadline(time.Now().Add(readyPoll))
		switch n, err := ready.Read(make([]byte, 1)); {
		case n > 0:
			return nil
		case err == io.EOF:
			return errEnded
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return fmt.Errorf("wait for the server: %w", err)
		}
		if proc.State(pid) == "Z" {
			zombie++
		}
	}
	return &fault.Error{Kind: fault.Stuck, Msg: "the server ended before it was ready, but the kernel did not let it go"}
}

// endServer ends a server that is not wanted any more, and takes its mount away.
func endServer(s Server, ended <-chan struct{}, opt StartOptions) {
	s.Entry = mount.Entry{Dir: opt.Dir}
	if at, ok, _ := serverAt(opt.Dir); ok && fuseProcesses().serving(at.Entry).pid == s.PID {
		s.Entry = at.Entry
	}
	stop := newStopper(context.Background(), s, StopOptions{Prober: opt.Prober, Timeout: endPatience,
		Logf: func(format string, args ...any) { fmt.Fprintf(opt.Words, errorPrefix+format+"\n", args...) }})
	defer stop.close()
	stop.endServer()
	waitFor(ended, minWait)
	_ = stop.unmount(shareLast, true)
	mount.RemovePoint(opt.Dir)
}

func waitFor(event <-chan struct{}, d time.Duration) bool {
	select {
	case <-event:
		return true
	case <-time.After(d):
		return false
	}
}
