package release

import (
	"os"
	"regexp"
	"runtime/debug"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestStampIsUnderstood, wherever it comes from.
func TestStampIsUnderstood(t *testing.T) {
	for text, want := range map[string]string{
		"0123abcd:1700000000":  "0123abcd",
		"0123abcd+:1700000000": "0123abcd+",
		"$Format:%H:%ct$":      "",
		"":                     "",
		":":                    "",
		":1700000000":          "",
		"0123abcd:":            "",
		"xyz:1700000000":       "",
	} {
		commit, at, ok := parseStamp(text)
		require.Equal(t, want, commit, text)
		require.Equal(t, want != "", ok, text)
		if ok {
			require.EqualValues(t, 1700000000, at.Unix())
		}
	}
	info := &debug.BuildInfo{Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: "abc"}, {Key: "vcs.time", Value: "2024-02-29T12:00:00Z"}, {Key: "vcs.modified", Value: "true"}}}
	require.Equal(t, "abc+:1709208000", vcsStamp(info))
	require.Empty(t, vcsStamp(&debug.BuildInfo{}))
	require.Empty(t, vcsStamp(nil))
}

// TestChangeLogHasTheVersion: the newest one there, with its date, is this one.
func TestChangeLogHasTheVersion(t *testing.T) {
	require.Regexp(t, `^\d+\.\d+\.\d+$`, Version)
	require.False(t, released().IsZero())
	require.True(t, released().After(time.Unix(0, 0)))
	log, err := os.ReadFile("../../../CHANGELOG.rst")
	require.NoError(t, err)
	newest := regexp.MustCompile(`(?m)^(\d+\.\d+\.\d+) \((\d{4}-\d\d-\d\d)\)\n=+$`).FindSubmatch(log)
	require.NotNil(t, newest, "a heading: VERSION (DATE)")
	require.Equal(t, Version+" "+Date, string(newest[1])+" "+string(newest[2]))
}
