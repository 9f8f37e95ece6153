package perf

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
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

// print writes the table for people.
func (t *Table) print(w io.Writer) {
	fmt.Fprintf(w, "\n%s at %s, Linux %s, %d x %s, load %.4g\n\n", t.Commit, t.Time.Format(time.DateTime), t.Kernel, t.CPUs, t.Processor, t.Load)
	columns := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(columns, "row\tmeasured\tyardstick\tratio\ttarget\t")
	for _, r := range t.Rows {
		met := "met"
		switch {
		case r.Target.Of == "":
			met = ""
		case !r.Met:
			met = "-"
		}
		fmt.Fprintf(columns, "%s\t%s %s\t%s of %s\t%.2f\t%s\t%s\n",
			r.Name, figure(r.Value), r.Unit, figure(r.Yardstick), r.Than, r.Ratio, r.text(), met)
	}
	columns.Flush()
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
	require.Regexp(t, `(?m)^start +14\.0 ms +2 of C +7\.00 +<= 8 ms +-$`, out.String())
	require.Regexp(t, `(?m)^cold +3 GB/s +3\.1 of C +0\.97 +>= 0\.9 +met$`, out.String())
}
