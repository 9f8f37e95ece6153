package record

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"

	"lab.nexedi.com/kirr/go123/xerr"

	"github.com/wcfs/wcfs/internal/zodb/pickle"
)

// maxPython2 bounds the values that are on the stack of python2 at a time: the
// Encoder makes no record with more.
const maxPython2 = 1 << 22

// Python2 returns what a record of an Encoder is with a Python 2 application that
// pickles with protocol 1, 2 or 3. Byte strings, and text of ASCII, become str:
// attributes of objects and names of fields must be that. Class names need no
// change, since none that is written differs between the Pythons.
//
// Text beyond ASCII becomes a str in UTF-8, too, but for the root object, where
// the Pythons could not agree on what it is.
//
// The error says that the record has something that no Encoder writes.
func Python2(data []byte, protocol int) (out []byte, err error) {
	defer xerr.Context(&err, "pickle for Python 2")
	p := python2{data: data, protocol: protocol}
	for range 2 {
		next, err := p.pickle()
		if err != nil {
			return nil, err
		}
		if out == nil {
			p.unicode = bytes.Contains(next, []byte("cpersistent.mapping\n"))
		}
		if protocol >= 2 {
			out = append(out, pickle.OpProto, byte(protocol))
		}
		out = append(append(out, next...), pickle.OpStop)
	}
	if p.pos != len(data) {
		return nil, errors.New("bytes follow the state")
	}
	return out, nil
}

// python2 pickles anew. The stack has the pickles of the values that would be there.
// A tuple of protocol 1 begins with a mark, so it is not known how a value begins
// before it is complete.
type python2 struct {
	data     []byte
	pos      int
	protocol int
	unicode  bool // leave text beyond ASCII what it is
	stack    [][]byte
	marks    []int
}

// pickle returns the next pickle without its header and end.
func (p *python2) pickle() ([]byte, error) {
	p.stack, p.marks = p.stack[:0], p.marks[:0]
	if !bytes.HasPrefix(p.data[p.pos:], []byte{pickle.OpProto, 3}) {
		return nil, p.errorf("no pickle of protocol 3")
	}
	p.pos += 2
	for p.pos < len(p.data) {
		op := p.data[p.pos]
		if op == pickle.OpStop {
			p.pos++
			if len(p.stack) != 1 || len(p.marks) != 0 {
				return nil, p.errorf("pickle ends with %d values", len(p.stack))
			}
			return p.stack[0], nil
		}
		size, err := pickle.Size(p.data[p.pos:])
		if err != nil {
			return nil, p.errorf("%s", err)
		}
		code := p.data[p.pos:][:size]
		p.pos += size
		if err := p.op(op, code); err != nil {
			return nil, err
		}
		if len(p.stack) > maxPython2 {
			return nil, p.errorf("more than %d values", maxPython2)
		}
	}
	return nil, p.errorf("data ends inside a pickle")
}

func (p *python2) errorf(format string, args ...any) error {
	return &Error{Pos: p.pos, Msg: fmt.Sprintf(format, args...)}
}

// op executes an opcode, which comes with its argument.
func (p *python2) op(op byte, code []byte) error {
	switch op {
	case pickle.OpMark:
		p.marks = append(p.marks, len(p.stack))
	case pickle.OpNone, pickle.OpEmptyTuple, pickle.OpEmptyDict, pickle.OpBinInt, pickle.OpBinInt1, pickle.OpBinInt2, pickle.OpGlobal, pickle.OpBinGet, pickle.OpLongBinGet:
		p.push(slices.Clip(code))
	case pickle.OpNewTrue, pickle.OpNewFalse:
		p.push(p.bool(op, code))
	case pickle.OpLong1:
		return p.long(code[2:])
	case pickle.OpShortBinBytes:
		p.push(str(code[2:]))
	case pickle.OpBinBytes:
		p.push(str(code[5:]))
	case pickle.OpBinUnicode:
		p.push(p.text(code))
	case pickle.OpBinPut, pickle.OpLongBinPut, pickle.OpBinPersid:
		return p.modify(op, code)
	case pickle.OpTuple1, pickle.OpTuple2, pickle.OpTuple3:
		return p.tuple(int(op-pickle.OpTuple1)+1, code)
	case pickle.OpTuple:
		return p.toMark(0, code)
	case pickle.OpSetItems:
		return p.toMark(1, code)
	case pickle.OpSetItem:
		return p.join(3, code)
	case pickle.OpReduce, pickle.OpBuild:
		return p.join(2, code)
	default:
		return p.errorf("opcode %#02x is not expected", op)
	}
	return nil
}

