package control

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/wcfs/wcfs/internal/serve/mount"
	"github.com/wcfs/wcfs/internal/serve/proc"
)

// findUsers adds who uses the mount now.
func (stop *stopper) findUsers() {
	users := stop.server.Users()
	if !stop.mounted() {
		return // its number may be that of another mount
	}
	for _, u := range users {
		if _, known := stop.users[u.PID]; known || u.PID == stop.server.PID {
			continue
		}
		if h, err := proc.OfThread(u.PID); err == nil {
			stop.users[u.PID], stop.handles[u.PID] = u, h
		}
	}
}

func (stop *stopper) logUsers() {
	for _, u := range stop.stillUsing() {
		stop.opt.Logf("used by %s", userText(u))
	}
}

// stillUsing returns who of the users has not let go, by ascending pid. A process
// that has let go may use another mount by now, which has the number of ours.
func (stop *stopper) stillUsing() (users []mount.User) {
	for pid := range stop.users {
		now := stop.server.User(pid)
		if len(now.Uses) == 0 || endsWithin(stop.handles[pid], 0) || !stop.mounted() && stop.server.Renumbered(pid) {
			continue
		}
		users = append(users, now)
	}
	slices.SortFunc(users, func(a, b mount.User) int { return a.PID - b.PID })
	return users
}

func endsWithin(h *proc.Handle, d time.Duration) bool {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	return h.Wait(ctx) == nil
}

// stands reports whether a process has nothing of the mount but its current or root
// directory: a shell, mostly, that loses nothing with the data.
func stands(u mount.User) bool {
	return len(u.Uses) > 0 && !slices.ContainsFunc(u.Uses, func(use string) bool { return use != "cwd" && use != "root" })
}

// endClients ends those who use the mount, but for the programs that this one
// was started by and, unless that is wanted, those that only stand in it. It returns
// who was ended.
func (stop *stopper) endClients() (ended []mount.User) {
	if stop.unmount(shareLast, false) != nil {
		stop.findUsers()
	}
	ours := ancestors()
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		var pids []string
		var waiting []*proc.Handle
		for _, u := range stop.stillUsing() {
			if slices.Contains(ours, u.PID) || !stop.opt.Kill && stands(u) {
				continue
			}
			pids = append(pids, fmt.Sprintf("%d (%s)", u.PID, u.Name))
			waiting = append(waiting, stop.handles[u.PID])
			if sig == syscall.SIGTERM {
				ended = append(ended, u)
			}
			_ = stop.handles[u.PID].Signal(sig)
		}
		if len(pids) == 0 {
			break
		}
		stop.opt.Logf("ending clients by %s: pid %s", sigName(sig), strings.Join(pids, ", "))
		ctx, cancel := stop.wait(shareClients)
		for _, h := range waiting {
			_ = h.Wait(ctx)
		}
		cancel()
	}
	return ended
}

// ancestors returns the processes that this one was started by.
func ancestors() (pids []int) {
	for pid := os.Getppid(); pid > 0; {
		pids = append(pids, pid)
		pid = proc.Parent(pid)
	}
	return pids
}
