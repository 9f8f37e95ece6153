package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestHelpFitsIntoATerminal, for the commands about databases.
func TestHelpFitsIntoATerminal(t *testing.T) {
	for _, cmd := range newRoot().Commands() {
		if cmd.GroupID != "Databases:" {
			continue
		}
		for line := range strings.SplitSeq(cmd.Long, "\n") {
			require.LessOrEqual(t, len(line), 82, "%s: %s", cmd.Name(), line)
		}
	}
}
