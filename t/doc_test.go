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
