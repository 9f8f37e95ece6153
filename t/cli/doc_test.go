package cli

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/internal/zodb/neo/neotest"
	"github.com/wcfs/wcfs/t/harness"
)

// TestMetricsAreDocumented: operations.rst has every metric of a server, and no
// other.
func TestMetricsAreDocumented(t *testing.T) {
	t.Parallel()
	served := map[string]bool{}
	inCluster, _ := harness.NewLiveNEO(t, neotest.Options{}) // with metrics of its nodes
	for _, s := range []*harness.Server{harness.Start(t, "topo"), inCluster.Start()} {
		maps.Copy(served, namesOf(`(?m)^# TYPE (wcfs_\w+) `, harness.Content(t, s.Path(".wcfs/metrics"))))
	}
	table, _, _ := strings.Cut(harness.Content(t, harness.Repo("doc/operations.rst")), "come on top")
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
		{harness.Repo("README.rst"), 2, 1, func() string { return sourceTree(t) },
			[]string{"Server, mount and database are gone again.", "imported temperature: <f8 (6000,)", " 52096 "}},
		{harness.Repo("doc/guide.rst"), 10, 5, func() string { return t.TempDir() },
			[]string{"imported samples: <f8 (1000, 24)", "appended to temperature, now <f8 (2000, 24)", "ok - read head/at", " 2097152 "}},
	} {
		blocks, skipped := commandBlocks(harness.Content(t, c.path))
		require.Equal(t, c.skipped, skipped, c.path)
		require.Len(t, blocks, c.blocks, "%s: %q", c.path, blocks)
		dir := c.dir()
		// Readers have a Python with NumPy; they are told so.
		path := filepath.Dir(harness.Binary) + ":" + harness.NumPy(t) + ":" + os.Getenv("PATH")
		out, err := shell(t, dir, "set -x\n"+strings.Join(blocks, "\n"), "PATH="+path)
		require.NoError(t, err, "%s: %s", c.path, out)
		for _, text := range c.says {
			require.Contains(t, out, text, c.path)
		}
		require.Empty(t, harness.Mounts(dir))
	}
}
