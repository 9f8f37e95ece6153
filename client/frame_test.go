package client

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestParsePin: numbers are strict, and nothing may be missing or too much.
func TestParsePin(t *testing.T) {
	for text, want := range map[string]*pinMessage{
		"pin 0000000000000010 #2 @0000000000000003":                  {0x10, 2, 3},
		"pin ffffffffffffffff #0 @head":                              {1<<64 - 1, 0, toHead},
		"pin 0000000000000010 #999999999999999999 @fffffffffffffffe": {0x10, 999999999999999999, 1<<64 - 2},
		"":                                                nil,
		"pin ":                                            nil,
		"pin 0000000000000010":                            nil,
		"pin 0000000000000010 #":                          nil,
		"pin 0000000000000010 #2":                         nil,
		"pin 0000000000000010 #2 ":                        nil,
		"pin 0000000000000010 #2 @":                       nil,
		"pin 0000000000000010 #2 @heads":                  nil,
		"pin 0000000000000010 #2 @head ":                  nil,
		"pin 0000000000000010 #2  @head":                  nil,
		"pin 0000000000000010 2 @head":                    nil,
		"pin 0000000000000010 # @head":                    nil,
		"pin 0000000000000010 #02 @head":                  nil,
		"pin 0000000000000010 #-2 @head":                  nil,
		"pin 0000000000000010 #1000000000000000000 @head": nil,
		"pin 000000000000001A #2 @head":                   nil,
		"pin 10 #2 @head":                                 nil,
		"pin 0000000000000010 #2 @ffffffffffffffff":       nil,
		"PIN 0000000000000010 #2 @head":                   nil,
	} {
		var got pinMessage
		if ok := parsePin([]byte(text), &got); want == nil {
			require.False(t, ok, text)
		} else {
			require.True(t, ok, text)
			require.Equal(t, *want, got, text)
		}
	}
}

// TestParseStream: a number and a space.
func TestParseStream(t *testing.T) {
	for text, want := range map[string]int64{
		"0 x": 0, "1 ": 1, "1844674407370955160 x": 1844674407370955160,
		"": -1, " x": -1, "1": -1, "x 1": -1, "-1 x": -1, "18446744073709551616 x": -1, "99999999999999999999 x": -1,
	} {
		stream, msg, ok := parseStream([]byte(text))
		require.Equal(t, want >= 0, ok, text)
		if ok {
			require.EqualValues(t, want, stream)
			require.Equal(t, byte(' '), text[msg-1])
		}
	}
}

// TestIds: the text form is 16 lower-case digits.
func TestIds(t *testing.T) {
	tid, err := ParseTid("040d23f5e9bc1d6d")
	require.NoError(t, err)
	require.Equal(t, "040d23f5e9bc1d6d", tid.String())
	require.Equal(t, "head", Head.String())
	require.Equal(t, "000000000000002a", Oid(42).String())
	for _, bad := range []string{"", "head", "40d23f5e9bc1d6d", "040D23F5E9BC1D6D", "040d23f5e9bc1d6d0", "ffffffffffffffff", "040d23f5e9bc1d6x"} {
		_, err := ParseTid(bad)
		require.Error(t, err, bad)
	}
	_, err = ParseOid("2a")
	require.Error(t, err)
}
