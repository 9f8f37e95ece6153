// Package release says which version of wcfs this is, and of which commit it was
// built.
//
// The commit comes from the build: from make (the variable stamp), from git
// archive (the file commit.txt), or from the go command, whichever is there.
package release

import (
	_ "embed"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
)

// Version is the number of the version. Makefile reads it from this line.
const Version = "0.1.0"

// Date is when that was released. CHANGELOG.rst has both.
const Date = "2026-11-27"

// Needs says what the program needs to serve.
const Needs = "Linux 5.10 or newer with FUSE; users other than root need fusermount3"

// stamp is what dist/stamp.sh says: COMMIT:TIME, the time in seconds since 1970.
// The linker sets it.
var stamp string

// archived is the same when the source is from git archive.
//
//go:embed commit.txt
var archived string

// Build is what is known of how the program was built.
type Build struct {
	Commit string    // hexadecimal, "" if it is not known; with + if files were changed since
	Time   time.Time // of the commit, else of the release
	Go     string    // version of Go
}

// Built returns how the program was built.
func Built() Build {
	b := Build{Time: released()}
	info, ok := debug.ReadBuildInfo()
	if ok {
		b.Go = info.GoVersion
	}
	for _, text := range []string{stamp, strings.TrimSpace(archived), vcsStamp(info)} {
		if commit, at, ok := parseStamp(text); ok {
			b.Commit, b.Time = commit, at
			break
		}
	}
	return b
}

// parseStamp understands COMMIT:TIME, and nothing that git has left as it was.
func parseStamp(text string) (commit string, at time.Time, ok bool) {
	commit, seconds, _ := strings.Cut(text, ":")
	unix, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil || strings.Trim(strings.TrimSuffix(commit, "+"), "0123456789abcdef") != "" || commit == "" {
		return "", time.Time{}, false
	}
	return commit, time.Unix(unix, 0).UTC(), true
}

// vcsStamp returns the stamp that the go command has made, "" if it has not.
func vcsStamp(info *debug.BuildInfo) string {
	if info == nil {
		return ""
	}
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	at, err := time.Parse(time.RFC3339, settings["vcs.time"])
	if err != nil {
		return ""
	}
	changed := ""
	if settings["vcs.modified"] == "true" {
		changed = "+"
	}
	return settings["vcs.revision"] + changed + ":" + strconv.FormatInt(at.Unix(), 10)
}

func released() time.Time {
	at, _ := time.Parse(time.DateOnly, Date) // a test shows that it is one
	return at
}
