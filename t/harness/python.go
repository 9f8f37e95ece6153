package harness

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// NumPy returns the directory of programs of a Python with NumPy, ZODB and what else the tests
// of clients need. It is made if make has not done that.
func NumPy(t testing.TB) string {
	t.Helper()
	venv, err := filepath.Abs(Repo("bin/venv-clients"))
	require.NoError(t, err)
	out, err := exec.Command(Repo("t/witness/venv.sh"), venv, Repo("client/python/requirements-test.txt")).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return filepath.Join(venv, "bin")
}
