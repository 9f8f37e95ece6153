package lint

import (
	"bytes"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestStaticcheckFindsNothing, but for what has a budget.
func TestStaticcheckFindsNothing(t *testing.T) {
	t.Parallel()
	hold(t, "staticcheck", "see https://staticcheck.dev/docs/checks", tool(t, nil, "staticcheck", "./..."))
}

// TestNothingIsUnreachable: each function is called by a program or a test. Package client
// is for other programs, too.
func TestNothingIsUnreachable(t *testing.T) {
	t.Parallel()
	api := regexp.MustCompile(`^client/`)
	hold(t, "deadcode", "remove what nobody calls", tool(t, api, "deadcode", "-test", "-tags", "invariants", "./..."))
}

// TestErrorsAreLookedAt, or thrown away by name (_ =). A deferred Close of what was only
// read, and a case of a select, need no word.
func TestErrorsAreLookedAt(t *testing.T) {
	t.Parallel()
	plain := regexp.MustCompile(`\t(?:defer [^\n]*Close\(\)|case <-)`)
	hold(t, "errcheck", "look at the error, or write _ = and why it does not matter",
		tool(t, plain, "errcheck", "-ignoretests", "-exclude", "t/lint/errcheck.txt", "./client/...", "./internal/...", "./wcfs/..."))
}

// tool runs a tool, of which go.mod names the version, and counts what it finds by file,
// but for lines that a pattern matches.
func tool(t *testing.T, but *regexp.Regexp, args ...string) map[string]int {
	t.Helper()
	cmd := exec.Command("go", append([]string{"tool"}, args...)...)
	cmd.Dir = root
	var words bytes.Buffer
	cmd.Stderr = &words
	out, err := cmd.Output()
	found, all := map[string]int{}, ""
	for line := range strings.Lines(string(out)) {
		place := finding.FindStringSubmatch(line)
		require.NotNil(t, place, "%s says: %s", args[0], line)
		if but == nil || !but.MatchString(line) {
			found[place[1]]++
			all += line
		}
	}
	if len(out) == 0 {
		require.NoError(t, err, "%s: %s", args[0], words.String())
	}
	t.Log(all)
	return found
}

// finding is a line of a tool: file, line, column and text.
var finding = regexp.MustCompile(`^(?:\./)?([^:]+\.go):\d+:\d+:\s`)
