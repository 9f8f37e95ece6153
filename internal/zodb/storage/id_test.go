package storage

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOnlyCanonicalIDsAreParsed(t *testing.T) {
	for _, id := range []uint64{0, 1, 0x0123456789abcdef, 1<<64 - 1} {
		got, ok := ParseID(fmt.Sprintf("%016x", id))
		require.True(t, ok)
		require.Equal(t, id, got)
	}
	for _, bad := range []string{"", "1", "0123456789ABCDEF", "0123456789abcdeg", "0123456789abcdef0", "+123456789abcdef", " 123456789abcdef", "0x23456789abcdef"} {
		_, ok := ParseID(bad)
		require.False(t, ok, "%q", bad)
	}
}
