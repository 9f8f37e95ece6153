package t

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestPromisesNameTheirTests: every test that doc/semantics.rst names exists in
// the package it says.
func TestPromisesNameTheirTests(t *testing.T) {
	pkg, promises := "", 0
	for line := range strings.Lines(content(t, "../doc/semantics.rst")) {
		column := line[min(60, len(line)):]
		if found := regexp.MustCompile(`^([a-z/0-9]+):`).FindStringSubmatch(column); found != nil {
			pkg = found[1]
		}
		for _, name := range regexp.MustCompile(`\b[A-Z][A-Za-z0-9]{9,}\b`).FindAllString(column, -1) {
			promises++
			require.True(t, hasTest(t, pkg, name), "%s: %s", pkg, name)
		}
	}
	require.Greater(t, promises, 20)
}

// hasTest reports whether the package in a directory has a test of that name.
func hasTest(t *testing.T, pkg, name string) bool {
	files, err := filepath.Glob(filepath.Join("..", pkg, "*_test.go"))
	require.NoError(t, err)
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		if strings.Contains(string(text), "func Test"+name+"(") {
			return true
		}
	}
	return false
}

// TestMetricsAreDocumented: operations.rst has every metric of a server, and no
// other.
func TestMetricsAreDocumented(t *testing.T) {
	t.Parallel()
	s := Start(t, "topo")
	served := namesOf(`(?m)^# TYPE (wcfs_\w+) `, content(t, s.Path(".wcfs/metrics")))
	table, _, _ := strings.Cut(content(t, "../doc/operations.rst"), "come on top")
	documented := namesOf("``(wcfs_\\w+)", table)
	require.NotEmpty(t, served)
	for name := range served {
		require.True(t, documented[name], "%s is not in operations.rst", name)
	}
	for name := range documented {
		require.True(t, served[name], "%s is in operations.rst, but there is no such metric", name)
	}
}

// namesOf returns what the first group of a pattern matches.
func namesOf(pattern, text string) map[string]bool {
	names := map[string]bool{}
	for _, found := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		names[found[1]] = true
	}
	return names
}
