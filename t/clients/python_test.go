package clients

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wcfs/wcfs/t/harness"
)

// pythonLimit bounds the tests of a file; each test has a limit of its own.
const pythonLimit = 15 * time.Minute

var effort = flag.Int("effort", 1, "how many times as long the tests of the Python package take that need time")

// python is a Python that has the package as users get it: from the wheel.
type python struct {
	program string
	env     []string
}

// newPython builds the wheel of a copy of the sources, so that nothing is left among them,
// and installs it.
func newPython(t *testing.T) python {
	t.Helper()
	dir := t.TempDir()
	p := python{filepath.Join(harness.NumPy(t), "python"), append(os.Environ(),
		"WCFS="+harness.Binary, "WCFS_TEST_LIBRARY="+testLibrary(t), "PYTHONPATH="+filepath.Join(dir, "site"),
		fmt.Sprint("WCFS_TEST_EFFORT=", *effort), "PYTHONPYCACHEPREFIX="+harness.Repo("bin/pycache"), "OMP_NUM_THREADS=1")}
	command(t, nil, "cp", "-r", harness.Repo("client"), dir)
	pip := func(args ...string) {
		command(t, nil, p.program, append([]string{"-m", "pip", "--disable-pip-version-check", "--quiet"}, args...)...)
	}
	pip("wheel", "--no-deps", "--no-build-isolation", "-w", dir, filepath.Join(dir, "client/python"))
	wheels, err := filepath.Glob(filepath.Join(dir, "wcfs-*-py3-none-linux_*.whl"))
	require.NoError(t, err)
	require.Len(t, wheels, 1, "a wheel for any Python 3 of this machine")
	pip("install", "--no-deps", "--target", filepath.Join(dir, "site"), wheels[0])
	return p
}

// command runs a program and requires success.
func command(t *testing.T, env []string, program string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), pythonLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = env
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s: %s", cmd, out)
	t.Logf("%s", out)
}

// pytest runs files of the tests of the package.
func (p python) pytest(t *testing.T, files ...string) {
	t.Helper()
	args := []string{"-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", "--tb=short", "--durations=5", "--basetemp=" + filepath.Join(t.TempDir(), "pytest")}
	for _, file := range files {
		args = append(args, filepath.Join(harness.Repo("client/python/tests"), file))
	}
	command(t, p.env, p.program, args...)
}

// TestPythonPackage runs its tests, and its examples, against servers that it starts: first
// how fast it is, while nothing else runs.
func TestPythonPackage(t *testing.T) {
	t.Logf("-effort %d: %d snapshots leave nothing behind, %d seconds of faults with the GIL held", *effort, 1000**effort, 4**effort)
	p := newPython(t)
	p.pytest(t, "test_speed.py")
	t.Parallel()
	all, err := filepath.Glob(harness.Repo("client/python/tests/test_*.py"))
	require.NoError(t, err)
	for _, path := range all {
		if file := filepath.Base(path); file != "test_speed.py" {
			t.Run(strings.TrimSuffix(file, ".py"), func(t *testing.T) {
				t.Parallel()
				p.pytest(t, file)
			})
		}
	}
}
