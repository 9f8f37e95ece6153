package main

import (
	"fmt"
	"runtime/debug"
)

// version describes the build on one line.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "wcfs (unknown build)"
	}
	release, revision := info.Main.Version, ""
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			revision = " " + s.Value
		}
	}
	if release == "" {
		release = "(devel)"
	}
	return fmt.Sprintf("wcfs %s%s %s", release, revision, info.GoVersion)
}
