package pickle

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// allocated returns how much memory is allocated to decode a pickle, and the
// error. This sum is more than there is at a time.
func allocated(data []byte) (size uint64, err error) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err = Decode(data)
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc, err
}

// TestMemoryIsInProportionToThePickle repeats what takes much memory for each
// byte. Whether that is refused does not matter.
func TestMemoryIsInProportionToThePickle(t *testing.T) {
	const size = 1 << 18
	for _, c := range []struct{ begin, repeat, end string }{
		{"(", "]", "t"}, {"(", "}", "t"}, {"(", "\x8f", "t"}, {"(", "(\x91", "t"}, {"(", "N\x85", "t"}, {"N", "\x85", ""},
		{"(", "K\x80", "t"}, {"(", "N", "t"}, {"]", "Na", ""}, {"](", "N", "e"}, {"}(", "N", "u"}, {"(N", "2", "t"}, {"(", "(N", strings.Repeat("t", 10)},
		{"N", "\x94", ""}, {"(", "]\x94", "t"}, {"(", "\x8f\x94", "t"}, {"cm\nC\nq\x000(", "h\x00)\x81", "t"}, {"cm\nC\nq\x000(", "h\x00)R", "t"}, {"(", "(Nl", "t"}, {"(", "(Nt", "t"}, {"(", "(NNd", "t"}, {"(", "(No", "t"},
		{"(", "ca\na\n", "t"}, {"(", "Pa\n", "t"}, {"(", "U\x00", "t"}, {"(", "\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x00\x01", "t"}, {"(", "F1\n", "t"}, {"(", "(ia\na\n", "t"},
		{"(", "\x96\x00\x00\x00\x00\x00\x00\x00\x00", "t"}, {"N", "r\x00\x00\x04\x00", ""},
		{"(X\x00\x00\x02\x00" + strings.Repeat("a", 1<<17) + "q\x00X\x06\x00\x00\x00latin1q\x01\x86q\x020c_codecs\nencode\nq\x030", "h\x03h\x02R", "t"},
	} {
		data := c.begin + strings.Repeat(c.repeat, (size-len(c.begin))/len(c.repeat)) + c.end + "."
		taken, err := allocated([]byte(data))
		require.LessOrEqual(t, taken, uint64(2*memoryFactor*len(data)+2*memoryFree), "%.30q: error %v", c.repeat, err)
		t.Logf("%.30q: %.1f bytes for each, error %v", c.repeat, float64(taken)/float64(len(data)), err)
	}
}

// TestRepeatedWorkIsRefused takes a large value from the memo again and again,
// by opcodes that look at all of it.
func TestRepeatedWorkIsRefused(t *testing.T) {
	const size = 4 << 20
	big := "X\x02\x00\x20\x00" + strings.Repeat("a", 1<<21) + "\xc4\x80q\x000" // not Latin-1
	for _, c := range []struct{ begin, repeat string }{
		{"X\x06\x00\x00\x00latin1q\x010c_codecs\nencode\nq\x020", "h\x02h\x00h\x01\x86R0"},
		{"", "h\x00h\x00\x930"},
		{"C\x08" + someOid + "q\x010h\x00h\x00\x86q\x020", "h\x01h\x02\x86Q0"},
	} {
		data := big + c.begin + strings.Repeat(c.repeat, (size-len(big))/len(c.repeat)) + "N."
		start := time.Now()
		_, err := Decode([]byte(data))
		require.ErrorContains(t, err, "64 times", "%q", c.repeat)
		t.Logf("%q: %s", c.repeat, time.Since(start))
	}
}
