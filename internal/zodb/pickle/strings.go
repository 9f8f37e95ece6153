package pickle

import "unsafe"

// string returns a string that is a part of the data.
func (m *Machine) string(kind Kind, b []byte, end int) val {
	v := val{kind: kind, n: uint32(len(b)), x: uint64(end - len(b))}
	if m.keep {
		m.charge(stringSize)
		text := unsafe.String(unsafe.SliceData(b), len(b))
		if !m.inPlace {
			m.charge(len(b))
			text = string(b)
		}
		v = m.thing(v, asKind(kind, text))
	}
	return v
}

// pushOwn pushes a string that is not a part of the data.
func (m *Machine) pushOwn(kind Kind, text string) error {
	m.charge(stringSize + len(text))
	return m.push(m.thing(val{kind: kind, form: formOwn, n: uint32(len(text))}, asKind(kind, text)))
}

// asKind returns a string as the value of Go that it is.
func asKind(kind Kind, text string) any {
	if kind == KindBytes {
		return Bytes(text)
	}
	return text
}

func (m *Machine) bytes(arg []byte) error { return m.push(m.string(KindBytes, arg, m.pos)) }

func (m *Machine) unicode(arg []byte) error { return m.push(m.string(KindText, arg, m.pos)) }

func (m *Machine) textString(arg []byte) error {
	line := arg[:len(arg)-1]
	n := len(line)
	if n < 2 || line[0] != line[n-1] || line[0] != '\'' && line[0] != '"' {
		return m.errorf("a string without quotes")
	}
	b, ok := unescape(line[1 : n-1])
	if !ok {
		return m.errorf("a string with a bad escape")
	}
	return m.pushOwn(KindBytes, string(b))
}

func (m *Machine) textUnicode(arg []byte) error {
	b, ok := unescapeUnicode(arg[:len(arg)-1])
	if !ok {
		return m.errorf("text with a bad escape")
	}
	return m.pushOwn(KindText, string(b))
}

func (m *Machine) byteArray(arg []byte) error {
	m.charge(classSize + valueSize + stringSize + len(arg))
	return m.object(Class{"builtins", "bytearray"}, Tuple{Bytes(arg)}, nil)
}
