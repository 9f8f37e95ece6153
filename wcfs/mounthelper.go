package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/wcfs/wcfs/internal/zodb/fault"
)

// mountHelperName is what mount(8) calls for filesystems of type wcfs; see
// "External helpers" there.
const mountHelperName = "mount.wcfs"

// helperIgnored are the words of mount(8) and fstab(5) that change nothing here:
// nothing can be written, there are no devices, no programs with the rights of others
// and no times of access, and who may mount, when, and whether that may fail, is what
// mount(8) and systemd decide.
var helperIgnored = []string{"defaults", "ro", "rw", "auto", "noauto", "nofail", "fail", "_netdev", "_rnetdev", "bootwait", "nobootwait",
	"user", "nouser", "users", "owner", "noowner", "group", "nogroup", "exec", "noexec", "suid", "nosuid", "dev", "nodev",
	"async", "sync", "dirsync", "nodirsync", "atime", "noatime", "diratime", "nodiratime", "relatime", "norelatime", "strictatime", "nostrictatime",
	"lazytime", "nolazytime", "iversion", "noiversion", "mand", "nomand", "silent", "loud", "nosymfollow", "symfollow",
	"private", "rprivate", "slave", "rslave"}

// helperIgnoredValues are those that have a value: where a file of their name would be.
var helperIgnoredValues = []string{"comment", "uhelper", "helper", "context", "fscontext", "defcontext", "rootcontext"}

// helperRefused are those that ask for what is not done, and what to do instead.
var helperRefused = map[string]string{
	"remount":    "stop the server, and mount again with other options",
	"bind":       "that is not for a type: mount --bind",
	"rbind":      "that is not for a type: mount --rbind",
	"move":       "stop the server, and mount it elsewhere",
	"loop":       "DATABASE is a file of ZODB and no image of a filesystem",
	"offset":     "DATABASE is a file of ZODB and no image of a filesystem",
	"sizelimit":  "DATABASE is a file of ZODB and no image of a filesystem",
	"shared":     "say it to mount(8) afterwards: mount --make-shared",
	"rshared":    "say it to mount(8) afterwards: mount --make-rshared",
	"unbindable": "say it to mount(8) afterwards: mount --make-unbindable",
}

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
				return nil, false, usagef("%s: %s needs a value", mountHelperName, arg)
			}
			if arg == "-o" {
				options = append(options, splitOptions(args[i])...)
			}
		case strings.Trim(arg[1:], "sfnv") == "" && len(arg) > 1:
			sloppy = sloppy || strings.Contains(arg, "s")
			fake = fake || strings.Contains(arg, "f")
		default:
			return nil, false, usagef("%s: unknown option %s", mountHelperName, arg)
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
	if fault.Is(err, fault.Running) {
		return nil
	}
	return err
}

// splitOptions splits at commas, but not at those in quotes, which the values of
// context= have (mount(8)).
func splitOptions(text string) []string {
	quoted := false
	return strings.FieldsFunc(text, func(r rune) bool {
		quoted = quoted != (r == '"')
		return r == ',' && !quoted
	})
}

// helperOptions turns the words of -o into flags.
func helperOptions(options []string, sloppy bool) (flags []string, err error) {
	for _, option := range options {
		name, _, valued := strings.Cut(option, "=")
		switch {
		case name == "" || slices.Contains(helperIgnored, name) || strings.HasPrefix(name, "x-") || strings.HasPrefix(name, "X-"):
		case option == "allow_other":
			flags = append(flags, "--allow-other")
		case name == "default_permissions": // as always with allow_other
		case name == "allow_root":
			return nil, &usageError{msg: mountHelperName + ": allow_root is not understood: say allow_other, which lets in root and all who may read the database"}
		case valued && slices.Contains(helperIgnoredValues, name):
		case helperRefused[name] != "":
			return nil, usagef("%s: %s in -o cannot be done; %s", mountHelperName, name, helperRefused[name])
		case slices.Contains(helperFlags, name):
			flags = append(flags, "--"+option)
		case !sloppy:
			return nil, &usageError{msg: fmt.Sprintf("%s: unknown option %q in -o", mountHelperName, option),
				text: "it may be one of allow_other, " + strings.Join(helperFlags, ", ")}
		}
	}
	return flags, nil
}
