package live

import (
	"testing"

	"github.com/wcfs/wcfs/t/harness"
)

func TestMain(m *testing.M) {
	harness.Main(m, harness.Helpers{
		"check": helperCheck, "fresh": helperFresh, "gostress": helperGoStress, "grow": helperGrow, "sum": helperSum,
	})
}
