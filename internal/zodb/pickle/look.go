package pickle

import "unicode/utf8"

// Get returns the value of a key that is text, or a byte string of the same
// content as in a database of Python 2. It looks at one item after another.
func (d *Dict) Get(key string) (value any, ok bool) {
	for i := len(d.Items) - 1; i >= 0; i-- {
		item := &d.Items[i]
		switch k := item.Key.(type) {
		case string:
			ok = k == key
		case Bytes:
			ok = string(k) == key
		}
		if ok {
			return item.Value, true
		}
	}
	return nil, false
}

// Text returns the text that v is: a string or Bytes. ok is false if it is
// neither, or not valid UTF-8.
func Text(v any) (text string, ok bool) {
	switch x := v.(type) {
	case string:
		text = x
	case Bytes:
		text = string(x)
	default:
		return "", false
	}
	if !utf8.ValidString(text) {
		return "", false
	}
	return text, true
}

// Int returns the integer that v is. ok is false if it is none, or more than 64
// bits.
func Int(v any) (i int64, ok bool) {
	i, ok = v.(int64)
	return i, ok
}
