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

// notRun begins a block of commands that the tests do not run, and says why.
const notRun = "# not run by the test: "

// commandBlocks returns the blocks of commands of a document: the literal ones after
// "::". skipped counts those that say why they are not run.
func commandBlocks(text string) (blocks []string, skipped int) {
	in, block := false, ""
	end := func() {
		switch {
		case strings.HasPrefix(block, notRun):
			skipped++
		case block != "":
			blocks = append(blocks, block)
		}
		in, block = false, ""
	}
	for line := range strings.Lines(text + "\nend\n") {
		switch code, indented := strings.CutPrefix(line, "    "); {
		case in && indented:
			block += code
		case in && strings.TrimSpace(line) != "":
			end()
		case in && block != "":
			block += line
		}
		if trimmed := strings.TrimSpace(line); !in && strings.HasSuffix(trimmed, "::") && !strings.HasPrefix(trimmed, "..") && !strings.Contains(line, "\"::\"") {
			in = true
		}
	}
	return blocks, skipped
}

// TestDocumentsCanBeTyped: every command of README.rst and guide.rst, word for word and
// one after the other, in a fresh directory.
func TestDocumentsCanBeTyped(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		path    string
		blocks  int
		skipped int
		dir     func() string
		says    []string
	}{
		{"../README.rst", 2, 1, func() string { return sourceTree(t) },
			[]string{"Server, mount and database are gone again.", "imported temperature: <f8 (6000,)", " 2097152 "}},
		{"../doc/guide.rst", 9, 2, func() string { return t.TempDir() },
			[]string{"imported samples: <f8 (1000, 24)", "appended to temperature, now <f8 (2000, 24)", "ok - read head/at", " 2097152 "}},
	} {
		blocks, skipped := commandBlocks(content(t, c.path))
		require.Equal(t, c.skipped, skipped, c.path)
		require.Len(t, blocks, c.blocks, "%s: %q", c.path, blocks)
		dir := c.dir()
		out, err := shell(t, dir, "set -x\n"+strings.Join(blocks, "\n"), "PATH="+filepath.Dir(binary)+":"+os.Getenv("PATH"))
		require.NoError(t, err, "%s: %s", c.path, out)
		for _, text := range c.says {
			require.Contains(t, out, text, c.path)
		}
		require.Empty(t, wcfsMounts(dir))
	}
}
