package ndarray

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A literal is a Python literal: nil for None, bool, int64, string, or one of
// these. Everything else that Python knows is refused.
type (
	tupleLit []any
	listLit  []any
	dictLit  []itemLit
	itemLit  struct {
		key   string
		value any
	}
)

// maxLiteral bounds how deep brackets may be nested: a field of a structure takes
// a list, a tuple, and one more tuple if it is a sub-array.
const maxLiteral = 3*maxNested + 4

// parser parses one literal. Its memory is proportional to the text.
type parser struct {
	text  string
	pos   int
	depth int
}

// parseLiteral parses a text that consists of one literal.
func parseLiteral(text string) (any, error) {
	p := &parser{text: text}
	v, err := p.value()
	if err != nil {
		return nil, err
	}
	if p.peek() != 0 || p.pos != len(text) {
		return nil, p.errorf("there is more behind the end")
	}
	return v, nil
}

func (p *parser) errorf(format string, args ...any) error {
	return fmt.Errorf("at byte %d: %s", p.pos, fmt.Sprintf(format, args...))
}

// peek skips white space and returns the next byte, 0 at the end.
func (p *parser) peek() byte {
	for p.pos < len(p.text) {
		c := p.text[p.pos]
		if strings.IndexByte(" \t\r\n\f", c) < 0 {
			return c
		}
		p.pos++
	}
	return 0
}

// take takes the next byte if it is c.
func (p *parser) take(c byte) bool {
	if p.peek() != c {
		return false
	}
	p.pos++
	return true
}

func (p *parser) value() (any, error) {
	if p.depth++; p.depth > maxLiteral {
		return nil, p.errorf("brackets are nested more than %d times", maxLiteral)
	}
	defer func() { p.depth-- }()
	switch c := p.peek(); {
	case c == 0 && p.pos == len(p.text):
		return nil, p.errorf("the text ends too early")
	case c == '(':
		return p.tuple()
	case c == '[':
		p.pos++
		items, _, err := p.items(']')
		return listLit(items), err
	case c == '{':
		return p.dict()
	case c == '\'' || c == '"':
		return p.str()
	case c == '-' || c >= '0' && c <= '9':
		return p.int()
	}
	return p.word()
}

// tuple parses a tuple, or a value in parentheses.
func (p *parser) tuple() (any, error) {
	p.pos++
	items, comma, err := p.items(')')
	if err == nil && len(items) == 1 && !comma {
		return items[0], nil
	}
	return tupleLit(items), err
}

// items parses what is between brackets; comma tells whether the last item is
// followed by one.
func (p *parser) items(end byte) (items []any, comma bool, err error) {
	for !p.take(end) {
		if len(items) > 0 && !comma {
			return nil, false, p.noComma(end)
		}
		item, err := p.value()
		if err != nil {
			return nil, false, err
		}
		items = append(items, item)
		comma = p.take(',')
	}
	return items, comma, nil
}

// noComma is the error of two values that follow one another.
func (p *parser) noComma(end byte) error {
	if p.pos == len(p.text) {
		return p.errorf("the text ends too early")
	}
	return p.errorf("expect a comma or %q", end)
}

func (p *parser) dict() (any, error) {
	p.pos++
	var dict dictLit
	for comma := true; !p.take('}'); comma = p.take(',') {
		if !comma {
			return nil, p.noComma('}')
		}
		key, err := p.value()
		if err != nil {
			return nil, err
		}
		name, ok := key.(string)
		if !ok || !p.take(':') {
			return nil, p.errorf("expect a string and a colon in a dict")
		}
		value, err := p.value()
		if err != nil {
			return nil, err
		}
		dict = append(dict, itemLit{name, value})
	}
	return dict, nil
}

// int parses a decimal integer, maybe with the L of Python 2 behind it.
func (p *parser) int() (any, error) {
	begin := p.pos
	p.take('-')
	for p.pos < len(p.text) && p.text[p.pos] >= '0' && p.text[p.pos] <= '9' {
		p.pos++
	}
	digits := p.text[begin:p.pos]
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		p.pos = begin
		return nil, p.errorf("%q is no integer of 64 bits", clip(digits))
	}
	if p.pos < len(p.text) && p.text[p.pos] == 'L' {
		p.pos++
	}
	return n, nil
}

func (p *parser) word() (any, error) {
	end := p.pos
	for end < len(p.text) && (p.text[end]|0x20 >= 'a' && p.text[end]|0x20 <= 'z') {
		end++
	}
	word := p.text[p.pos:end]
	switch {
	case word == "True" || word == "False":
		p.pos = end
		return word == "True", nil
	case word == "None":
		p.pos = end
		return nil, nil
	case (word == "u" || word == "U") && end < len(p.text) && (p.text[end] == '\'' || p.text[end] == '"'):
		p.pos = end
		return p.str()
	}
	r, _ := utf8.DecodeRuneInString(p.text[p.pos:])
	return nil, p.errorf("unexpected %q", r)
}

// str parses a string in quotes.
func (p *parser) str() (any, error) {
	quote := p.text[p.pos]
	p.pos++
	begin := p.pos
	var b []byte // nil while the string is a slice of the text
	for {
		i := strings.IndexAny(p.text[p.pos:], "\\\n"+string(quote))
		if i < 0 || p.text[p.pos+i] == '\n' {
			return nil, p.errorf("a string without end")
		}
		end := p.pos + i
		if p.text[end] == quote {
			s := p.text[begin:end]
			if b != nil {
				s = string(append(b, p.text[p.pos:end]...))
			}
			p.pos = end + 1
			return s, nil
		}
		b = append(b, p.text[p.pos:end]...)
		p.pos = end + 1
		var err error
		if b, err = p.escape(b); err != nil {
			return nil, err
		}
		if b == nil {
			b = []byte{}
		}
	}
}

// escape appends what the characters behind a backslash stand for.
func (p *parser) escape(b []byte) ([]byte, error) {
	if p.pos == len(p.text) {
		return nil, p.errorf("a string without end")
	}
	c := p.text[p.pos]
	p.pos++
	switch c {
	case '\n':
		return b, nil
	case '\\', '\'', '"':
		return append(b, c), nil
	case 'x':
		return p.escaped(b, 2, 16)
	case 'u':
		return p.escaped(b, 4, 16)
	case 'U':
		return p.escaped(b, 8, 16)
	}
	if i := strings.IndexByte("abfnrtv", c); i >= 0 {
		return append(b, "\a\b\f\n\r\t\v"[i]), nil
	}
	if c >= '0' && c <= '7' {
		p.pos--
		n := 1
		for n < 3 && p.pos+n < len(p.text) && p.text[p.pos+n] >= '0' && p.text[p.pos+n] <= '7' {
			n++
		}
		return p.escaped(b, n, 8)
	}
	return append(b, '\\', c), nil // Python keeps it
}

// escaped appends the character whose number has n digits.
func (p *parser) escaped(b []byte, n, base int) ([]byte, error) {
	if len(p.text)-p.pos < n {
		return nil, p.errorf("a string without end")
	}
	code, err := strconv.ParseUint(p.text[p.pos:p.pos+n], base, 32)
	if err != nil || code > utf8.MaxRune || !utf8.ValidRune(rune(code)) {
		return nil, p.errorf("%q is no character", clip(p.text[p.pos:p.pos+n]))
	}
	p.pos += n
	return utf8.AppendRune(b, rune(code)), nil
}
