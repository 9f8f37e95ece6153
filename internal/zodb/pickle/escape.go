package pickle

import (
	"bytes"
	"strconv"
	"unicode/utf8"
)

// simpleEscapes has what follows a backslash, and what it means, in pairs.
const simpleEscapes = "\\\\''\"\"a\ab\bf\fn\nr\rt\tv\v"

// unescape undoes repr of a byte string in Python. Escapes that Python does not
// know stand for themselves.
func unescape(s []byte) (out []byte, ok bool) {
	for {
		i := bytes.IndexByte(s, '\\')
		if i < 0 {
			return append(out, s...), true
		}
		out = append(out, s[:i]...)
		if s = s[i+1:]; len(s) == 0 {
			return nil, false
		}
		c, n := s[0], 1
		switch {
		case c == 'x':
			n = 3
			if len(s) < n {
				return nil, false
			}
			x, err := strconv.ParseUint(string(s[1:n]), 16, 8)
			if err != nil {
				return nil, false
			}
			out = append(out, byte(x))
		case c >= '0' && c <= '7':
			x := 0
			for n = 0; n < min(3, len(s)) && s[n] >= '0' && s[n] <= '7'; n++ {
				x = 8*x + int(s[n]-'0')
			}
			out = append(out, byte(x))
		default:
			out = appendSimple(out, c)
		}
		s = s[n:]
	}
}

func appendSimple(out []byte, c byte) []byte {
	for i := 0; i < len(simpleEscapes); i += 2 {
		if simpleEscapes[i] == c {
			return append(out, simpleEscapes[i+1])
		}
	}
	return append(out, '\\', c)
}

// unescapeUnicode undoes the encoding raw-unicode-escape of Python: \u with
// four digits and \U with eight are escapes, and other bytes are Latin-1. It returns
// UTF-8, where surrogates, which Python allows to stand alone, take 3 bytes each.
func unescapeUnicode(s []byte) (out []byte, ok bool) {
	for len(s) > 0 {
		n := escapeLen(s)
		if n == 0 {
			out = utf8.AppendRune(out, rune(s[0]))
			// A backslash that was escaped cannot begin an escape.
			if s[0] == '\\' && len(s) > 1 && s[1] == '\\' {
				out = append(out, '\\')
				s = s[1:]
			}
			s = s[1:]
			continue
		}
		if len(s) < n {
			return nil, false
		}
		r, err := strconv.ParseUint(string(s[2:n]), 16, 32)
		if err != nil || r > utf8.MaxRune {
			return nil, false
		}
		out = appendRune(out, rune(r))
		s = s[n:]
	}
	return out, true
}

// escapeLen returns the length of the escape that s begins with, or 0.
func escapeLen(s []byte) int {
	if len(s) < 2 || s[0] != '\\' {
		return 0
	}
	switch s[1] {
	case 'u':
		return 6
	case 'U':
		return 10
	}
	return 0
}

func appendRune(out []byte, r rune) []byte {
	if r >= 0xd800 && r < 0xe000 {
		return append(out, 0xe0|byte(r>>12), 0x80|byte(r>>6)&0x3f, 0x80|byte(r)&0x3f)
	}
	return utf8.AppendRune(out, r)
}

// latin1 encodes text. ok is false if Latin-1 cannot express it.
func latin1(text []byte) (out []byte, ok bool) {
	out = make([]byte, 0, len(text))
	for _, r := range string(text) {
		if r > 0xff {
			return nil, false
		}
		out = append(out, byte(r))
	}
	return out, true
}
