package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
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
		require.Equal(t, want, harmless(text))
		var out bytes.Buffer
		_, err := harmlessWriter{&out}.Write([]byte(text))
		require.NoError(t, err)
		require.Equal(t, want, out.String())
	}
	require.Equal(t, `two\nlines`, harmlessLine("two\nlines"))
	require.Equal(t, `a\x1b b`, oneLine(errors.New("a\x1b\nb\n")))

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

// TestInterruptedIsOneWord, whatever a command was at, and nothing else is.
func TestInterruptedIsOneWord(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	failed := fmt.Errorf("open x: %w", context.Canceled)
	require.Equal(t, failed, orInterrupted(ctx, failed))
	cancel()
	require.Equal(t, errInterrupted, orInterrupted(ctx, failed))
	require.Equal(t, errInterrupted, orInterrupted(ctx, fmt.Errorf("read: %w", os.ErrDeadlineExceeded)))
	require.NoError(t, orInterrupted(ctx, nil))
	other := errors.New("no")
	require.Equal(t, other, orInterrupted(ctx, other))
	require.Equal(t, exitOther, exitCode(errInterrupted))
}

// TestLogIsHarmlessInWhateverPieces it comes: names of others may be in it.
func TestLogIsHarmlessInWhateverPieces(t *testing.T) {
	const text = "W a \x1b]0;x\a ö € 😀 \u009b1m \xff\xe2\x82 z\n\tat f\n\xf0\x9f"
	const want = "W a \\x1b]0;x\\x07 ö € 😀 \\u009b1m \\xff\\xe2\\x82 z\n\tat f\n\\xf0\\x9f"
	for size := 1; size <= len(text); size++ {
		var c logCleaner
		got := ""
		for left := text; left != ""; {
			n := min(size, len(left))
			got += string(c.clean([]byte(left[:n])))
			left = left[n:]
		}
		require.Equal(t, want, got+string(c.end()), "pieces of %d bytes", size)
	}
}
