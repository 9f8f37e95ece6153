package operate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/VictoriaMetrics/metricsql"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/t/harness"
	"go.yaml.in/yaml/v3"
	"golang.org/x/sys/unix"
)

// alerts is the file of alerts.
type alerts struct {
	Groups []struct {
		Name  string
		Rules []struct{ Alert, Expr string }
	}
}

// dashboard is what is looked at of the dashboard.
type dashboard struct {
	SchemaVersion int
	Templating    struct {
		List []struct{ Name, Definition string }
	}
	Panels []struct {
		ID      int
		Title   string
		Type    string
		GridPos struct{ X, Y, W, H int }
		Targets []struct{ Expr string }
	}
}

func readAlerts(t *testing.T) (all alerts) {
	t.Helper()
	require.NoError(t, yaml.Unmarshal([]byte(harness.Content(t, harness.Repo("dist/wcfs.rules.yml"))), &all))
	return all
}

func readDashboard(t *testing.T) (d dashboard) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(harness.Content(t, harness.Repo("dist/wcfs.dashboard.json"))), &d))
	return d
}

// expressions returns what dashboard and alerts ask for, by where. Variables of Grafana are
// replaced as it does it.
func expressions(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, group := range readAlerts(t).Groups {
		for _, rule := range group.Rules {
			all["alert "+rule.Alert] = rule.Expr
		}
	}
	variables := strings.NewReplacer("$__rate_interval", "5m", "$__range", "6h", "$job", ".*", "$instance", ".*")
	for _, panel := range readDashboard(t).Panels {
		for i, target := range panel.Targets {
			all[fmt.Sprintf("panel %d %s/%d", panel.ID, panel.Title, i)] = variables.Replace(target.Expr)
		}
	}
	return all
}

// ofPrometheus are labels and metrics that Prometheus makes itself.
var ofPrometheus = map[string]bool{"job": true, "instance": true, "le": true, "up": true}

// served returns the metrics of a server after something of each kind has happened.
func served(t *testing.T) map[string]*dto.MetricFamily {
	t.Helper()
	const size = 64 << 10
	sc := harness.NewSceneOf(t, 0, size)
	at := sc.Commit(0)
	harness.ReadAt(t, sc.File.Path(sc.Server, "head"), 0, size)
	sc.Commit(0)
	sc.Server.Watcher().Watch(sc.File, at)
	_, err := os.Stat(sc.Server.Path("head/bigfile/ffff000000000000"))
	require.ErrorIs(t, err, unix.EINVAL)
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(harness.Content(t, sc.Server.Path(".wcfs/metrics"))))
	require.NoError(t, err)
	return families
}

// TestDashboardAndAlertsAskForWhatServersTell: each metric, label and value of a label that
// they name is one of a running server.
func TestDashboardAndAlertsAskForWhatServersTell(t *testing.T) {
	t.Parallel()
	families := served(t)
	asked := expressions(t)
	require.Greater(t, len(asked), 40)
	for where, text := range asked {
		expr, err := metricsql.Parse(text)
		require.NoError(t, err, "%s: %s", where, text)
		var labels []string // that results are grouped by
		var names []string
		metricsql.VisitAll(expr, func(e metricsql.Expr) {
			switch e := e.(type) {
			case *metricsql.AggrFuncExpr:
				labels = append(labels, e.Modifier.Args...)
			case *metricsql.MetricExpr:
				for _, filters := range e.LabelFilterss {
					names = append(names, requireServed(t, where, families, filters))
				}
			}
		})
		require.NotEmpty(t, names, where)
		for _, label := range labels {
			require.True(t, ofPrometheus[label] || hasLabel(families[names[0]], label, nil), "%s: %s has no label %s", where, names[0], label)
		}
	}
}

// requireServed requires that a server has what a selector asks for, and returns the name of
// the metric.
func requireServed(t *testing.T, where string, families map[string]*dto.MetricFamily, filters []metricsql.LabelFilter) string {
	t.Helper()
	require.Equal(t, "__name__", filters[0].Label, where)
	name := filters[0].Value
	if ofPrometheus[name] {
		return name
	}
	if histogram, ok := strings.CutSuffix(name, "_bucket"); ok {
		name = histogram
	}
	require.Contains(t, families, name, where)
	for _, f := range filters[1:] {
		is := func(value string) bool { return value == f.Value }
		require.True(t, ofPrometheus[f.Label] || hasLabel(families[name], f.Label, is), "%s: no %s has %s=%q", where, name, f.Label, f.Value)
	}
	return name
}

// hasLabel reports whether a metric has a label, with a value if that is not nil.
func hasLabel(family *dto.MetricFamily, label string, is func(value string) bool) bool {
	for _, metric := range family.GetMetric() {
		for _, pair := range metric.GetLabel() {
			if pair.GetName() == label && (is == nil || is(pair.GetValue())) {
				return true
			}
		}
	}
	return false
}

// TestDashboardIsLaidOut: panels have their own numbers, and none covers another.
func TestDashboardIsLaidOut(t *testing.T) {
	t.Parallel()
	d := readDashboard(t)
	require.GreaterOrEqual(t, d.SchemaVersion, 39)
	ids, cells := map[int]bool{}, map[[2]int]string{}
	for _, p := range d.Panels {
		require.False(t, ids[p.ID], "%d", p.ID)
		ids[p.ID] = true
		require.LessOrEqual(t, p.GridPos.X+p.GridPos.W, 24, p.Title)
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				at := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
				require.Empty(t, cells[at], "%s covers it", p.Title)
				cells[at] = p.Title
			}
		}
		require.True(t, p.Type == "row" || len(p.Targets) > 0, p.Title)
	}
}

// TestAlertsFire on made-up series, and not before; and Prometheus understands all that
// dashboard and alerts ask for, and the metrics.
func TestAlertsFire(t *testing.T) {
	t.Parallel()
	rules := harness.Content(t, harness.Repo("dist/wcfs.rules.test.yml"))
	for _, group := range readAlerts(t).Groups {
		for _, rule := range group.Rules {
			require.Equal(t, 2, strings.Count(rules, "alertname: "+rule.Alert+"\n"), "%s is tested", rule.Alert)
		}
	}
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		if promtool, err = exec.LookPath(harness.Repo("bin/promtool")); err != nil {
			t.Skip("there is no promtool: make bin/promtool, or install prometheus")
		}
	}
	run := func(input string, args ...string) {
		t.Helper()
		cmd := exec.Command(promtool, args...)
		cmd.Dir, cmd.Stdin = harness.Repo("dist"), strings.NewReader(input)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	run("", "check", "rules", "wcfs.rules.yml")
	run("", "test", "rules", "wcfs.rules.test.yml")

	var recorded bytes.Buffer
	fmt.Fprintln(&recorded, "groups:\n- name: dashboard\n  rules:")
	n := 0
	for _, expr := range expressions(t) {
		n++
		quoted, err := json.Marshal(expr) // which is YAML as well
		require.NoError(t, err)
		fmt.Fprintf(&recorded, "  - record: asked:%d\n    expr: %s\n", n, quoted)
	}
	path := filepath.Join(t.TempDir(), "dashboard.yml")
	require.NoError(t, os.WriteFile(path, recorded.Bytes(), 0o644))
	run("", "check", "rules", path)
	s := harness.Start(t, "topo")
	run(harness.Content(t, s.Path(".wcfs/metrics")), "check", "metrics")
}
