package pickle

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
)

// TestShortRecordsAreNotAbridged: but for the frames, which change nothing.
func TestShortRecordsAreNotAbridged(t *testing.T) {
	compared := 0
	for _, vector := range vectors(t) {
		v := vector.pickle
		want, wantErr := Decode(v)
		if wantErr != nil || len(v) > keepText {
			continue
		}
		short, err := abridge(iotest.OneByteReader(bytes.NewReader(v)), 1<<20)
		require.NoError(t, err)
		got, err := Decode(short.out)
		require.NoError(t, err)
		if reflect.DeepEqual(want, want) { // not NaN, and not recursive
			require.True(t, reflect.DeepEqual(want, got), "%q", v)
		}
		compared++
	}
	require.Greater(t, compared, 50)
}

// TestLongStringsAreLeftOut, of every opcode that has them, and what is between them
// stays.
func TestLongStringsAreLeftOut(t *testing.T) {
	long := strings.Repeat("x", 100_000)
	n4, n8 := "\xa0\x86\x01\x00", "\xa0\x86\x01\x00\x00\x00\x00\x00"
	for name, op := range map[string]string{
		"BINSTRING": "T" + n4 + long, "BINBYTES": "B" + n4 + long, "BINUNICODE": "X" + n4 + long, "BINUNICODE8": "\x8d" + n8 + long,
		"BINBYTES8": "\x8e" + n8 + long, "BYTEARRAY8": "\x96" + n8 + long, "LONG4": "\x8b" + n4 + long,
		"STRING": "S'" + long + "'\n", "UNICODE": "V" + long + "\n",
	} {
		data := "\x80\x04\x95" + n8 + "(" + op + op + "U\x08\x00\x00\x00\x00\x00\x00\x00\x07Qt."
		short, err := Abridge(strings.NewReader(data), 1000)
		require.NoError(t, err, name)
		require.Less(t, len(short), 100, name)
		record, err := Abridge(strings.NewReader("\x80\x03cm\nc\n."+op+"."), 1000)
		require.NoError(t, err, name)
		require.Equal(t, "\x80\x03cm\nc\n.N.", string(record), name)
		v, err := Decode(short)
		require.NoError(t, err, name)
		tuple := v.(Tuple)
		require.Len(t, tuple, 3, name)
		require.Equal(t, Ref{Oid: 7}, tuple[2], name)
		if _, text := tuple[0].(string); text {
			require.NotEqual(t, tuple[0], tuple[1], name)
		}
		for cut := range len(data) - 2 {
			if cut > 50 && cut < len(data)-50 && cut%997 != 0 {
				continue
			}
			short, err := Abridge(strings.NewReader(data[:cut]), 1000)
			if err == nil {
				_, err = Decode(short)
			}
			var bad *Error
			require.ErrorAs(t, err, &bad, "%s cut at %d", name, cut)
		}
	}
}

// TestAbridgedRecordsAreBounded: those with references have a limit, those without need
// none.
func TestAbridgedRecordsAreBounded(t *testing.T) {
	var tooBig *TooBigError
	nones := strings.Repeat("N", 2000)
	_, err := Abridge(strings.NewReader("cm\nc\n."+nones+"NQ"+nones), 1000)
	require.ErrorAs(t, err, &tooBig)
	short, err := Abridge(strings.NewReader("cm\nc\n."+nones+"."), 1000)
	require.NoError(t, err)
	require.Equal(t, "cm\nc\n.N.", string(short))
	_, err = Abridge(io.MultiReader(strings.NewReader("NN"), iotest.ErrReader(errors.ErrUnsupported)), 1000)
	require.ErrorIs(t, err, errors.ErrUnsupported)
	var bad *Error
	_, err = Abridge(strings.NewReader("\x8d\xff\xff\xff\xff\xff\xff\xff\xff"), 1000)
	require.ErrorAs(t, err, &bad)
}
