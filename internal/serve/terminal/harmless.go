// Package terminal says things to people: text that no terminal obeys, sizes and numbers,
// bars that show how far something is, and JSON for their programs.
package terminal

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"
)

// Harmless returns text with nothing in it that a terminal would obey: names of
// files, databases and programs of others may hold anything. A character that
// cannot be shown becomes an escape as in Go and C, and so does a byte that is no
// UTF-8. Line ends stay.
func Harmless(text string) string { return escape(text, "\n") }

// escape is Harmless where other characters may stay.
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

// Cleaner makes text harmless that comes in pieces.
type Cleaner struct{ rest []byte } // begin of a character

// Clean returns the whole characters that are there so far.
func (c *Cleaner) Clean(piece []byte) []byte {
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

// End returns what is left, which is no whole character.
func (c *Cleaner) End() []byte { return []byte(Harmless(string(c.rest))) }

// Line is Harmless for what must stay on its line.
func Line(text string) string { return strings.ReplaceAll(Harmless(text), "\n", `\n`) }

// ForPeople is Line if a person looks at f. Programs get text as it is.
func ForPeople(f *os.File, text string) string {
	if !term.IsTerminal(int(f.Fd())) {
		return text
	}
	return Line(text)
}

// Writer makes what is written harmless. Each write must be of whole
// characters.
type Writer struct{ To io.Writer }

func (w Writer) Write(data []byte) (int, error) {
	if _, err := io.WriteString(w.To, Harmless(string(data))); err != nil {
		return 0, err
	}
	return len(data), nil
}

// Error returns an error on one line, as one message should be.
func Error(err error) string {
	return Harmless(strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", " "))
}

// Name returns a name in quotes if a terminal could take it for something else, or a person
// for two cells of a table.
func Name(name string) string {
	if name == "" || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) || strings.Contains(name, "  ") {
		return strconv.Quote(name)
	}
	return name
}

// Say says something on stderr, in the name of the program.
func Say(format string, args ...any) { fmt.Fprintf(os.Stderr, "wcfs: "+format+"\n", args...) }
