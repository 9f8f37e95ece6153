package control

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/wcfs/wcfs/internal/serve/mount"
	"github.com/wcfs/wcfs/internal/serve/proc"
)

// Dump says what the processes around a server are waiting for.
type Dump struct {
	Waiting *int     `json:"waiting"` // requests without an answer; null if not known
	Threads []Thread `json:"threads"` // of the server
	Users   []Waiter `json:"users"`   // of the mount
}

// Waiter is a user of a mount and what its threads do.
type Waiter struct {
	mount.User
	Threads []Thread `json:"threads"`
}

// Thread is what the kernel tells about a thread.
type Thread struct {
	TID   int      `json:"tid"`
	Name  string   `json:"name"`
	State string   `json:"state"` // R, S, D, T, Z, ... as in ps(1)
	Wchan string   `json:"wchan"` // what it waits for in the kernel; "" or "0" if nothing
	Stack []string `json:"stack"` // in the kernel, innermost first; only root gets to know it
}

// NewDump looks at the processes around a server. The mount is not touched.
func NewDump(s Server) *Dump {
	d := &Dump{Threads: threads(s.PID), Users: []Waiter{}}
	if n, err := s.Waiting(); err == nil {
		d.Waiting = &n
	}
	for _, user := range s.Users() {
		d.Users = append(d.Users, Waiter{user, threads(user.PID)})
	}
	return d
}

// threads returns the threads of a process; none if there is no such.
func threads(pid int) []Thread {
	list := []Thread{}
	for _, tid := range proc.Threads(pid) {
		list = append(list, within(func() Thread { return thread(tid) }))
	}
	return list
}

func thread(tid int) Thread {
	return Thread{TID: tid, Name: proc.Name(tid), State: proc.State(tid), Wchan: proc.Wchan(tid), Stack: proc.Stack(tid)}
}

// Print writes the dump for people. Threads that do the same are told of once.
func (d *Dump) Print(w io.Writer) {
	if d.Waiting != nil {
		fmt.Fprintf(w, "requests without an answer: %d\n", *d.Waiting)
	}
	fmt.Fprintf(w, "threads of the server:\n")
	printThreads(w, d.Threads)
	if len(d.Users) == 0 {
		fmt.Fprintf(w, "nobody uses the mount\n")
	}
	for _, u := range d.Users {
		fmt.Fprintf(w, "user of the mount: %s\n", userText(u.User))
		printThreads(w, u.Threads)
	}
}

// maxShownUses is how much of what a process uses is told to people.
const maxShownUses = 8

func userText(u mount.User) string {
	uses := u.Uses[:min(len(u.Uses), maxShownUses)]
	more := ""
	if n := len(u.Uses) - len(uses); n > 0 {
		more = fmt.Sprintf(", and %d more", n)
	}
	return fmt.Sprintf("pid %d (%s, %s): %s%s", u.PID, u.Name, mount.UserName(u.UID), strings.Join(uses, ", "), more)
}

func printThreads(w io.Writer, list []Thread) {
	groups := map[string][]string{} // what they do -> ids
	var order []string
	for _, t := range list {
		text := fmt.Sprintf("state %s, waits in %s\n", t.State, t.Wchan)
		for _, frame := range t.Stack {
			text += "      " + frame + "\n"
		}
		if !slices.Contains(order, text) {
			order = append(order, text)
		}
		groups[text] = append(groups[text], strconv.Itoa(t.TID))
	}
	for _, text := range order {
		fmt.Fprintf(w, "    thread %s: %s", strings.Join(groups[text], ", "), text)
	}
}
