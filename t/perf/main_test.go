package perf

import (
	"testing"

	"github.com/wcfs/wcfs/t/harness"
)

func TestMain(m *testing.M) {
	harness.Main(m, harness.Helpers{"reader": helperReader, "watchers": helperWatchers})
}
