package pickle

import "strconv"

// ---- stack ----

func (m *Machine) push(v val) error {
	if m.sp+m.arena == len(m.vals) {
		return m.pushMore(v)
	}
	m.vals[m.sp] = v
	m.sp++
	return nil
}

func (m *Machine) pushMore(v val) error {
	if err := m.grow(); err != nil {
		return err
	}
	return m.push(v)
}

// grow makes vals larger: as large as the pickles of arrays need them at once, which
// keeps the sum of allocations bounded, and twice as large for others.
func (m *Machine) grow() error {
	size := minVals + len(m.data)/bytesPerVal
	if len(m.vals) >= size {
		size = 2 * len(m.vals)
		if m.charge(valueSize * (size - len(m.vals))); m.free < 0 {
			return m.outOfMemory()
		}
	}
	vals := make([]val, size)
	copy(vals, m.vals[:m.sp])
	copy(vals[size-m.arena:], m.vals[len(m.vals)-m.arena:])
	m.vals = vals
	return nil
}

// pop takes n values off the stack. They stay valid until the next push.
func (m *Machine) pop(n int) ([]val, error) {
	if m.sp-n < m.floor {
		return nil, m.errorf("stack underflow")
	}
	m.sp -= n
	return m.vals[m.sp:][:n], nil
}

// top returns the topmost value and leaves it there.
func (m *Machine) top() (*val, error) {
	if m.sp <= m.floor {
		return nil, m.errorf("stack underflow")
	}
	return &m.vals[m.sp-1], nil
}

func (m *Machine) mark([]byte) error {
	m.marks = append(m.marks, m.floor)
	m.floor = m.sp
	m.charge(2 * wordSize)
	m.items()
	return nil
}

// popMark takes the topmost mark off the stack and the values above it, which
// stay valid until the next push.
func (m *Machine) popMark() ([]val, error) {
	if len(m.marks) == 0 {
		return nil, m.errorf("no mark on the stack")
	}
	values := m.vals[m.floor:m.sp]
	m.sp = m.floor
	m.floor = m.marks[len(m.marks)-1]
	m.marks = m.marks[:len(m.marks)-1]
	return values, nil
}

// drop is POP, which takes a mark if that is on top.
func (m *Machine) drop([]byte) error {
	if m.sp == m.floor && len(m.marks) > 0 {
		_, err := m.popMark()
		return err
	}
	_, err := m.pop(1)
	return err
}

func (m *Machine) dup([]byte) error {
	v, err := m.top()
	if err != nil {
		return err
	}
	return m.push(*v)
}

// ---- memo ----

// put puts the topmost value into the memo. Writers number what they put, so an
// index is never more than there are bytes.
func (m *Machine) put(index uint64) error {
	v, err := m.top()
	if err != nil {
		return err
	}
	if index >= uint64(len(m.memo)) {
		if err := m.growMemo(index); err != nil {
			return err
		}
	}
	m.setMemo(int(index), *v)
	return nil
}

// setMemo sets an entry, for which there is room.
func (m *Machine) setMemo(index int, v val) {
	if m.memo[index].kind == KindInvalid {
		m.nmemo++
	}
	m.memo[index] = v
	m.memoEnd = max(m.memoEnd, index+1)
}

// growMemo makes room for an index, in steps like grow.
func (m *Machine) growMemo(index uint64) error {
	if index >= uint64(len(m.data)+memoFree) {
		return m.errorf("memo index %d is out of range", index)
	}
	size := minMemo + len(m.data)/bytesPerVal
	if n := int(index) + 1; n > size {
		size = max(n, 2*len(m.memo))
		if m.charge(valueSize * (size - len(m.memo))); m.free < 0 {
			return m.outOfMemory()
		}
	}
	memo := make([]val, size)
	copy(memo, m.memo[:m.memoEnd])
	m.memo = memo
	return nil
}

func (m *Machine) get(index uint64) error {
	if index >= uint64(m.memoEnd) || m.memo[index].kind == KindInvalid {
		return m.errorf("nothing in memo at %d", index)
	}
	return m.push(m.memo[index])
}

func (m *Machine) binPut(arg []byte) error { return m.put(littleEndian(arg)) }

func (m *Machine) binGet(arg []byte) error { return m.get(littleEndian(arg)) }

func (m *Machine) textPut(arg []byte) error {
	index, err := m.textIndex(arg)
	if err != nil {
		return err
	}
	return m.put(index)
}

func (m *Machine) textGet(arg []byte) error {
	index, err := m.textIndex(arg)
	if err != nil {
		return err
	}
	return m.get(index)
}

func (m *Machine) textIndex(arg []byte) (uint64, error) {
	line, err := m.digits(arg)
	if err != nil {
		return 0, err
	}
	index, err := strconv.ParseUint(string(line), 10, 64)
	if err != nil {
		return 0, m.errorf("%.50q is no memo index", line)
	}
	return index, nil
}
