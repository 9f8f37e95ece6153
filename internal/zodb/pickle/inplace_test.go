package pickle

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDecodingInPlaceGivesTheSameWithoutCopies(t *testing.T) {
	for _, v := range vectors(t) {
		want, wantErr := Decode(v.pickle)
		got, err := DecodeInPlace(v.pickle)
		require.Equal(t, wantErr, err)
		require.Equal(t, want, got)
	}
	const size = 1 << 20
	data := []byte("(B\x00\x00\x10\x00" + strings.Repeat("b", size) + "X\x00\x00\x10\x00" + strings.Repeat("t", size) + "t.")
	copies := testing.Benchmark(func(b *testing.B) {
		for b.Loop() {
			_, _ = DecodeInPlace(data)
		}
	}).AllocedBytesPerOp()
	require.Less(t, copies, int64(4096))
}
