package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain makes this binary a wcfs for the scripts, so that what they run
// counts as covered.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"wcfs": main})
}

// TestCommandLine runs the transcripts in testdata. UPDATE=1 writes what the
// commands really say into them.
//
// Scripts can use $SAMPLE, a database; the command exits CODE PROGRAM ARGS; and
// the conditions [root], [namespaces]: we may have mounts of our own, and [zodb]: $PYTHON
// has ZODB.
func TestCommandLine(t *testing.T) {
	sample, err := filepath.Abs("../t/testdata/topo.fs")
	if err != nil {
		t.Fatal(err)
	}
	python, err := filepath.Abs("../bin/venv/bin/python") // of make bin/venv
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:           "testdata",
		Deadline:      time.Now().Add(4 * time.Minute), // a server that starts against expectation stays
		UpdateScripts: os.Getenv("UPDATE") != "",
		Cmds:          map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
		Setup: func(env *testscript.Env) error {
			env.Setenv("SAMPLE", sample)
			env.Setenv("PYTHON", python)
			env.Setenv("GORACE", "atexit_sleep_ms=0") // else every command takes a second
			return nil
		},
		Condition: func(name string) (bool, error) {
			switch name {
			case "root":
				return os.Getuid() == 0, nil
			case "zodb":
				return exec.Command(python, "-c", "import ZODB").Run() == nil, nil
			case "namespaces":
				return os.Getuid() == 0 && exec.Command("unshare", "-m", "true").Run() == nil, nil
			}
			return false, fmt.Errorf("no condition %q", name)
		},
	})
}

// exits runs a program and requires an exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM [ARGS]")
	}
	code := 0
	var failed *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &failed) {
		code = failed.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if fmt.Sprint(code) != args[0] {
		ts.Fatalf("exit code %d, want %s; stderr:\n%s", code, args[0], ts.ReadFile("stderr"))
	}
}
