package control

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/wcfs/wcfs/internal/serve/mount"
	"github.com/wcfs/wcfs/internal/serve/proc"
	"github.com/wcfs/wcfs/internal/zodb/fault"
)

// StopOptions says how a server is stopped.
type StopOptions struct {
	Prober  mount.Prober
	Timeout time.Duration             // for everything
	Kill    bool                      // also end who only stands in the mount
	Logf    func(string, ...any)      // gets a line for everything that is out of the ordinary
	Dump    func(why string, d *Dump) // gets what processes wait for, before they are ended
}

// shares of the timeout that the steps of stopping may take. Their sum is 1.
const (
	shareUnmount = 0.2
	shareTerm    = 0.2
	shareAbort   = 0.1
	shareQuit    = 0.1
	shareKill    = 0.1
	shareClients = 0.1 // each of SIGTERM and SIGKILL
	shareLast    = 0.1
)

// minWait is what every wait gets, also when the time is over: something that
// was just ended needs a moment.
const minWait = 100 * time.Millisecond

// Stop ends the server that t means, and leaves no mount, no directory at the
// usual place, no process of the server, and no client of the mount: whoever
// went on with it would be cut off from the data. A process that only stands in the
// mount is left alone unless Kill is set. It takes at most the timeout, and some
// seconds to look at processes, however the server is.
//
// It is fine if none is running. Errors are *fault.Error, of the kinds ClientsEnded, Stuck
// and Usage if several servers are meant, and others.
func Stop(ctx context.Context, t Target, opt StopOptions) error {
	s, err := t.Only()
	if fault.Is(err, fault.NotRunning) {
		return stopUnmounted(ctx, t, opt)
	}
	if err != nil {
		return err
	}
	if !s.mayControl() {
		return &fault.Error{Msg: fmt.Sprintf("%s: the server there belongs to %s", s.Dir, mount.UserName(s.UID)),
			Hint: "only they and root can stop it"}
	}
	if err := s.uncovered(); err != nil {
		if !s.isMounted() && ctx.Err() == nil {
			return Stop(ctx, t, opt) // it has gone, and what is there has come meanwhile
		}
		return err
	}
	stop := newStopper(ctx, s, opt)
	defer stop.close()
	return stop.run()
}

// isMounted reports whether the mount is still in the table.
func (s *Server) isMounted() bool {
	entries, err := mount.List()
	return err != nil || slices.ContainsFunc(entries, func(e mount.Entry) bool {
		return e.Device() == s.Device() && e.Source == s.Source
	})
}

// uncovered returns an error if something else is mounted on top of the mount: to
// unmount would hit that.
func (s *Server) uncovered() error {
	for _, dir := range s.Places() {
		if top, ok := s.CoveredAt(dir); ok {
			return &fault.Error{Msg: fmt.Sprintf("%s: something else (%s) is mounted on top of the server", dir, top),
				Hint: "unmount that first: umount " + dir}
		}
	}
	return nil
}

// stopUnmounted ends a server that has not mounted yet, or does not end.
func stopUnmounted(ctx context.Context, t Target, opt StopOptions) error {
	found := false
	for _, dir := range t.points() {
		if pid, start := starting(dir); pid != 0 {
			found = true
			opt.Logf("%s: pid %d starts or ends there; ending it", dir, pid)
			stop := newStopper(ctx, Server{Entry: mount.Entry{Dir: dir}, PID: pid, start: start}, opt)
			defer stop.close()
			if stop.endServer(); !stop.ended() {
				return stuckForGood(&stop.server)
			}
		}
		mount.RemovePoint(dir)
		forgetLast(dir)
	}
	if !found {
		opt.Logf("%s: not running", t)
	}
	return nil
}

// stopper is one server being stopped.
type stopper struct {
	opt     StopOptions
	ctx     context.Context // ends with the timeout
	cancel  context.CancelFunc
	server  Server
	process *proc.Handle       // nil if there is none, or it has ended already
	users   map[int]mount.User // clients, as long as the mount is in the table
	handles map[int]*proc.Handle
	gone    bool // the mount was found missing from the table
}

