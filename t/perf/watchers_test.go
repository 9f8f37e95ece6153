package perf

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/t/harness"
	"lab.nexedi.com/kirr/neo/go/zodb"
)

// Watchers is a helper process with many links, each of which acknowledges pins whenever
// they come, one by one, as clients do.
type Watchers struct{ *harness.Helper }

// startWatchers opens n links.
func startWatchers(s *harness.Server, n int) Watchers {
	s.T.Helper()
	w := Watchers{harness.StartHelper(s.T, "watchers", s.Path("head/watch"), fmt.Sprint(n))}
	require.Equal(s.T, "ready", w.Line())
	return w
}

// watch sets the watches of all links up, or moves them, at the same time. It returns how
// long that took, and how many pins have come since the links were opened.
func (w Watchers) watch(f *harness.LiveFile, at zodb.Tid) (took time.Duration, pins int) {
	w.T.Helper()
	ns, count, _ := strings.Cut(w.Ask(harness.WatchRequest(f.Oid, at)), " ")
	pins, err := strconv.Atoi(count)
	require.NoError(w.T, err)
	return duration(w.T, ns), pins
}

// end leaves.
func (w Watchers) end() {
	w.T.Helper()
	require.Zero(w.T, w.Wait())
}

// watcher is a link of the helper.
type watcher struct {
	link    *harness.BareLink
	pins    *atomic.Int64 // of all
	replies chan error
}

// attend takes what the server says, until it says no more.
func (w *watcher) attend() {
	for {
		reply, err := w.link.Reply()
		w.pins.Add(int64(w.link.NPins))
		w.link.NPins = 0
		if err == nil && reply != "ok" {
			err = fmt.Errorf("the server says %q", reply)
		}
		w.replies <- err
		if err != nil {
			return
		}
	}
}

// helperWatchers does what Watchers asks for. Arguments: head/watch, how many links.
func helperWatchers(args []string) error {
	n, _ := strconv.Atoi(args[1])
	var pins atomic.Int64
	var all []*watcher
	for range n {
		link, err := harness.TryBareLink(args[0])
		if err != nil {
			return err
		}
		link.Each = true
		w := &watcher{link, &pins, make(chan error, 1)}
		all = append(all, w)
		go w.attend()
	}
	fmt.Println("ready")
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		start := time.Now()
		for _, w := range all {
			if err := w.link.Send(in.Text()); err != nil {
				return err
			}
		}
		for _, w := range all {
			if err := <-w.replies; err != nil {
				return err
			}
		}
		fmt.Println(time.Since(start).Nanoseconds(), pins.Load())
	}
	return nil
}
