package pickle

import "slices"

// ---- tuples ----

// tuple makes a tuple from the topmost n values.
func (m *Machine) tuple(n int) error {
	items, err := m.pop(n)
	if err != nil {
		return err
	}
	return m.tupleOf(items)
}

func (m *Machine) markTuple([]byte) error {
	items, err := m.popMark()
	if err != nil {
		return err
	}
	return m.tupleOf(items)
}

// tupleOf makes a tuple of what was taken off the stack last.
func (m *Machine) tupleOf(items []val) error {
	n := len(items)
	if m.keep {
		m.charge(sliceSize)
		kept := Tuple(m.anys(Tuple{}, items))
		m.move(items)
		return m.push(m.thing(val{kind: KindTuple, n: uint32(n), x: uint64(m.arena)}, kept))
	}
	if n == 2 && items[0].kind == KindBytes && items[0].form == formPlain && items[0].n == oidLen && items[1].kind == KindClass {
		return m.push(val{kind: KindTuple, form: formPair, n: items[1].n, x: items[0].x})
	}
	m.move(items)
	return m.push(val{kind: KindTuple, n: uint32(n), x: uint64(m.arena)})
}

// move moves to the arena what was taken off the stack last.
func (m *Machine) move(items []val) {
	m.arena += len(items)
	copy(m.vals[len(m.vals)-m.arena:], items) // the places may overlap
}

// anys appends what values are in Go, if that is kept, and if it is not refused behind
// this opcode.
func (m *Machine) anys(to []any, values []val) []any {
	n := len(values)
	if !m.keep {
		return to
	} else if cap(to)-len(to) < n {
		m.charge(valueSize * (n + len(to))) // appending leaves up to as much room again
	}
	if m.free < 0 {
		return to
	}
	to = slices.Grow(to, n)
	for _, v := range values {
		to = append(to, m.any(v))
	}
	return to
}

// ---- lists and sets ----

func (m *Machine) list(items []val) error {
	m.charge(sliceSize)
	return m.other(&List{m.anys(nil, items)})
}

func (m *Machine) markList([]byte) error {
	items, err := m.popMark()
	if err != nil {
		return err
	}
	return m.list(items)
}

func (m *Machine) appendOne([]byte) error {
	items, err := m.pop(1)
	if err != nil {
		return err
	}
	return m.extend(items)
}

func (m *Machine) appendMany([]byte) error {
	items, err := m.popMark()
	if err != nil {
		return err
	}
	return m.extend(items)
}

// extend appends to what is on top of the stack.
func (m *Machine) extend(items []val) error {
	v, err := m.top()
	if err != nil {
		return err
	}
	switch x := m.any(*v).(type) {
	case *List:
		x.Items = m.anys(x.Items, items)
	case *Object:
		x.Items = m.anys(x.Items, items)
	default:
		return m.errorf("expect a list to append to; got %s", Value{m, *v})
	}
	return nil
}

func (m *Machine) set(name string, items []val) error {
	m.charge(objectSize + classSize)
	return m.other(&Object{New: Class{"builtins", name}, Items: m.anys(nil, items)})
}

func (m *Machine) frozenSet([]byte) error {
	items, err := m.popMark()
	if err != nil {
		return err
	}
	return m.set("frozenset", items)
}

// ---- dicts ----

func (m *Machine) dict(values []val) error {
	items, err := m.pairs(nil, values)
	if err != nil {
		return err
	}
	m.charge(sliceSize)
	return m.other(&Dict{Items: items})
}

func (m *Machine) markDict([]byte) error {
	values, err := m.popMark()
	if err != nil {
		return err
	}
	return m.dict(values)
}

func (m *Machine) setOne([]byte) error {
	values, err := m.pop(2)
	if err != nil {
		return err
	}
	return m.update(values)
}

func (m *Machine) setMany([]byte) error {
	values, err := m.popMark()
	if err != nil {
		return err
	}
	return m.update(values)
}

// update sets items, given as keys and values in turn, in what is on top of the
// stack.
func (m *Machine) update(values []val) error {
	v, err := m.top()
	if err != nil {
		return err
	}
	switch x := m.any(*v).(type) {
	case *Dict:
		x.Items, err = m.pairs(x.Items, values)
	case *Object:
		x.Dict, err = m.pairs(x.Dict, values)
	default:
		return m.errorf("expect a dict to set items in; got %s", Value{m, *v})
	}
	return err
}

// pairs appends items, given as keys and values in turn, if those are kept.
func (m *Machine) pairs(items []Item, values []val) ([]Item, error) {
	switch {
	case len(values)%2 != 0:
		return items, m.errorf("a key without a value")
	case !m.keep:
		return items, nil
	}
	n := len(values) / 2
	if cap(items)-len(items) < n {
		m.charge(2 * valueSize * (n + len(items)))
	}
	if m.free < 0 {
		return items, nil
	}
	items = slices.Grow(items, n)
	for i := 0; i < len(values); i += 2 {
		items = append(items, Item{m.any(values[i]), m.any(values[i+1])})
	}
	return items, nil
}
