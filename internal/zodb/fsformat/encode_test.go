package fsformat

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"
)

// TestIndexIsByteForByteWhatPythonWrites compares with what ZODB has written.
func TestIndexIsByteForByteWhatPythonWrites(t *testing.T) {
	index := NewIndex()
	for oid, pos := range []int64{0x1e, 0x154, 0x1f6} {
		index.Set(zodb.Oid(oid), pos)
	}
	index.TopPos = 560
	want := "80034d30022e 80034306000000000000 4318 0000 0001 0002 00000000001e 000000000154 0000000001f6 862e 80034e2e"
	require.Equal(t, strings.ReplaceAll(want, " ", ""), hex.EncodeToString(index.Encode(false)))
	for x, want := range map[int64]string{0: "4b00", 1 << 31: "8a050000008000", 1<<39 - 1: "8a05ffffffff7f", 1 << 39: "8a06000000008000", MaxPos: "8a07ffffffffffff00"} {
		p := indexPickler{}
		p.int(x)
		require.Equal(t, want, hex.EncodeToString(p.b), x)
	}
}

// TestIndexOfPython2 has pickles of protocol 1, as FileStorage writes them there.
func TestIndexOfPython2(t *testing.T) {
	index := NewIndex()
	index.Set(0, 0x1e)
	index.Set(2, 0x1f6)
	index.TopPos = 1 << 40
	want := "I1099511627776\n.(U\x06\x00\x00\x00\x00\x00\x00U\x10\x00\x00\x00\x02\x00\x00\x00\x00\x00\x1e\x00\x00\x00\x00\x01\xf6t.N."
	require.Equal(t, want, string(index.Encode(true)))
	for oid := range zodb.Oid(100) {
		index.Set(oid, 30)
	}
	require.Contains(t, string(index.Encode(true)), "T\x20\x03\x00\x00\x00\x00\x00\x01")
}
