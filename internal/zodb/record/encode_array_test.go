package record

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wcfs/wcfs/t/oracle"
)

// dtype begins a numpy.dtype and leaves its state to be appended, and built.
func dtype(e *Encoder, code string) {
	e.Class(Class{Module: "numpy", Name: "dtype"})
	e.BeginTuple(3)
	e.Text(code)
	e.Bool(false)
	e.Bool(true)
	e.EndTuple(3)
	e.Reduce()
}

// scalarState appends the state of a dtype without fields, and builds it.
func scalarState(e *Encoder, order string, size, align int64) {
	e.BeginTuple(8)
	e.Int(3)
	e.Name(order)
	for range 3 {
		e.None()
	}
	e.Int(size)
	e.Int(align)
	e.Int(0)
	e.EndTuple(8)
	e.Build()
}

// structure writes the dtype [('t', '<f8'), ('v', '>i4'), ('name', 'S4')].
func structure(e *Encoder) {
	fields := []struct {
		name, code, order   string
		size, align, offset int64
	}{
		{"t", "f8", "<", -1, -1, 0},
		{"v", "i4", ">", -1, -1, 8},
		{"name", "S4", "|", 4, 1, 12},
	}
	dtype(e, "V16")
	e.BeginTuple(8)
	e.Int(3)
	e.Name("|")
	e.None()
	e.BeginTuple(len(fields))
	for _, f := range fields {
		e.Name(f.name)
	}
	e.EndTuple(len(fields))
	e.BeginDict(len(fields))
	for _, f := range fields {
		e.Name(f.name)
		e.BeginTuple(2)
		dtype(e, f.code)
		scalarState(e, f.order, f.size, f.align)
		e.Int(f.offset)
		e.EndTuple(2)
	}
	e.EndDict(len(fields))
	e.Int(16)
	e.Int(1)
	e.Int(16)
	e.EndTuple(8)
	e.Build()
}

// TestEncoderWritesArrayThatPythonWrites writes by hand the record of an array of
// structures.
func TestEncoderWritesArrayThatPythonWrites(t *testing.T) {
	const oid = 5
	array := Class{Module: "wendelin.bigarray.array_zodb", Name: "ZBigArray"}
	var e Encoder
	e.Reset(array)
	e.BeginTuple(2)
	e.BeginDict(4)

	e.Name("_dtype")
	structure(&e)
	e.Name("_shape")
	e.BeginTuple(2)
	e.Int(3)
	e.Int(700)
	e.EndTuple(2)
	e.Name("_order")
	e.Name("C")
	e.Name("_stridev")
	e.BeginTuple(2)
	e.Int(11200)
	e.Int(16)
	e.EndTuple(2)
	e.EndDict(4)

	e.BeginDict(1)
	e.Name("zfile")
	e.Ref(8, ZBigFile)
	e.EndDict(1)
	e.EndTuple(2)

	found := false
	for _, rec := range oracle.Load(t, "basic").Records(t) {
		if rec.Oid == oid && !found {
			found = true
			require.Equal(t, string(rec.Data), string(e.Record()))
		}
	}
	require.True(t, found)
}