func (p *python2) push(code []byte) { p.stack = append(p.stack, code) }

func (p *python2) bool(op byte, code []byte) []byte {
	switch {
	case p.protocol >= 2:
		return slices.Clip(code)
	case op == pickle.OpNewTrue:
		return []byte("I01\n")
	}
	return []byte("I00\n")
}

// long pushes an integer as the text that Python 2 has for what is an int there,
// and does not fit into 32 bits.
func (p *python2) long(le []byte) error {
	if len(le) == 0 || len(le) > 8 {
		return p.errorf("integer of %d bytes", len(le))
	}
	x := int64(int8(le[len(le)-1]))
	for i := len(le) - 2; i >= 0; i-- {
		x = x<<8 | int64(le[i])
	}
	p.push(fmt.Appendf(nil, "%c%d\n", pickle.OpInt, x))
	return nil
}

// str returns the pickle of a str, with room for what follows it.
func str(b []byte) []byte { return pickle.AppendString(make([]byte, 0, 5+len(b)+10), b) }

func (p *python2) text(code []byte) []byte {
	text := code[5:]
	if p.unicode && bytes.ContainsFunc(text, func(r rune) bool { return r >= utf8.RuneSelf }) {
		return slices.Clip(code)
	}
	return str(text)
}

// modify appends an opcode to the value on top of the stack.
func (p *python2) modify(op byte, code []byte) error {
	if len(p.stack) == 0 {
		return p.errorf("stack underflow")
	}
	top := &p.stack[len(p.stack)-1]
	if op == pickle.OpBinPersid && p.protocol >= 3 && bytes.HasPrefix(*top, []byte{pickle.OpShortBinString, oidLen}) {
		(*top)[0] = pickle.OpShortBinBytes // zodbpickle's binary, which ZODB has for oids
	}
	*top = append(*top, code...)
	return nil
}

// tuple makes a tuple of the last n values.
func (p *python2) tuple(n int, code []byte) error {
	if p.protocol >= 2 {
		return p.join(n, code)
	}
	if len(p.stack) < n {
		return p.errorf("stack underflow")
	}
	p.stack = slices.Insert(p.stack, len(p.stack)-n, []byte{pickle.OpMark})
	return p.join(n+1, []byte{pickle.OpTuple})
}

// toMark makes one value of what is above the topmost mark, and of n values below.
func (p *python2) toMark(n int, code []byte) error {
	if len(p.marks) == 0 || p.marks[len(p.marks)-1] < n || p.marks[len(p.marks)-1] > len(p.stack) {
		return p.errorf("no mark on the stack")
	}
	mark := p.marks[len(p.marks)-1]
	p.marks = p.marks[:len(p.marks)-1]
	p.stack = slices.Insert(p.stack, mark, []byte{pickle.OpMark})
	return p.join(len(p.stack)-mark+n, code)
}

// join makes one value of the last n by an opcode.
func (p *python2) join(n int, code []byte) error {
	base := len(p.stack) - n
	if base < 0 || len(p.marks) > 0 && base < p.marks[len(p.marks)-1] {
		return p.errorf("stack underflow")
	}
	p.stack[base] = slices.Concat(slices.Concat(p.stack[base:]...), code)
	p.stack = p.stack[:base+1]
	return nil
}
