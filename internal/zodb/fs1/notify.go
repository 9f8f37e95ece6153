package fs1

import (
	"errors"
	"path/filepath"

	"github.com/fsnotify/fsnotify"
)

// notifier tells when the data file, or its place in the directory, may have
// changed. It is a hint: the follower also looks by itself now and then.
type notifier struct {
	path string
	w    *fsnotify.Watcher // nil: notifications cannot be had

	events <-chan fsnotify.Event // nil if w is
	errors <-chan error
}

// newNotifier never fails, because following works without notifications.
func (s *Storage) newNotifier() *notifier {
	n := &notifier{path: s.path}
	w, err := fsnotify.NewWatcher()
	if err == nil {
		n.w, n.events, n.errors = w, w.Events, w.Errors
		err = errors.Join(w.Add(filepath.Dir(s.path)), w.Add(s.path))
	}
	if err != nil {
		s.opt.Warn("%s: some change notifications cannot be had, looking at the file every %s: %s", s.url, s.cfg.tick, err)
	}
	return n
}

// concerns reports whether ev is about the data file: the directory also tells
// of its other files.
func (n *notifier) concerns(ev fsnotify.Event) bool {
	return filepath.Base(ev.Name) == filepath.Base(n.path)
}

// renew asks for notifications of the file that has taken the place of the
// previous one.
func (n *notifier) renew() {
	if n.w == nil {
		return
	}
	// Either may fail: the watch may have gone with its file, and the
	// directory and the clock tell of changes too.
	_ = n.w.Remove(n.path)
	_ = n.w.Add(n.path)
}

func (n *notifier) close() {
	if n.w != nil {
		_ = n.w.Close()
	}
}
