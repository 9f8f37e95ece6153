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
func harmless(text string) string { return escape(text, "\n") }

// escape is harmless where other characters may stay.
func escape(text, stay string) string {
	var out strings.Builder
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRuneInString(text[i:])
		switch {
		case r == utf8.RuneError && n == 1, r < utf8.RuneSelf && !unicode.IsPrint(r) && !strings.ContainsRune(stay, r):
			fmt.Fprintf(&out, `\x%02x`, text[i])
		case !unicode.IsPrint(r) && !strings.ContainsRune(stay, r):
			fmt.Fprintf(&out, `\u%04x`, r)
		default:
			out.WriteString(text[i : i+n])
		}
		i += n
	}
	return out.String()
}

// logCleaner makes a log harmless that comes in pieces.
type logCleaner struct{ rest []byte } // begin of a character

func (c *logCleaner) clean(piece []byte) []byte {
	data := append(c.rest, piece...)
	end := len(data)
	for i := max(0, end-utf8.UTFMax+1); i < end; i++ {
		if utf8.RuneStart(data[i]) && !utf8.FullRune(data[i:]) {
			end = i
		}
	}
	c.rest = bytes.Clone(data[end:])
	return []byte(escape(string(data[:end]), "\n\t"))
}

// end returns what is left, which is no whole character.
func (c *logCleaner) end() []byte { return []byte(harmless(string(c.rest))) }

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
