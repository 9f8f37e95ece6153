package transfer

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// npy is what numpy.save writes: the header by its own rules, so that it does not
// depend on what is tested.
type npy struct {
	descr string // as in the header, quotes included
	item  int64
	order byte
	shape []int64
	data  []byte
}

func (a *npy) bytes() []byte {
	var dims []string
	for _, n := range a.shape {
		dims = append(dims, fmt.Sprint(n))
	}
	shape := strings.Join(dims, ", ")
	if len(a.shape) == 1 {
		shape += ","
	}
	fortran := "False"
	if a.order == 'F' {
		fortran = "True"
	}
	head := fmt.Sprintf("{'descr': %s, 'fortran_order': %s, 'shape': (%s), }", a.descr, fortran, shape)
	// numpy leaves room for the length of the major axis to grow to 20 digits.
	if len(a.shape) > 0 {
		major := dims[0]
		if a.order == 'F' {
			major = dims[len(dims)-1]
		}
		head += strings.Repeat(" ", 21-len(major))
	}
	const before = 10
	pad := 64 - (before+len(head)+1)%64
	head += strings.Repeat(" ", pad) + "\n"
	out := append([]byte("\x93NUMPY\x01\x00"), binary.LittleEndian.AppendUint16(nil, uint16(len(head)))...)
	return append(append(out, head...), a.data...)
}

func count(shape []int64) int64 {
	n := int64(1)
	for _, d := range shape {
		n *= d
	}
	return n
}

// source returns b as a source, as a plain file would be opened or as a pipe.
func source(t testing.TB, b []byte, pipe bool, layout Layout) *Source {
	t.Helper()
	src, err := trySource(b, pipe, layout)
	require.NoError(t, err)
	return src
}

func trySource(b []byte, pipe bool, layout Layout) (*Source, error) {
	size := int64(len(b))
	if pipe {
		size = -1
	}
	layout.Raw = layout.Raw || !layout.Plain() && !bytes.HasPrefix(b, []byte(npyMagic)[:min(len(npyMagic), max(1, len(b)))])
	return NewSource(bytes.NewReader(b), "x.npy", size, layout)
}
