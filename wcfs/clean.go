package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"
)

// harmless returns text with nothing in it that a terminal would obey: names of
// files, databases and programs of others may hold anything. What cannot be shown
// becomes an escape as in Go and C, and so does what is no UTF-8. Line ends stay.
func harmless(text string) string {
	var out strings.Builder
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRuneInString(text[i:])
		switch {
		case r == utf8.RuneError && n == 1, r < utf8.RuneSelf && r != '\n' && !unicode.IsPrint(r):
			fmt.Fprintf(&out, `\x%02x`, text[i])
		case r != '\n' && !unicode.IsPrint(r):
			fmt.Fprintf(&out, `\u%04x`, r)
		default:
			out.WriteString(text[i : i+n])
		}
		i += n
	}
	return out.String()
}

// harmlessLine is harmless for what must stay on its line.
func harmlessLine(text string) string { return strings.ReplaceAll(harmless(text), "\n", `\n`) }

// harmlessForPeople is harmlessLine if a person looks at f. Programs get text as it is.
func harmlessForPeople(f *os.File, text string) string {
	if !term.IsTerminal(int(f.Fd())) {
		return text
	}
	return harmlessLine(text)
}

// harmlessWriter makes what is written harmless. Each write must be of whole
// characters.
type harmlessWriter struct{ to io.Writer }

func (w harmlessWriter) Write(data []byte) (int, error) {
	if _, err := io.WriteString(w.to, harmless(string(data))); err != nil {
		return 0, err
	}
	return len(data), nil
}

// harmlessJSON escapes what encoding/json leaves: DEL and the control characters
// after ASCII. They can only be in strings.
func harmlessJSON(document []byte) []byte {
	if !bytes.ContainsFunc(document, isUpperControl) {
		return document
	}
	var out bytes.Buffer
	for _, r := range string(document) {
		if isUpperControl(r) {
			fmt.Fprintf(&out, `\u%04x`, r)
		} else {
			out.WriteRune(r)
		}
	}
	return out.Bytes()
}

func isUpperControl(r rune) bool { return r >= 0x7f && r <= 0x9f }
