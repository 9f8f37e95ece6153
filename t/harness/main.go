package harness

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"testing"
)

// Binary is the wcfs under test, built by TestMain.
var Binary string

// Main is TestMain of every package that starts servers: it builds wcfs, runs the tests,
// and fails if they leave a mount or a process. With helpers of the package it runs the
// one that this process was started as, if it was; see StartHelper.
func Main(m *testing.M, helpers Helpers) {
	flag.Parse()
	if name := os.Getenv(HelperEnv); name != "" {
		os.Exit(runHelper(name, helpers, flag.Args()))
	}
	os.Exit(testMain(m))
}

// HearsHangup is what runs a program so that SIGHUP ends it, also if that was ignored
// when the tests were started, as by nohup(1). All others are left with that: the
// terminal that goes away tells them, too.
var HearsHangup = []string{"env", "--default-signal=HUP"}

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "wcfs-t-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	// All that tests make is below dir, so what they leave can be found.
	os.Setenv("TMPDIR", dir)
	Binary = filepath.Join(dir, "wcfs") // the process must be called wcfs
	build := exec.Command("go", "build", "-buildvcs=false", "-tags", tags(), "-o", Binary, Repo("wcfs"))
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build wcfs: %s\n%s", err, out)
		return 1
	}
	code := postgres.Around(m).Run()
	if left := Mounts(dir); len(left) > 0 {
		fmt.Fprintf(os.Stderr, "mounts left behind: %v\n", left)
		return 1
	}
	if left := ServersLeft(); len(left) > 0 {
		fmt.Fprintf(os.Stderr, "servers left behind: %v\n", left)
		return 1
	}
	return code
}

// tags returns the build tags of the tests, which the servers have as well.
func tags() string {
	info, _ := debug.ReadBuildInfo()
	for _, s := range info.Settings {
		if s.Key == "-tags" {
			return s.Value
		}
	}
	return ""
}

// ServersLeft returns the processes that run the wcfs under test.
func ServersLeft() (left []string) {
	exes, _ := filepath.Glob("/proc/[0-9]*/exe")
	for _, exe := range exes {
		if path, err := os.Readlink(exe); err == nil && path == Binary {
			left = append(left, filepath.Dir(exe))
		}
	}
	return left
}
