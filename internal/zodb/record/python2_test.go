package record

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wcfs/wcfs/internal/zodb/pickle"
	"github.com/wcfs/wcfs/t/oracle"
)

// opcodes cuts a record into its opcodes with their arguments.
func opcodes(t testing.TB, data []byte) (codes [][]byte) {
	for len(data) > 0 {
		size, err := pickle.Size(data)
		require.NoError(t, err)
		codes = append(codes, data[:size])
		data = data[size:]
	}
	return codes
}

// withoutMemo returns a record without its memo: what was taken from there stands in
// its place. Such a value is always of one opcode.
func withoutMemo(t testing.TB, data []byte) string {
	memo := make(map[uint64][]byte)
	var out, last []byte
	for _, code := range opcodes(t, data) {
		op := code[0]
		switch op {
		case pickle.OpBinPut, pickle.OpBinGet, pickle.OpLongBinPut, pickle.OpLongBinGet:
			index := make([]byte, 8)
			copy(index, code[1:])
			i := binary.LittleEndian.Uint64(index)
			if op == pickle.OpBinPut || op == pickle.OpLongBinPut {
				memo[i] = last
				continue
			}
			code = memo[i]
		}
		out, last = append(out, code...), code
	}
	return string(out)
}

// TestPython2IsWhatPython2Writes compares with the same objects as real ZODB on
// Python 2 wrote them, but for the memo: which values are put into it depends on how
// many references the interpreter happens to have.
func TestPython2IsWhatPython2Writes(t *testing.T) {
	ours := oracle.Load(t, "py3_pickle3").Records(t)
	for protocol := 1; protocol <= 3; protocol++ {
		theirs := oracle.Load(t, fmt.Sprint("py2_pickle", protocol)).Records(t)
		require.Equal(t, len(ours), len(theirs))
		for _, want := range theirs {
			i := slices.IndexFunc(ours, func(r oracle.Record) bool {
				return r.Oid == want.Oid && (r.Oid != 0 || len(r.Data) > 100 == (len(want.Data) > 100))
			})
			got, err := Python2(ours[i].Data, protocol)
			require.NoError(t, err)
			require.Equal(t, withoutMemo(t, want.Data), withoutMemo(t, got), "protocol %d, object %s", protocol, want.Oid)
		}
	}
}

// TestPython2HasOpcodesOfItsProtocol only, and says the same as before.
func TestPython2HasOpcodesOfItsProtocol(t *testing.T) {
	old := "(.0IJKMNQRTUX" + "bcdghjlpqrstu})]ea" // protocols 0 and 1, as pickletools has them
	allowed := map[int]string{
		1: old,
		2: old + "\x80\x85\x86\x87\x88\x89\x8a",
		3: old + "\x80\x85\x86\x87\x88\x89\x8aBC",
	}
	count := 0
	for _, name := range []string{"basic", "topo"} {
		for _, rec := range oracle.Load(t, name).Records(t) {
			for protocol, allowed := range allowed {
				got, err := Python2(rec.Data, protocol)
				require.NoError(t, err, "%s: %s", name, rec.Oid)
				for _, code := range opcodes(t, got) {
					require.True(t, strings.IndexByte(allowed, code[0]) >= 0, "protocol %d: opcode %q", protocol, code[0])
				}
				want, _ := ClassOf(rec.Data)
				class, err := ClassOf(got)
				require.NoError(t, err)
				require.Equal(t, want, class)
				if class.Module != "persistent.mapping" && class.Name != "ZBigArray" {
					require.Equal(t, stateText(t, rec.Data), stateText(t, got))
					count++
				}
			}
		}
	}
	require.Greater(t, count, 100)
}

func stateText(t testing.TB, data []byte) (text string) {
	require.NoError(t, Decode(data, func(_ Class, state Value) error {
		text = state.String()
		return nil
	}))
	return text
}

// encoded returns a record.
func encoded(class Class, state func(e *Encoder)) []byte {
	var e Encoder
	e.Reset(class)
	state(&e)
	return e.Record()
}

