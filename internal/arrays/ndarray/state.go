package ndarray

import (
	"errors"
	"fmt"

	"github.com/wcfs/wcfs/internal/zodb/pickle"
)

// DecodeArray decodes the state of a ZBigArray, as pickle.Record returns it. The
// error is an *ArrayError.
func DecodeArray(state any) (*Array, error) {
	attrs, err := newAttrs(state)
	if err != nil {
		return nil, &ArrayError{"", err}
	}
	a := &Array{Order: RowMajor}
	for _, attr := range []struct {
		name string
		need bool
		set  func(v any) error
	}{
		{"_dtype", true, a.setDType},
		{"_shape", true, a.setShape},
		{"_order", false, a.setOrder},
		{"_stridev", false, a.checkStrides},
		{"zfile", true, a.setFile},
	} {
		v, ok := attrs.get(attr.name)
		switch {
		case ok:
			err = attr.set(v)
		case attr.need:
			err = errors.New("not there")
		}
		if err != nil {
			return nil, &ArrayError{attr.name, err}
		}
	}
	return a, nil
}

// attrs are the attributes of an object: those of its __dict__ and its slots.
type attrs []*pickle.Dict

// newAttrs takes a dict, or a tuple of two, either of which may be None.
func newAttrs(state any) (attrs, error) {
	parts, ok := state.(pickle.Tuple)
	if !ok {
		parts = pickle.Tuple{state}
	}
	var all attrs
	for _, part := range parts {
		dict, ok := part.(*pickle.Dict)
		if !ok && part != nil || len(parts) > 2 {
			return nil, fmt.Errorf("expect a dict, or a pair of them; got %T", state)
		}
		if ok {
			all = append(all, dict)
		}
	}
	return all, nil
}

func (a attrs) get(name string) (v any, ok bool) {
	for _, dict := range a {
		if v, ok = dict.Get(name); ok {
			return v, true
		}
	}
	return nil, false
}

func (a *Array) setDType(v any) (err error) {
	a.DType, err = new(builder).pickled(v)
	return err
}

func (a *Array) setShape(v any) (err error) {
	if a.Shape, err = pickledShape(v); err == nil {
		_, err = a.Bytes()
	}
	return err
}

func (a *Array) setOrder(v any) error {
	order, ok := pickle.Text(v)
	switch {
	case !ok:
		return fmt.Errorf("expect 'C' or 'F'; got %T", v)
	case order == "C":
		a.Order = RowMajor
	case order == "F":
		a.Order = ColumnMajor
	default:
		return fmt.Errorf("expect 'C' or 'F'; got %q", clip(order))
	}
	return nil
}

// checkStrides refuses strides that say something else than shape and order. As in
// numpy, those of dimensions that have only one item do not count.
func (a *Array) checkStrides(v any) error {
	got, err := pickledShape(v)
	if err != nil {
		return err
	}
	want := a.Strides()
	if len(got) != len(want) {
		return fmt.Errorf("%d strides for %d dimensions", len(got), len(want))
	}
	if n, _ := a.Bytes(); n == 0 {
		return nil
	}
	for i := range want {
		if got[i] != want[i] && a.Shape[i] > 1 {
			return fmt.Errorf("%s, but shape %s of %d bytes in %c order has %s",
				clip(ShapeText(got)), clip(ShapeText(a.Shape)), a.DType.size, a.Order, clip(ShapeText(want)))
		}
	}
	return nil
}

func (a *Array) setFile(v any) error {
	ref, ok := v.(pickle.Ref)
	if !ok {
		return fmt.Errorf("expect a reference to a ZBigFile; got %T", v)
	}
	a.File = ref.Oid
	return nil
}
