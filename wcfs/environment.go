package main

import (
	"os"

	"github.com/golang/glog"

	"github.com/wcfs/wcfs/internal/arrays/database"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// opener returns what opens the databases that the user of this process names.
func opener() database.Opener {
	cwd, _ := os.Getwd()        // only needed for relative paths
	home, _ := os.UserHomeDir() // only needed for paths with ~
	return database.Opener{Cwd: cwd, Home: home, Warnf: glog.Warningf, Whole: os.Getenv(zurlEnv)}
}

// expandHome returns a path that a person typed. The shell does not expand a tilde in
// --output=~/x, in a url, or in a configuration file.
func expandHome(path string) string { return storage.ExpandHome(path, opener().Home) }
