package perf

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/t/harness"
	"golang.org/x/sys/unix"
)

// Table is all rows, and where they were measured.
type Table struct {
	Commit    string    `json:"commit"`
	Time      time.Time `json:"time"`
	Kernel    string    `json:"kernel"`
	Processor string    `json:"processor"`
	CPUs      int       `json:"cpus"`
	Request   int64     `json:"max_request"` // bytes, what the kernel lets a request have
	Load      []float64 `json:"load"`        // average of a minute, before and after
	Rows      []Row     `json:"rows"`
}

// newTable says where this is.
func newTable(t testing.TB) *Table {
	t.Helper()
	var u unix.Utsname
	require.NoError(t, unix.Uname(&u))
	commit, _ := exec.Command("git", "-C", harness.Repo(), "describe", "--always", "--dirty").Output() // an archive has none
	return &Table{
		Commit: strings.TrimSpace(string(commit)), Time: time.Now().UTC().Truncate(time.Second),
		Kernel: unix.ByteSliceToString(u.Release[:]), Processor: processor(), CPUs: runtime.NumCPU(),
		Load: []float64{load(t)},
	}
}

// end says what is known afterwards: wcfs has the kernel allow large requests.
func (t *Table) end(tb testing.TB) {
	tb.Helper()
	t.Load = append(t.Load, load(tb))
	pages, err := strconv.ParseInt(strings.TrimSpace(harness.Content(tb, "/proc/sys/fs/fuse/max_pages_limit")), 10, 64)
	if err != nil { // before Linux 6.13
		pages = 256
	}
	t.Request = min(blkSize, pages*int64(os.Getpagesize()))
}

// load is how many programs want to run, on the average of the last minute.
func load(t testing.TB) float64 {
	t.Helper()
	first, _, _ := strings.Cut(harness.Content(t, "/proc/loadavg"), " ")
	is, err := strconv.ParseFloat(first, 64)
	require.NoError(t, err)
	return is
}

func processor() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(text)) {
		if name, is, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(is)
		}
	}
	return runtime.GOARCH
}

// print writes the table for people, as a document can have it.
func (t *Table) print(w io.Writer) {
	fmt.Fprintf(w, "\n%s at %s, Linux %s, %d x %s, load %.4g\n\n", t.Commit, t.Time.Format(time.DateTime), t.Kernel, t.CPUs, t.Processor, t.Load)
	lines := [][]string{{"row", "measured", "yardstick", "ratio", "target", "met"}}
	for _, r := range t.Rows {
		lines = append(lines, []string{r.Name, figure(r.Value) + " " + r.Unit, figure(r.Yardstick) + ", " + r.Than,
			fmt.Sprintf("%.2f", r.Ratio), r.text(), r.verdict()})
	}
	widths := make([]int, len(lines[0]))
	for _, line := range lines {
		for i, cell := range line {
			widths[i] = max(widths[i], len(cell))
		}
	}
	border := make([]string, len(widths))
	for i, width := range widths {
		border[i] = strings.Repeat("=", width)
	}
	for _, line := range slices.Concat([][]string{border}, lines[:1], [][]string{border}, lines[1:], [][]string{border}) {
		var text strings.Builder
		for i, cell := range line {
			fmt.Fprintf(&text, "%-*s  ", widths[i], cell)
		}
		fmt.Fprintln(w, strings.TrimSpace(text.String()))
	}
}

// verdict says in a word whether the target is reached.
func (r *Row) verdict() string {
	switch {
	case r.Target.Of == "":
		return ""
	case r.Met:
		return "yes"
	}
	return "no"
}

// figure writes a number with three digits.
func figure(x float64) string {
	switch {
	case x >= 100:
		return fmt.Sprintf("%.0f", x)
	case x >= 10:
		return fmt.Sprintf("%.1f", x)
	}
	return fmt.Sprintf("%.3g", x)
}

// write writes the table for programs.
func (t *Table) write(tb testing.TB, path string) {
	tb.Helper()
	text, err := json.MarshalIndent(t, "", "  ")
	require.NoError(tb, err)
	require.NoError(tb, os.WriteFile(path, append(text, '\n'), 0o644))
}

// TestRowsTellWhetherTheirTargetIsMet, of the ratio or the value, and have the percentile that
// they say.
func TestRowsTellWhetherTheirTargetIsMet(t *testing.T) {
	samples := []float64{4, 1, 3, 2, 100}
	for _, c := range []struct {
		target Target
		met    bool
	}{
		{ratioAtLeast(1.5), true}, {ratioAtLeast(1.6), false}, {ratioAtMost(1.5), true}, {ratioAtMost(1.4), false},
		{valueAtLeast(3), true}, {valueAtLeast(3.1), false}, {valueAtMost(3), true}, {valueAtMost(2.9), false},
	} {
		r := Row{Target: c.target}
		r.setSamples(samples, []float64{2, 1, 50})
		require.Equal(t, []float64{3, 2, 1.5}, []float64{r.Value, r.Yardstick, r.Ratio})
		require.Equal(t, c.met, r.Met, "%+v", c.target)
	}
	tail := Row{share: 0.99}
	tail.setSamples(samples, nil)
	require.Equal(t, []float64{100, 3}, []float64{tail.Value, tail.Yardstick})
}

// TestTableSaysUnitsAndTargets to people, one line for a row.
func TestTableSaysUnitsAndTargets(t *testing.T) {
	table := Table{Rows: []Row{{Name: "start", Unit: "ms", Than: "C", Target: valueAtMost(8)}, {Name: "cold", Unit: "GB/s", Than: "C", Target: ratioAtLeast(0.9)}}}
	table.Rows[0].setSamples([]float64{14}, []float64{2})
	table.Rows[1].setSamples([]float64{3}, []float64{3.1})
	var out strings.Builder
	table.print(&out)
	require.Regexp(t, `(?m)^start +14\.0 ms +2, C +7\.00 +<= 8 ms +no$`, out.String())
	require.Regexp(t, `(?m)^cold +3 GB/s +3\.1, C +0\.97 +>= 0\.9 +yes$`, out.String())
}