func newStopper(ctx context.Context, s Server, opt StopOptions) *stopper {
	ctx, cancel := context.WithTimeout(ctx, opt.Timeout)
	stop := &stopper{opt: opt, ctx: ctx, cancel: cancel, server: s,
		users: map[int]mount.User{}, handles: map[int]*proc.Handle{}}
	if s.PID != 0 {
		stop.process = hold(s.PID, s.start)
	}
	return stop
}

// hold returns a handle of the process that was seen with that start time, nil if
// it has ended since. Another one may have its number.
func hold(pid int, start string) *proc.Handle {
	h, err := proc.OfThread(pid)
	if err != nil {
		return nil
	}
	if proc.Start(pid) != start {
		h.Close()
		return nil
	}
	return h
}

func (stop *stopper) close() {
	stop.cancel()
	if stop.process != nil {
		stop.process.Close()
	}
	for _, h := range stop.handles {
		h.Close()
	}
}

func (stop *stopper) run() error {
	dir := stop.server.Dir
	if err := stop.unmount(shareUnmount, false); err != nil {
		stop.opt.Logf("%s", unmountText(dir, err))
		stop.findUsers()
		stop.logUsers()
	}
	stop.endServer()
	ended := stop.endClients()
	err := stop.unmount(shareLast, false)
	if err != nil && stop.ended() {
		stop.opt.Logf("%s; detaching it", unmountText(dir, err))
		err = stop.unmount(shareLast, true)
	}
	if !stop.ended() {
		return stuckForGood(&stop.server)
	}
	if err != nil {
		return &fault.Error{Msg: unmountText(dir, err), Hint: "try: umount -l " + dir, Err: err}
	}
	mount.RemovePoint(dir)
	forgetLast(dir)
	return stop.outcome(ended)
}

func stuckForGood(s *Server) error {
	return &fault.Error{Kind: fault.Stuck, Msg: fmt.Sprintf("%s: pid %d does not end; it is stuck in the kernel", s.Dir, s.PID),
		Hint: "only a reboot ends it"}
}

// outcome tells what became of the clients.
func (stop *stopper) outcome(ended []mount.User) error {
	if left := stop.stillUsing(); len(left) > 0 {
		users := make([]string, len(left))
		hint := "it has to let go, as by: cd /"
		for i, u := range left {
			users[i] = userText(u)
		}
		if !stop.opt.Kill && slices.ContainsFunc(left, stands) {
			hint += "; wcfs stop --kill would have ended it"
		}
		return &fault.Error{Hint: hint,
			Msg: fmt.Sprintf("%s: stopped, but what was mounted there is still used by %s", stop.server.Dir, strings.Join(users, "; "))}
	}
	if len(ended) > 0 {
		return &fault.Error{Kind: fault.ClientsEnded, Msg: fmt.Sprintf("%s: stopped, but clients had to be ended (%d)", stop.server.Dir, len(ended))}
	}
	return nil
}

// wait returns a context for a step that may take a share of the timeout.
func (stop *stopper) wait(share float64) (context.Context, context.CancelFunc) {
	d := time.Duration(share * float64(stop.opt.Timeout))
	if end, ok := stop.ctx.Deadline(); ok {
		d = min(d, time.Until(end))
	}
	if stop.ctx.Err() != nil {
		d = 0
	}
	return context.WithTimeout(context.WithoutCancel(stop.ctx), max(d, minWait))
}

// mounted reports whether the mount is in the table.
func (stop *stopper) mounted() bool {
	_, ok := stop.entry()
	return ok
}

// entry returns the mount, if it is in the table. Once it was not, what is there
// is another one, although the kernel may have given it the same number.
func (stop *stopper) entry() (mount.Entry, bool) {
	if stop.gone {
		return mount.Entry{}, false
	}
	entries, err := mount.List()
	if err != nil {
		return stop.server.Entry, true
	}
	for _, e := range entries {
		if e.Device() == stop.server.Device() && e.Source == stop.server.Source && !stop.replaced(e) {
			return e, true
		}
	}
	stop.gone = true
	return mount.Entry{}, false
}

