package pickle

import (
	"bufio"
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestSkippedIsOnePickle and nothing behind it; its opcodes are as large together.
func TestSkippedIsOnePickle(t *testing.T) {
	for _, v := range vectors(t) {
		data := append(v.pickle, "rest"...)
		r := bufio.NewReader(bytes.NewReader(data))
		require.NoError(t, Skip(r), "%s of protocol %d", v.name, v.proto)
		rest, err := io.ReadAll(r)
		require.NoError(t, err)
		require.Equal(t, "rest", string(rest), "%s of protocol %d", v.name, v.proto)
		sum := 0
		for sum < len(v.pickle) {
			size, err := Size(v.pickle[sum:])
			require.NoError(t, err, "%s of protocol %d", v.name, v.proto)
			sum += size
		}
		require.Equal(t, len(v.pickle), sum)
		require.Error(t, Skip(bufio.NewReader(bytes.NewReader(v.pickle[:len(v.pickle)-1]))))
	}
}

func TestWhatIsNoPickleIsNotSkipped(t *testing.T) {
	for _, data := range []string{
		"", "N", "N\xff.", "K", "U\x05abcd", "Iab", "cm\nC.", "I1\x002\n.",
		"T\x00\x00\x00\x80" + strings.Repeat("x", 100), "\x8e\xff\xff\xff\xff\xff\xff\xff\xff.",
	} {
		require.Error(t, Skip(bufio.NewReader(strings.NewReader(data))), "%q", data)
	}
	for _, data := range []string{"", "\xff", "K", "U\x05abcd", "Iab", "cm\nC."} {
		_, err := Size([]byte(data))
		require.IsType(t, &Error{}, err, "%q", data)
	}
}
