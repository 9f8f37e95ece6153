package clients

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wcfs/wcfs/t/harness"
)

// pythonLimit bounds all tests of the Python package together.
const pythonLimit = 15 * time.Minute

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
	venv := harness.Repo("bin/venv-clients")
	command(t, nil, harness.Repo("t/witness/venv.sh"), venv, harness.Repo("client/python/requirements-test.txt"))
	p := python{filepath.Join(venv, "bin/python"), append(os.Environ(),
		"WCFS="+harness.Binary, "WCFS_TEST_LIBRARY="+testLibrary(t), "PYTHONPATH="+filepath.Join(dir, "site"),
		"PYTHONDONTWRITEBYTECODE=1", "OMP_NUM_THREADS=1")}
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

// TestPythonPackage runs its tests, and its examples, against servers that it starts.
func TestPythonPackage(t *testing.T) {
	p := newPython(t)
	command(t, p.env, p.program, "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", "--tb=short", "--durations=10",
		"--basetemp="+filepath.Join(t.TempDir(), "pytest"), harness.Repo("client/python/tests"))
}