// replaced reports whether another server has mounted e: on other directories, or
// since ours ended, which has kept others off the directory until then.
func (stop *stopper) replaced(e mount.Entry) bool {
	known := stop.server.Places()
	if !slices.ContainsFunc(e.Places(), func(dir string) bool { return slices.Contains(known, dir) }) {
		return true
	}
	return stop.ended() && fuseProcesses().serving(e).pid != 0
}

// unmount takes the mount off all its places.
func (stop *stopper) unmount(share float64, lazy bool) error {
	ctx, cancel := stop.wait(share)
	defer cancel()
	e, ok := stop.entry()
	if !ok {
		return nil
	}
	if err := (&Server{Entry: e}).uncovered(); err != nil {
		return err
	}
	for _, dir := range e.Places() {
		if err := stop.opt.Prober.Unmount(ctx, dir, lazy); err != nil && stop.mounted() {
			return err
		}
	}
	stop.gone = true // its number is free for others, as soon as nobody uses it
	return nil
}

func unmountText(dir string, err error) string {
	if mount.IsBusy(err) {
		return dir + ": cannot be unmounted: it is in use"
	}
	return fmt.Sprintf("%s: cannot be unmounted: %s", dir, err)
}

// ended reports whether the process of the server has ended, as far as there is
// one that can be seen.
func (stop *stopper) ended() bool {
	if stop.process == nil {
		return true
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return stop.process.Wait(ctx) == nil
}

func (stop *stopper) waitEnded(share float64) bool {
	if stop.process == nil {
		return true
	}
	ctx, cancel := stop.wait(share)
	defer cancel()
	return stop.process.Wait(ctx) == nil
}

// endServer ends the process of the server, by harder and harder means.
func (stop *stopper) endServer() {
	if stop.process == nil {
		if stop.mounted() && stop.server.PID == 0 {
			stop.abort() // whoever serves it cannot be seen
		}
		return
	}
	stop.signal(syscall.SIGTERM)
	if stop.waitEnded(shareTerm) {
		return
	}
	stop.dump("the server does not end")
	stop.abort()
	if stop.waitEnded(shareAbort) {
		return
	}
	for _, step := range []struct {
		sig   syscall.Signal
		share float64
	}{{syscall.SIGQUIT, shareQuit}, {syscall.SIGKILL, shareKill}} {
		stop.opt.Logf("pid %d: still running; sending %s", stop.server.PID, sigName(step.sig))
		stop.signal(step.sig)
		if stop.waitEnded(step.share) {
			return
		}
	}
	stop.dump("the server survives SIGKILL")
}

// signal sends sig to the server, also to one that was stopped: that would take
// notice of nothing but SIGKILL.
func (stop *stopper) signal(sig syscall.Signal) {
	if err := stop.process.Signal(sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		stop.opt.Logf("pid %d: cannot send %s: %s", stop.server.PID, sigName(sig), err)
	}
	if state := proc.State(stop.server.PID); state == "T" {
		stop.opt.Logf("pid %d: was stopped by a signal; letting it go on, to end", stop.server.PID)
		_ = stop.process.Signal(syscall.SIGCONT)
	}
}

func sigName(sig syscall.Signal) string {
	return map[syscall.Signal]string{syscall.SIGTERM: "SIGTERM", syscall.SIGQUIT: "SIGQUIT", syscall.SIGKILL: "SIGKILL"}[sig]
}

// abort frees whoever waits for the server.
func (stop *stopper) abort() {
	// The number of a connection that nobody can reach may be that of another one.
	if !stop.mounted() && len(stop.stillUsing()) == 0 {
		return
	}
	if err := stop.server.Abort(); err != nil {
		if !errors.Is(err, os.ErrNotExist) {
			stop.opt.Logf("%s", err)
		}
		return
	}
	stop.opt.Logf("%s: the FUSE connection was aborted", stop.server.Dir)
}

func (stop *stopper) dump(why string) {
	if stop.opt.Dump != nil {
		stop.opt.Dump(fmt.Sprintf("%s: %s", stop.server.Dir, why), NewDump(stop.server))
	}
}
