package pickle

import (
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/record"
)

// ---- classes ----

func (d *decoder) readClass() (class record.Class, err error) {
	module, err := d.line()
	if err != nil {
		return class, err
	}
	name, err := d.line()
	if err != nil {
		return class, err
	}
	d.charge(classSize + len(module) + len(name))
	return record.Class{Module: string(module), Name: string(name)}, nil
}

func (d *decoder) global() error {
	class, err := d.readClass()
	if err != nil {
		return err
	}
	return d.push(class)
}

func (d *decoder) stackGlobal() error {
	names, err := d.pop(2)
	if err != nil {
		return err
	}
	class, ok := d.namedClass(names)
	if !ok {
		return d.errorf("expect the name of a class; got %T and %T", names[0], names[1])
	}
	return d.push(class)
}

// ---- objects ----

func (d *decoder) object(callable any, args Tuple, kwargs *Dict) error {
	d.charge(objectSize)
	return d.push(&Object{New: callable, Args: args, Kwargs: kwargs})
}

// reduce calls what is on the stack. The calls that Python writes for bytes at
// protocols below 3 give bytes.
func (d *decoder) reduce() error {
	call, err := d.pop(2)
	if err != nil {
		return err
	}
	args, ok := call[1].(Tuple)
	if !ok {
		return d.errorf("expect a tuple of arguments; got %T", call[1])
	}
	switch call[0] {
	case record.Class{Module: "_codecs", Name: "encode"}:
		if text, ok := latin1Call(args); ok {
			return d.encode(text, call[0], args)
		}
	case record.Class{Module: "__builtin__", Name: "bytes"}, record.Class{Module: "builtins", Name: "bytes"}:
		if len(args) == 0 {
			return d.pushBytes(nil)
		}
	}
	return d.object(call[0], args, nil)
}

// latin1Call returns the text to encode.
func latin1Call(args Tuple) (text string, ok bool) {
	if len(args) != 2 {
		return "", false
	}
	switch args[1] {
	case "latin1", "latin-1", Bytes("latin1"), Bytes("latin-1"):
		text, ok = args[0].(string)
	}
	return text, ok
}

// encode pushes text as bytes. The text may be a large one that comes again and
// again from the memo, so looking at it counts.
func (d *decoder) encode(text string, callable any, args Tuple) error {
	d.charge(len(text))
	b, ok := latin1(text)
	if !ok {
		return d.object(callable, args, nil)
	}
	return d.pushBytes(b)
}

// build sets the state of the object below it on the stack.
func (d *decoder) build() error {
	state, err := d.pop(1)
	if err != nil {
		return err
	}
	v, err := d.top()
	if err != nil {
		return err
	}
	x, ok := v.(*Object)
	if !ok {
		return d.errorf("expect an object to set the state of; got %T", v)
	}
	x.State = state[0]
	return nil
}

// inst makes an object of a class that is named by the opcode, and of all above
// the mark.
func (d *decoder) inst() error {
	class, err := d.readClass()
	if err != nil {
		return err
	}
	args, err := d.popMark()
	if err != nil {
		return err
	}
	d.charge(valueSize * len(args))
	return d.object(class, clone(args), nil)
}

// obj makes an object of the class above the mark, and of all above that.
func (d *decoder) obj() error {
	call, err := d.popMark()
	if err != nil {
		return err
	}
	if len(call) == 0 {
		return d.errorf("stack underflow")
	}
	d.charge(valueSize * len(call))
	return d.object(call[0], clone(call[1:]), nil)
}

// newObj makes an object of a class and a tuple of arguments, and of keyword
// arguments if those are there.
func (d *decoder) newObj(keywords bool) error {
	n := 2
	if keywords {
		n = 3
	}
	call, err := d.pop(n)
	if err != nil {
		return err
	}
	args, ok := call[1].(Tuple)
	if !ok {
		return d.errorf("expect a tuple of arguments; got %T", call[1])
	}
	if !keywords {
		return d.object(call[0], args, nil)
	}
	kwargs, ok := call[2].(*Dict)
	if !ok {
		return d.errorf("expect a dict of arguments; got %T", call[2])
	}
	return d.object(call[0], args, kwargs)
}

// ---- references ----

func (d *decoder) textPersid() error {
	line, err := d.line()
	if err != nil {
		return err
	}
	d.charge(stringSize + len(line))
	return d.persid(string(line))
}

func (d *decoder) binPersid() error {
	id, err := d.pop(1)
	if err != nil {
		return err
	}
	return d.persid(id[0])
}

// persid pushes what a persistent id stands for: (oid, class) and a bare oid
// are references within the database. A class may be given as (module, name),
// or be itself an object.
func (d *decoder) persid(id any) error {
	d.charge(refSize)
	first, class := id, any(nil)
	if pair, ok := id.(Tuple); ok && len(pair) == 2 {
		first, class = pair[0], pair[1]
	}
	oid, ok := oidOf(first)
	if !ok {
		return d.push(Foreign{id})
	}
	switch x := class.(type) {
	case record.Class:
		return d.push(Ref{oid, x})
	case Tuple:
		c, _ := d.namedClass(x)
		return d.push(Ref{oid, c})
	}
	return d.push(Ref{Oid: oid})
}

// oidOf reads an oid. Python 3 turns byte strings of Python 2 into text where
// it can, so text of 8 ASCII characters is accepted.
func oidOf(v any) (oid zodb.Oid, ok bool) {
	s, isText := v.(string)
	if b, isBytes := v.(Bytes); isBytes {
		s = string(b)
	}
	if len(s) != 8 {
		return 0, false
	}
	for i := range len(s) {
		if isText && s[i] >= 0x80 {
			return 0, false
		}
		oid = oid<<8 | zodb.Oid(s[i])
	}
	return oid, true
}
