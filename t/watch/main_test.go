package watch

import (
	"testing"

	"github.com/wcfs/wcfs/t/harness"
)

func TestMain(m *testing.M) {
	harness.Main(m, harness.Helpers{
		"cached-pages": helperCachedPages, "chase": helperChase, "escaping": helperEscaping, "isolated": helperIsolated,
		"link-hog": helperLinkHog, "size": helperSize,
	})
}
