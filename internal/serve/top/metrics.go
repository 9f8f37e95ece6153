package top

import (
	"bytes"
	"fmt"
	"slices"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// metrics is what a server tells in numbers, by the name behind wcfs_, or the whole name of
// metrics that every program has.
type metrics map[string]*dto.MetricFamily

func parseMetrics(text []byte) (metrics, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("read metrics: %w", err)
	}
	return families, nil
}

// family returns what there is by a name.
func (m metrics) family(name string) *dto.MetricFamily {
	if f := m["wcfs_"+name]; f != nil {
		return f
	}
	return m[name]
}

// sum returns the sum of a metric over all labels but those that are given, as names each
// with its value. ok is false if there is no such metric.
func (m metrics) sum(name string, labels ...string) (sum float64, ok bool) {
	for _, metric := range m.family(name).GetMetric() {
		if !has(metric, labels) {
			continue
		}
		// Only one of them is there, the others are 0.
		sum += metric.GetCounter().GetValue() + metric.GetGauge().GetValue() + metric.GetUntyped().GetValue()
		ok = true
	}
	return sum, ok
}

// times returns how many times something has taken, and how many seconds in all.
func (m metrics) times(name string, labels ...string) (count, seconds float64, ok bool) {
	for _, metric := range m.family(name).GetMetric() {
		if h := metric.GetHistogram(); h != nil && has(metric, labels) {
			count += float64(h.GetSampleCount())
			seconds += h.GetSampleSum()
			ok = true
		}
	}
	return count, seconds, ok
}

// has reports whether a metric has all labels.
func has(m *dto.Metric, labels []string) bool {
	for i := 0; i < len(labels); i += 2 {
		if !slices.ContainsFunc(m.GetLabel(), func(l *dto.LabelPair) bool {
			return l.GetName() == labels[i] && l.GetValue() == labels[i+1]
		}) {
			return false
		}
	}
	return true
}
