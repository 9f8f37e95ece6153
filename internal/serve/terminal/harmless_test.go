package terminal

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestNothingATerminalObeysIsPrinted: what it cannot show becomes visible.
func TestNothingATerminalObeysIsPrinted(t *testing.T) {
	for text, want := range map[string]string{
		"":                         "",
		"/mnt/plain ä € 日本":        "/mnt/plain ä € 日本",
		"a\x1b[2Jb":                `a\x1b[2Jb`,
		"a\rb\tc\x00\x7f":          `a\x0db\x09c\x00\x7f`,
		"bad \xff\xc3 utf-8":       `bad \xff\xc3 utf-8`,
		"csi \u009b1m, rtl \u202e": `csi \u009b1m, rtl \u202e`,
		"two\nlines":               "two\nlines",
	} {
		require.Equal(t, want, Harmless(text))
		var out bytes.Buffer
		_, err := Writer{&out}.Write([]byte(text))
		require.NoError(t, err)
		require.Equal(t, want, out.String())
	}
	require.Equal(t, `two\nlines`, Line("two\nlines"))
	require.Equal(t, `a\x1b b`, Error(errors.New("a\x1b\nb\n")))

	odd := "\x1b\u007f\u009b\xff ä"
	document, err := json.Marshal(odd)
	require.NoError(t, err)
	clean := harmlessJSON(document)
	require.NotContains(t, string(clean), "\u009b")
	require.NotContains(t, string(clean), "\x7f")
	var back string
	require.NoError(t, json.Unmarshal(clean, &back))
	require.Equal(t, "\x1b\u007f\u009b\ufffd ä", back)
}

// TestLogIsHarmlessInWhateverPieces it comes: names of others may be in it.
func TestLogIsHarmlessInWhateverPieces(t *testing.T) {
	const text = "W a \x1b]0;x\a ö € 😀 \u009b1m \xff\xe2\x82 z\n\tat f\n\xf0\x9f"
	const want = "W a \\x1b]0;x\\x07 ö € 😀 \\u009b1m \\xff\\xe2\\x82 z\n\tat f\n\\xf0\\x9f"
	for size := 1; size <= len(text); size++ {
		var c Cleaner
		got := ""
		for left := text; left != ""; {
			n := min(size, len(left))
			got += string(c.Clean([]byte(left[:n])))
			left = left[n:]
		}
		require.Equal(t, want, got+string(c.End()), "pieces of %d bytes", size)
	}
}
