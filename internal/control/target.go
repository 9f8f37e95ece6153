package control

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/wcfs/wcfs/internal/mount"
	"github.com/wcfs/wcfs/internal/storage"
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

// Find returns the servers that are meant, the one at the usual mount point of
// the database first. The error is an *Error of kind NotRunning if there are
// none. No mount is touched and no directory is made.
func (t Target) Find() ([]Server, error) {
	servers, err := Servers()
	if err != nil {
		return nil, err
	}
	if found := t.among(servers); len(found) > 0 {
		return found, nil
	}
	return nil, &Error{Kind: NotRunning, Msg: fmt.Sprintf("%s: no server is running", t),
		Hint: "see those that are: wcfs list"}
}

// Only is Find for what is done to one server. The usual one is meant if there
// are several. The error is of kind Ambiguous if none of them is.
func (t Target) Only() (Server, error) {
	servers, err := t.Find()
	if err != nil {
		return Server{}, err
	}
	if len(servers) == 1 || slices.Contains(servers[0].Places(), t.Path) || servers[0].Dir == t.usual() {
		return servers[0], nil
	}
	places := make([]string, len(servers))
	for i, s := range servers {
		places[i] = s.Dir
	}
	return Server{}, &Error{Kind: Ambiguous, Msg: fmt.Sprintf("%s: several servers are running", t),
		Hint: "name the mount point: " + strings.Join(places, ", ")}
}

func (t Target) among(servers []Server) (found []Server) {
	if t.Path != "" {
		path := resolveLinks(t.Path, func(path string) bool { return isPlace(servers, path) })
		for _, s := range slices.Backward(servers) { // what is on top comes last
			if slices.Contains(s.Places(), path) {
				return []Server{s}
			}
		}
	}
	usual := t.usual()
	for _, s := range servers {
		switch {
		case !s.serves(t.ZURL):
		case s.Dir == usual:
			found = append([]Server{s}, found...)
		default:
			found = append(found, s)
		}
	}
	return found
}

func isPlace(servers []Server, path string) bool {
	return slices.ContainsFunc(servers, func(s Server) bool { return slices.Contains(s.Places(), path) })
}

// usual returns where clients look for the database, "" if it is none.
func (t Target) usual() string {
	dir, err := mount.Point(t.ZURL)
	if err != nil {
		return ""
	}
	return dir
}

// points returns the directories that the server would be mounted on.
func (t Target) points() []string {
	dirs := []string{t.usual()}
	if t.Path != "" {
		dirs = append(dirs, t.Path)
	}
	return slices.DeleteFunc(dirs, func(dir string) bool { return dir == "" })
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
		rest = append(strings.Split(filepath.Clean(link), "/"), rest...)
	}
	return at
}
