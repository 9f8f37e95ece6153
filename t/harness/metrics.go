package harness

import (
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Metrics returns the figures of .wcfs/metrics, by series without wcfs_.
func (s *Server) Metrics() map[string]float64 {
	s.T.Helper()
	return ParseMetrics(s.T, Content(s.T, s.Path(".wcfs/metrics")))
}

// ParseMetrics returns the samples of a text in the format of Prometheus.
func ParseMetrics(t testing.TB, text string) map[string]float64 {
	t.Helper()
	all := make(map[string]float64)
	for line := range strings.Lines(text) {
		if line[0] == '#' {
			continue
		}
		i := strings.LastIndexByte(line, ' ')
		value, err := strconv.ParseFloat(strings.TrimSpace(line[i:]), 64)
		require.NoError(t, err, line)
		all[strings.TrimPrefix(line[:i], "wcfs_")] = value
	}
	return all
}
