//go:build !race

// The race detector makes pools forget things.

package record

import (
	"bytes"
	"testing"
)

func TestPayloadIsNotCopied(t *testing.T) {
	var e Encoder
	e.Reset(ZBlk0)
	e.Bytes(bytes.Repeat([]byte("x"), 1<<20))
	data := e.Record()
	var payload []byte
	allocs := testing.AllocsPerRun(100, func() {
		_ = Decode(data, func(_ Class, state Value) error {
			payload, _ = state.Bytes()
			return nil
		})
	})
	if allocs > 0 {
		t.Errorf("%v allocations", allocs)
	}
	if i := bytes.IndexByte(data, 'x'); len(payload) != 1<<20 || &payload[0] != &data[i] {
		t.Errorf("payload is not a slice of the record")
	}
}

// TestRecordsOfArraysTakeNoMemory in whatever form some Python writes them.
func TestRecordsOfArraysTakeNoMemory(t *testing.T) {
	for _, s := range shapes() {
		data := []byte(s.data)
		allocs := testing.AllocsPerRun(100, func() { _ = Decode(data, func(Class, Value) error { return nil }) })
		if s.fast && allocs > 0 {
			t.Errorf("%s: %v allocations", s.name, allocs)
		}
	}
}
