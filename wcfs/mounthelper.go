package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/wcfs/wcfs/internal/control"
)

// mountHelperName is what mount(8) calls for filesystems of type wcfs; see
// "External helpers" there.
const mountHelperName = "mount.wcfs"

// helperIgnored are the words of mount(8) and fstab(5) that mean nothing here.
var helperIgnored = []string{"defaults", "ro", "rw", "auto", "noauto", "nofail", "_netdev", "user", "nouser", "users", "owner", "group",
	"exec", "noexec", "suid", "nosuid", "dev", "nodev", "async", "sync", "atime", "noatime", "nodiratime", "relatime"}

// helperFlags are the options of wcfs mount that may be given by -o.
var helperFlags = []string{"pintimeout", "view-idle", "log_dir", "log-file", "metrics", "autoexit", "autoexit-linger", "debug"}

// isMountHelper reports whether the program was called as a mount helper.
func isMountHelper(argv0 string) bool { return filepath.Base(argv0) == mountHelperName }

// helperArgs turns the command line of a mount helper, SOURCE DIR [-sfnv]
// [-o OPTIONS] [-t TYPE] [-N NAMESPACE], into that of wcfs mount. With -f
// nothing is to be done.
func helperArgs(args []string) (mountArgs []string, fake bool, err error) {
	var places, options []string
	sloppy := false
	for i := 0; i < len(args); i++ {
		arg := args[i]
		switch {
		case !strings.HasPrefix(arg, "-"):
			places = append(places, arg)
		case arg == "-o" || arg == "-t" || arg == "-N":
			i++
			if i == len(args) {
				return nil, false, &usageError{msg: fmt.Sprintf("%s: %s needs a value", mountHelperName, arg)}
			}
			if arg == "-o" {
				options = append(options, strings.Split(args[i], ",")...)
			}
		case strings.Trim(arg[1:], "sfnv") == "" && len(arg) > 1:
			sloppy = sloppy || strings.Contains(arg, "s")
			fake = fake || strings.Contains(arg, "f")
		default:
			return nil, false, &usageError{msg: fmt.Sprintf("%s: unknown option %s", mountHelperName, arg)}
		}
	}
	if len(places) != 2 {
		return nil, false, &usageError{msg: fmt.Sprintf("%s: expected DATABASE DIRECTORY, got %d arguments", mountHelperName, len(places)),
			text: "Usage: " + mountHelperName + " DATABASE DIRECTORY [-sfnv] [-o OPTIONS]"}
	}
	flags, err := helperOptions(options, sloppy)
	if err != nil {
		return nil, false, err
	}
	return append(append([]string{"mount"}, flags...), places...), fake, nil
}

// asMount returns err, but nil if it says that the database is served there already.
// mount -a does not notice that itself, since our mounts show urls and fstab paths.
func asMount(err error) error {
	var e *control.Error
	if errors.As(err, &e) && e.Kind == control.AlreadyRunning {
		return nil
	}
	return err
}

// helperOptions turns the words of -o into flags.
func helperOptions(options []string, sloppy bool) (flags []string, err error) {
	for _, option := range options {
		name, _, _ := strings.Cut(option, "=")
		switch {
		case name == "" || slices.Contains(helperIgnored, name) || strings.HasPrefix(name, "x-") || strings.HasPrefix(name, "comment"):
		case option == "allow_other":
			flags = append(flags, "--allow-other")
		case name == "default_permissions": // as always with allow_other
		case name == "allow_root":
			return nil, &usageError{msg: mountHelperName + ": allow_root is not understood: say allow_other, which lets in root and all who may read the database"}
		case slices.Contains(helperFlags, name):
			flags = append(flags, "--"+option)
		case !sloppy:
			return nil, &usageError{msg: fmt.Sprintf("%s: unknown option %q in -o", mountHelperName, option),
				text: "it may be one of allow_other, " + strings.Join(helperFlags, ", ")}
		}
	}
	return flags, nil
}
