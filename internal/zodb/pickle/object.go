package pickle

import (
	"bytes"
	"encoding/binary"
	"unicode/utf8"

	"lab.nexedi.com/kirr/neo/go/zodb"
)

// ---- classes ----

// maxSame bounds the classes that are looked through for one that was named before.
const maxSame = 64

// class returns the named class. Names may come again and again from the memo, and are
// looked at each time.
func (m *Machine) class(module, name []byte) val {
	m.charge(classSize + len(module) + len(name))
	i := indexOf(m.classes, module, name)
	if i < 0 {
		i = len(m.classes)
		if k := indexOf(m.known, module, name); k >= 0 {
			m.classes = append(m.classes, m.known[k])
		} else {
			m.classes = append(m.classes, Class{string(module), string(name)})
		}
	}
	v := val{kind: KindClass, n: uint32(i)}
	if m.keep {
		m.charge(classSize)
		v = m.thing(v, m.classes[i])
	}
	return v
}

func indexOf(classes []Class, module, name []byte) int {
	for i := range classes[:min(len(classes), maxSame)] {
		if c := &classes[i]; c.Name == string(name) && c.Module == string(module) {
			return i
		}
	}
	return -1
}

// classAt returns the class of a GLOBAL or INST.
func (m *Machine) classAt(arg []byte) val {
	module, name, _ := bytes.Cut(arg[:len(arg)-1], []byte("\n"))
	return m.class(module, name)
}

func (m *Machine) global(arg []byte) error { return m.push(m.classAt(arg)) }

func (m *Machine) stackGlobal([]byte) error {
	names, err := m.pop(2)
	if err != nil {
		return err
	}
	class, ok := m.named(Value{m, names[0]}, Value{m, names[1]})
	if !ok {
		return m.errorf("expect the name of a class; got %s and %s", Value{m, names[0]}, Value{m, names[1]})
	}
	return m.push(class)
}

// named returns the class of that module and name, both of which must be strings in
// UTF-8.
func (m *Machine) named(module, name Value) (class val, ok bool) {
	b1, ok1 := module.name()
	b2, ok2 := name.name()
	m.charge(len(b1) + len(b2))
	if !ok1 || !ok2 || !utf8.Valid(b1) || !utf8.Valid(b2) {
		return val{}, false
	}
	return m.class(b1, b2), true
}

func (v Value) name() ([]byte, bool) {
	if text, ok := v.Text(); ok {
		return text, true
	}
	return v.Bytes()
}

// ---- objects ----

func (m *Machine) object(callable any, args Tuple, kwargs *Dict) error {
	m.charge(objectSize)
	return m.other(&Object{New: callable, Args: args, Kwargs: kwargs})
}

// call takes a callable off the stack, a tuple of arguments, and n values more.
func (m *Machine) call(n int) ([]val, error) {
	call, err := m.pop(2 + n)
	if err == nil && call[1].kind != KindTuple {
		err = m.errorf("expect a tuple of arguments; got %s", Value{m, call[1]})
	}
	return call, err
}

// reduce calls what is on the stack. The calls that Python writes for bytes at
// protocols below 3 give bytes.
func (m *Machine) reduce([]byte) error {
	call, err := m.call(0)
	if err != nil {
		return err
	}
	args := Value{m, call[1]}
	switch (Value{m, call[0]}).Class() {
	case Class{"_codecs", "encode"}:
		if b, ok := m.latin1Call(args); ok {
			return m.pushOwn(KindBytes, string(b))
		}
	case Class{"__builtin__", "bytes"}, Class{"builtins", "bytes"}:
		if args.Len() == 0 {
			return m.pushOwn(KindBytes, "")
		}
	}
	kept, _ := m.any(call[1]).(Tuple)
	return m.object(m.any(call[0]), kept, nil)
}

// latin1Call encodes text. It may be a large one that comes again and again from the
// memo, so looking at it counts.
func (m *Machine) latin1Call(args Value) (b []byte, ok bool) {
	text, ok := args.At(0).Text()
	if !ok || args.Len() != 2 {
		return nil, false
	}
	encoding, _ := args.At(1).name()
	switch string(encoding) {
	case "latin1", "latin-1":
		m.charge(len(text))
		return latin1(text)
	}
	return nil, false
}

// build sets the state of the object below it on the stack.
func (m *Machine) build([]byte) error {
	state, err := m.pop(1)
	if err != nil {
		return err
	}
	v, err := m.top()
	if err != nil {
		return err
	}
	x, ok := m.any(*v).(*Object)
	if !ok {
		return m.errorf("expect an object to set the state of; got %s", Value{m, *v})
	}
	x.State = m.any(state[0])
	return nil
}

// inst makes an object of a class that is named by the opcode, and of all above
// the mark.
func (m *Machine) inst(arg []byte) error {
	class := m.classAt(arg)
	args, err := m.popMark()
	if err != nil {
		return err
	}
	return m.object(m.any(class), m.anys(Tuple{}, args), nil)
}

// obj makes an object of the class above the mark, and of all above that.
func (m *Machine) obj([]byte) error {
	call, err := m.popMark()
	if err != nil {
		return err
	}
	if len(call) == 0 {
		return m.errorf("stack underflow")
	}
	return m.object(m.any(call[0]), m.anys(Tuple{}, call[1:]), nil)
}

// newObj makes an object of a class and a tuple of arguments, and of keyword
// arguments if those are there.
func (m *Machine) newObj(keywords bool) error {
	n := 0
	if keywords {
		n = 1
	}
	call, err := m.call(n)
	if err != nil {
		return err
	}
	var kwargs *Dict
	if keywords {
		ok := false
		if kwargs, ok = m.any(call[2]).(*Dict); !ok {
			return m.errorf("expect a dict of arguments; got %s", Value{m, call[2]})
		}
	}
	args, _ := m.any(call[1]).(Tuple)
	return m.object(m.any(call[0]), args, kwargs)
}

// ---- references ----

func (m *Machine) textPersid(arg []byte) error {
	return m.persid(m.string(KindText, arg[:len(arg)-1], m.pos-1))
}

// binPersid takes the persistent id from the stack: almost always a pair (oid, class).
func (m *Machine) binPersid([]byte) error {
	id, err := m.pop(1)
	if err != nil {
		return err
	}
	err = m.persid(id[0])
	m.items()
	return err
}

// persid pushes what a persistent id stands for: (oid, class) and a bare oid
// are references within the database. A class may be given as (module, name),
// or be itself an object.
func (m *Machine) persid(id val) error {
	first, class := Value{m, id}, Value{}
	if first.Len() == 2 {
		first, class = first.At(0), first.At(1)
	}
	oid, ok := first.oid()
	if !ok {
		return m.other(Foreign{m.any(id)})
	}
	ref := val{kind: KindRef, x: uint64(oid)}
	if class.Kind() == KindClass {
		ref.n = class.v.n + 1
	} else if class.Len() == 2 {
		if c, ok := m.named(class.At(0), class.At(1)); ok {
			ref.n = c.n + 1
		}
	}
	return m.push(ref)
}

// oid reads an oid. Python 3 turns byte strings of Python 2 into text where it
// can, so text of 8 ASCII characters is accepted.
func (v Value) oid() (oid zodb.Oid, ok bool) {
	b, ok := v.name()
	if !ok || len(b) != oidLen {
		return 0, false
	}
	oid = zodb.Oid(binary.BigEndian.Uint64(b))
	return oid, v.Kind() == KindBytes || oid&0x8080808080808080 == 0
}
