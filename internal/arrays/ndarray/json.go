package ndarray

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// JSON returns the text of the type as JSON, with lists in the place of tuples and
// the types of structures as lists of their fields.
func (d *DType) JSON() ([]byte, error) {
	if !d.isSub() && !d.isStruct() {
		return jsonText(d.code())
	}
	lit, err := parseLiteral(d.String())
	if err != nil {
		return nil, fmt.Errorf("dtype as JSON: %w", err)
	}
	return appendJSON(nil, lit)
}

// appendJSON appends a Python literal.
func appendJSON(b []byte, lit any) (_ []byte, err error) {
	switch x := lit.(type) {
	case tupleLit:
		return appendJSONList(b, x)
	case listLit:
		return appendJSONList(b, x)
	case dictLit:
		b = append(b, '{')
		for i, item := range x {
			if i > 0 {
				b = append(b, ", "...)
			}
			if b, err = appendJSON(b, item.key); err == nil {
				b, err = appendJSON(append(b, ": "...), item.value)
			}
			if err != nil {
				return nil, err
			}
		}
		return append(b, '}'), nil
	}
	text, err := jsonText(lit)
	return append(b, text...), err
}

func appendJSONList(b []byte, items []any) (_ []byte, err error) {
	b = append(b, '[')
	for i, item := range items {
		if i > 0 {
			b = append(b, ", "...)
		}
		if b, err = appendJSON(b, item); err != nil {
			return nil, err
		}
	}
	return append(b, ']'), nil
}

// jsonText returns a scalar as JSON, in which "<f8" stays readable.
func jsonText(v any) ([]byte, error) {
	var text bytes.Buffer
	out := json.NewEncoder(&text)
	out.SetEscapeHTML(false)
	err := out.Encode(v)
	return bytes.TrimSpace(text.Bytes()), err
}
