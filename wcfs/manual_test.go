package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wcfs/wcfs/internal/serve/manual"
	"github.com/wcfs/wcfs/internal/zodb/fault"
)

// TestManualPagesLoseNothing: every word of the help is in the page as man(1) shows
// it, nothing is found wrong with it, and it is of no impossible day.
func TestManualPagesLoseNothing(t *testing.T) {
	root := newRoot()
	dir := t.TempDir()
	root.SetArgs([]string{"__man", dir})
	require.NoError(t, root.Execute())
	pages, err := filepath.Glob(filepath.Join(dir, "*.1"))
	require.NoError(t, err)
	require.Len(t, pages, 1+len(manual.Commands(root)))

	for _, c := range append(manual.Commands(root), root) {
		path := filepath.Join(dir, manual.Name(c)+".1")
		page, err := os.ReadFile(path)
		require.NoError(t, err)
		require.NotContains(t, string(page), "1970")
		require.Regexp(t, fmt.Sprintf(`^\.TH "%s" "1" "20\d\d-\d\d-\d\d" "wcfs \d+\.\d+\.\d+" "wcfs"\n`, strings.ToUpper(manual.Name(c))), string(page))
		text := rendered(t, path)
		long, _ := strings.CutSuffix(strings.TrimSpace(c.Long), fault.Help())
		for _, word := range strings.Fields(long + " " + c.Example + " " + c.UseLine()[len(c.Name()):]) {
			if c != root || word != "[flags]" {
				require.Contains(t, text, word, "%s\n%s", path, text)
			}
		}
		if mandoc, err := exec.LookPath("mandoc"); err == nil {
			out, _ := exec.Command(mandoc, "-T", "lint", "-W", "warning", path).CombinedOutput()
			require.Empty(t, string(out))
		}
	}
	text := rendered(t, filepath.Join(dir, "wcfs.1"))
	for _, c := range fault.ExitCodes() {
		require.Regexp(t, fmt.Sprintf(`(?m)^ +%d +%s`, c.Code, regexp.QuoteMeta(c.Long)), text, "exit code %d", c.Code)
	}
}

// rendered returns a page as it is shown, on one line.
func rendered(t *testing.T, path string) string {
	t.Helper()
	cmd := exec.Command("man", "-l", path)
	cmd.Env = append(os.Environ(), "MANWIDTH=1000", "MANPAGER=cat", "LC_ALL=C.UTF-8", "MAN_KEEP_FORMATTING=", "TERM=dumb")
	out, err := cmd.Output()
	if err != nil {
		cmd = exec.Command("mandoc", "-T", "utf8", "-O", "width=1000", path)
		if out, err = cmd.Output(); err != nil {
			t.Skip("there is neither man nor mandoc")
		}
	}
	return regexp.MustCompile(`.\x08`).ReplaceAllString(string(out), "")
}
