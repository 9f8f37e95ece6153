package pickle

import (
	"slices"

	"github.com/wcfs/wcfs/internal/zodb/record"
)

// ---- tuples ----

// tuple pushes a tuple of a copy of the items.
func (d *decoder) tuple(items []any) error {
	d.charge(sliceSize + valueSize*len(items))
	return d.push(Tuple(clone(items)))
}

// clone copies values that are on the stack, which will be overwritten.
func clone(values []any) []any { return append(make([]any, 0, len(values)), values...) }

func (d *decoder) shortTuple(n int) error {
	items, err := d.pop(n)
	if err != nil {
		return err
	}
	return d.tuple(items)
}

func (d *decoder) markTuple() error {
	items, err := d.popMark()
	if err != nil {
		return err
	}
	return d.tuple(items)
}

// ---- lists and sets ----

func (d *decoder) list(items []any) error {
	d.charge(sliceSize + valueSize*len(items))
	return d.push(&List{append([]any(nil), items...)})
}

func (d *decoder) markList() error {
	items, err := d.popMark()
	if err != nil {
		return err
	}
	return d.list(items)
}

func (d *decoder) appendOne() error {
	items, err := d.pop(1)
	if err != nil {
		return err
	}
	return d.extend(items)
}

func (d *decoder) appendMany() error {
	items, err := d.popMark()
	if err != nil {
		return err
	}
	return d.extend(items)
}

// extend appends to what is on top of the stack.
func (d *decoder) extend(items []any) error {
	v, err := d.top()
	if err != nil {
		return err
	}
	d.charge(2 * valueSize * len(items)) // appending leaves up to as much room again
	switch x := v.(type) {
	case *List:
		x.Items = append(x.Items, items...)
	case *Object:
		x.Items = append(x.Items, items...)
	default:
		return d.errorf("expect a list to append to; got %T", v)
	}
	return nil
}

func (d *decoder) set(name string, items []any) error {
	d.charge(objectSize + classSize + valueSize*len(items))
	return d.push(&Object{New: record.Class{Module: "builtins", Name: name}, Items: append([]any(nil), items...)})
}

func (d *decoder) frozenSet() error {
	items, err := d.popMark()
	if err != nil {
		return err
	}
	return d.set("frozenset", items)
}

func (d *decoder) byteArray() error {
	b, err := d.counted(8)
	if err != nil {
		return err
	}
	d.charge(objectSize + classSize + valueSize + stringSize + len(b))
	return d.push(&Object{New: record.Class{Module: "builtins", Name: "bytearray"}, Args: Tuple{Bytes(b)}})
}

// ---- dicts ----

func (d *decoder) dict(values []any) error {
	items, err := d.pairs(nil, values)
	if err != nil {
		return err
	}
	d.charge(sliceSize)
	return d.push(&Dict{Items: items})
}

func (d *decoder) markDict() error {
	values, err := d.popMark()
	if err != nil {
		return err
	}
	return d.dict(values)
}

func (d *decoder) setOne() error {
	values, err := d.pop(2)
	if err != nil {
		return err
	}
	return d.update(values)
}

func (d *decoder) setMany() error {
	values, err := d.popMark()
	if err != nil {
		return err
	}
	return d.update(values)
}

// update sets items, given as keys and values in turn, in what is on top of the
// stack.
func (d *decoder) update(values []any) error {
	v, err := d.top()
	if err != nil {
		return err
	}
	switch x := v.(type) {
	case *Dict:
		x.Items, err = d.pairs(x.Items, values)
	case *Object:
		x.Dict, err = d.pairs(x.Dict, values)
	default:
		return d.errorf("expect a dict to set items in; got %T", v)
	}
	return err
}

// pairs appends items, given as keys and values in turn.
func (d *decoder) pairs(items []Item, values []any) ([]Item, error) {
	if len(values)%2 != 0 {
		return items, d.errorf("a key without a value")
	}
	d.charge(2 * valueSize * len(values))
	items = slices.Grow(items, len(values)/2)
	for i := 0; i < len(values); i += 2 {
		items = append(items, Item{values[i], values[i+1]})
	}
	return items, nil
}
