package control

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/wcfs/wcfs/internal/serve/mount"
	"github.com/wcfs/wcfs/internal/zodb/fault"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// Target is what a person calls a server by: its mount point, or the database it
// serves.
type Target struct {
	Path string // absolute, of a mount point or a database file; "" if it was a url
	ZURL string // of the database, if it is one
}

// String returns the target for messages.
func (t Target) String() string {
	if t.Path != "" {
		return t.Path
	}
	return storage.Redact(t.ZURL)
}

// Find returns the servers that are meant, those of this user and at the usual
// mount point of the database first. The error is of kind fault.NotRunning if there are
// none. No mount is touched and no directory is made.
func (t Target) Find() ([]Server, error) {
	servers, err := Servers()
	if err != nil {
		return nil, err
	}
	if found := t.among(servers); len(found) > 0 {
		return found, nil
	}
	return nil, &fault.Error{Kind: fault.NotRunning, Msg: fmt.Sprintf("%s: no server is running", t),
		Hint: "see those that are: wcfs list"}
}

// Only is Find for what is done to one server. If there are several, that of this
// user at a place of Points is meant, or the only one of this user, or that at the
// usual place. The error is of kind fault.Usage if there is none of these.
func (t Target) Only() (Server, error) {
	servers, err := t.Find()
	if err != nil {
		return Server{}, err
	}
	first := t.rank(servers[0])
	if len(servers) == 1 || first != t.rank(servers[1]) && first < rankOther {
		return servers[0], nil
	}
	places := make([]string, len(servers))
	for i, s := range servers {
		places[i] = s.Dir
	}
	return Server{}, &fault.Error{Kind: fault.Usage, Msg: fmt.Sprintf("%s: several servers are running", t),
		Hint: "name the mount point: " + strings.Join(places, ", ")}
}

func (t Target) among(servers []Server) (found []Server) {
	if t.Path != "" {
		path := t.Path
		if !mount.IsManaged(path) { // else others may have put links there
			path = resolveLinks(path, func(path string) bool { return isPlace(servers, path) })
		}
		for _, s := range slices.Backward(servers) { // what is on top comes last
			if slices.Contains(s.Places(), path) {
				return []Server{s}
			}
		}
	}
	for _, s := range servers {
		if s.serves(t.ZURL) {
			found = append(found, s)
		}
	}
	slices.SortStableFunc(found, func(a, b Server) int { return cmp.Compare(t.rank(a), t.rank(b)) })
	return found
}

// rankOther is the rank of servers that are not meant before others.
const rankOther = 4

// rank returns how likely it is that a server of the database is meant: the less
// the likelier.
func (t Target) rank(s Server) int {
	switch place := slices.Index(t.usual(), s.Dir); {
	case s.isOurs() && place >= 0:
		return place
	case s.isOurs():
		return 2
	case place == 0:
		return 3
	}
	return rankOther
}

func isPlace(servers []Server, path string) bool {
	return slices.ContainsFunc(servers, func(s Server) bool { return slices.Contains(s.Places(), path) })
}

// usual returns where clients of this user look for the database, nothing if it is
// none.
func (t Target) usual() []string {
	dirs, err := mount.Points(t.ZURL)
	if err != nil {
		return nil
	}
	return dirs
}

// points returns the directories that the server would be mounted on.
func (t Target) points() []string {
	dirs := t.usual()
	if t.Path != "" {
		dirs = append(dirs, t.Path)
	}
	return dirs
}

// maxLinks is how many symbolic links a path may have, as in the kernel.
const maxLinks = 40

// resolveLinks resolves the symbolic links of path as far as it gets without
// asking what stop tells of, nor anything below that: a mount that may hang.
func resolveLinks(path string, stop func(path string) bool) string {
	rest := strings.Split(filepath.Clean(path), "/")
	at := "/"
	for links := 0; len(rest) > 0; {
		next := filepath.Join(at, rest[0])
		rest = rest[1:]
		if stop(next) {
			return filepath.Join(append([]string{next}, rest...)...)
		}
		link, err := os.Readlink(next)
		if err != nil {
			at = next
			continue
		}
		if links++; links > maxLinks {
			return path
		}
		if filepath.IsAbs(link) {
			at = "/"
		}
		// Not cleaned: before a .. there may be a link, and its parent is meant.
		rest = append(strings.Split(link, "/"), rest...)
	}
	return at
}
