package control

import (
	"cmp"
	"crypto/sha1"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/wcfs/wcfs/internal/serve/mount"
	"github.com/wcfs/wcfs/internal/serve/proc"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

const (
	// lastPrefix begins the names of files with last words.
	lastPrefix = "last-"

	// maxLast bounds how many last words are told, and maxWords the length of each in
	// bytes.
	maxLast  = 32
	maxWords = 4 << 10
)

// LastWords is what is known of a server in the background that has ended, but not
// since somebody wanted that. It is in a file of the user's own place, from when the
// server serves: one that is killed has no time to write it.
type LastWords struct {
	Mountpoint string     `json:"mountpoint"`
	ZURL       string     `json:"zurl"` // without secrets
	PID        int        `json:"pid"`
	Start      string     `json:"start"` // of the process: with PID it tells processes apart
	Started    time.Time  `json:"started"`
	Ended      *time.Time `json:"ended"` // null if nobody knows
	Code       int        `json:"code"`  // exit code; -1 if nobody knows
	Reason     string     `json:"reason"`
	Log        string     `json:"log,omitempty"` // file that may say more
}

// String tells it to people.
func (l *LastWords) String() string {
	text := fmt.Sprintf("%s: the server of %s (pid %d) ", l.Mountpoint, l.ZURL, l.PID)
	if l.Ended != nil {
		text += fmt.Sprintf("ended at %s with code %d", l.Ended.Format(time.RFC3339), l.Code)
	} else {
		text += fmt.Sprintf("of %s ended", l.Started.Format(time.RFC3339))
	}
	text += ": " + l.Reason
	if l.Log != "" {
		text += "; its log: " + l.Log
	}
	return text
}

// Serving notes that this process serves at dir, in place of what an earlier server
// there has left. It is no failure if that cannot be noted: the file is only for
// looking at.
func Serving(dir, zurl, log string) *LastWords {
	pid := os.Getpid()
	l := &LastWords{Mountpoint: dir, ZURL: zurl, PID: pid, Start: proc.Start(pid), Started: time.Now().Truncate(time.Second), Code: -1, Log: log}
	l.write(true)
	return l
}

// End notes how it ended: with an error and an exit code, or as it should.
func (l *LastWords) End(err error, code int) {
	if there, ok := readLast(l.file()); !ok || there.PID != l.PID || there.Start != l.Start {
		return // the place is another server's by now
	}
	if err == nil {
		forgetLast(l.Mountpoint)
		return
	}
	now := time.Now().Truncate(time.Second)
	l.Ended, l.Code, l.Reason = &now, code, err.Error()
	l.Reason = l.Reason[:min(len(l.Reason), maxWords)]
	l.write(false)
}

// write replaces the file at once, so that nobody reads half of it.
func (l *LastWords) write(create bool) {
	dir, err := mount.OwnPlace(create)
	if err != nil {
		return
	}
	text, err := json.Marshal(l)
	if err != nil {
		return
	}
	f, err := os.CreateTemp(dir, ".new-")
	if err != nil {
		return
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), l.file())
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
}

func (l *LastWords) file() string { return lastFile(l.Mountpoint) }

func lastFile(mountpoint string) string {
	dir, err := mount.OwnPlace(false)
	if err != nil {
		return ""
	}
	return filepath.Join(dir, fmt.Sprintf("%s%x", lastPrefix, sha1.Sum([]byte(mountpoint))))
}

// forgetLast forgets what a server at dir has left: somebody knows, or there is a
// new one.
func forgetLast(dir string) { _ = os.Remove(lastFile(dir)) }

func readLast(path string) (l LastWords, ok bool) {
	f, err := os.Open(path)
	if err != nil {
		return l, false
	}
	defer f.Close()
	text := make([]byte, 4*maxWords)
	n, _ := f.Read(text)
	return l, json.Unmarshal(text[:n], &l) == nil
}

// Ended returns the last words of servers of this user that have ended, the newest
// first. Files of places that are gone are removed.
func Ended() (list []LastWords) {
	dir, err := mount.OwnPlace(false)
	if err != nil {
		return nil
	}
	entries, _ := os.ReadDir(dir)
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), lastPrefix) {
			continue
		}
		l, ok := readLast(filepath.Join(dir, entry.Name()))
		if !ok || proc.Start(l.PID) == l.Start && !slices.Contains([]string{"Z", "X", ""}, proc.State(l.PID)) {
			continue
		}
		if isGone(l.Mountpoint) {
			forgetLast(l.Mountpoint)
			continue
		}
		if l.Ended == nil {
			l.Reason = "it did not say why: it was killed (by kill -9, or for lack of memory), or crashed"
		}
		list = append(list, l)
	}
	slices.SortFunc(list, func(a, b LastWords) int { return cmp.Compare(b.Started.Unix(), a.Started.Unix()) })
	return list[:min(len(list), maxLast)]
}

// isGone reports whether a directory is not there any more, without asking what is
// mounted on it. At the usual place it goes with the server.
func isGone(dir string) bool {
	if mount.IsManaged(dir) {
		return false
	}
	if fstype, _, err := mount.On(dir); err != nil || fstype != "" {
		return false
	}
	return within(func() bool {
		_, err := os.Lstat(dir)
		return errors.Is(err, fs.ErrNotExist)
	})
}

// LastWords returns those of servers that t means.
func (t Target) LastWords() []LastWords {
	dirs := t.points()
	return slices.DeleteFunc(Ended(), func(l LastWords) bool {
		return !slices.Contains(dirs, l.Mountpoint) && !storage.SameDatabase(l.ZURL, t.ZURL)
	})
}