func TestPython2OfEachKindOfValue(t *testing.T) {
	class := func(name string) string { return "c" + ModuleBigFile + "\n" + name + "\nq\x00" }
	long := strings.Repeat("x", 300)
	for _, c := range []struct {
		state    func(e *Encoder)
		protocol int
		want     string
	}{
		{func(e *Encoder) { e.Int(1 << 40) }, 2, "I1099511627776\n"},
		{func(e *Encoder) { e.Int(-1 << 40) }, 1, "I-1099511627776\n"},
		{func(e *Encoder) { e.Int(-5) }, 1, "J\xfb\xff\xff\xff"},
		{func(e *Encoder) { e.Bool(true) }, 1, "I01\n"},
		{func(e *Encoder) { e.Bool(false) }, 1, "I00\n"},
		{func(e *Encoder) { e.Bool(true) }, 3, "\x88"},
		{func(e *Encoder) { e.Bytes([]byte(long)) }, 3, "T\x2c\x01\x00\x00" + long + "q\x01"},
		{func(e *Encoder) { e.Text("größe") }, 1, "U\x07größeq\x01"},
		{func(e *Encoder) { e.Ref(7, ZBlk0) }, 1, "(U\x08" + oid7 + "q\x01h\x00tq\x02Q"},
		{func(e *Encoder) { e.Ref(7, ZBlk0) }, 2, "U\x08" + oid7 + "q\x01h\x00\x86q\x02Q"},
		{func(e *Encoder) { e.Ref(7, ZBlk0) }, 3, "C\x08" + oid7 + "q\x01h\x00\x86q\x02Q"},
		{func(e *Encoder) { e.BeginTuple(1); e.BeginTuple(0); e.EndTuple(0); e.EndTuple(1) }, 1, "()tq\x01"},
		{func(e *Encoder) { e.BeginDict(1); e.Text("a"); e.None(); e.EndDict(1) }, 1, "}q\x01U\x01aq\x02Ns"},
		{func(e *Encoder) {
			e.BeginDict(2)
			for i := range 2 {
				e.Int(int64(i))
				e.BeginTuple(4)
				for range 4 {
					e.None()
				}
				e.EndTuple(4)
			}
			e.EndDict(2)
		}, 1, "}q\x01(K\x00(NNNNtq\x02K\x01(NNNNtq\x03u"},
		{func(e *Encoder) {
			e.Class(ZData)
			e.BeginTuple(2)
			e.None()
			e.None()
			e.EndTuple(2)
			e.Reduce()
			e.None()
			e.Build()
		}, 1, "c" + ModuleBigFile + "\nZData\nq\x01(NNtq\x02Rq\x03Nb"},
	} {
		head := ""
		if c.protocol > 1 {
			head = "\x80" + string(rune(c.protocol))
		}
		got, err := Python2(encoded(ZBlk0, c.state), c.protocol)
		require.NoError(t, err)
		require.Equal(t, head+class("ZBlk0")+"."+head+c.want+".", string(got))
	}
	root := func(e *Encoder) { e.Text("größe") }
	got, err := Python2(encoded(Class{Module: "persistent.mapping", Name: "PersistentMapping"}, root), 1)
	require.NoError(t, err)
	require.True(t, bytes.HasSuffix(got, []byte("X\x07\x00\x00\x00größeq\x01.")), "%q", got)
}

// TestPython2RefusesWhatNoEncoderWrites: nothing is guessed.
func TestPython2RefusesWhatNoEncoderWrites(t *testing.T) {
	head := "\x80\x03c" + ModuleBigFile + "\nZBlk0\nq\x00."
	for _, data := range []string{
		"", head, head + "\x80\x03", head + "\x80\x03N", head + "\x80\x03N.N", head + "\x80\x02N.", head + "N.", head + "\x80\x03Q.",
		head + "\x80\x03\x86.", head + "\x80\x03(N.", head + "\x80\x03t.", head + "\x80\x03(N\x86t.", head + "\x80\x03NN.", head + "\x80\x03u.",
		head + "\x80\x03].", head + "\x80\x03U\x01x.", head + "\x80\x03q\x01.", head + "\x80\x03\x8a\x00.", head + "\x80\x03B\xff\xff\xff\xffx.",
	} {
		_, err := Python2([]byte(data), 1)
		require.Error(t, err, "%q", data)
	}
}

func FuzzPython2(f *testing.F) {
	for _, s := range shapes() {
		f.Add([]byte(s.data), 1)
	}
	f.Fuzz(func(t *testing.T, data []byte, protocol int) {
		got, err := Python2(data, protocol)
		if err == nil && len(got) > 4*len(data) {
			t.Errorf("%d bytes have become %d", len(data), len(got))
		}
	})
}
