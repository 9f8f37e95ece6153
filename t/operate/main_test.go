package operate

import (
	"testing"

	"github.com/wcfs/wcfs/t/harness"
)

func TestMain(m *testing.M) {
	harness.Main(m, harness.Helpers{
		"access": helperAccess, "flock": helperFlock, "join": helperJoin, "without": helperWithout,
	})
}
