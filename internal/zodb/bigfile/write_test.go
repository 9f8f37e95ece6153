package bigfile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/btree"
	"github.com/wcfs/wcfs/internal/zodb/record"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// writeTxn is a transaction on what base has, or on nothing.
type writeTxn struct {
	base   func(oid zodb.Oid) ([]byte, error) // may be nil
	recs   map[zodb.Oid][]byte
	last   zodb.Oid
	stored map[zodb.Oid]bool
}

func newWriteTxn() *writeTxn {
	return &writeTxn{recs: make(map[zodb.Oid][]byte), stored: make(map[zodb.Oid]bool), last: 1 << 30}
}

func (t *writeTxn) New() zodb.Oid {
	t.last++
	return t.last
}

func (t *writeTxn) Load(oid zodb.Oid) ([]byte, zodb.Tid, error) {
	if data, ok := t.recs[oid]; ok {
		return data, 1, nil
	}
	if t.base != nil {
		data, err := t.base(oid)
		return data, 1, err
	}
	return nil, 0, &zodb.NoObjectError{Oid: oid}
}

func (t *writeTxn) Store(oid zodb.Oid, data []byte) {
	t.recs[oid] = data
	t.stored[oid] = true
}

// storedClasses counts what was stored.
func (t *writeTxn) storedClasses(tb testing.TB) string {
	count := make(map[string]int)
	for oid := range t.stored {
		class, err := record.ClassOf(t.recs[oid])
		if err != nil {
			tb.Fatal(err)
		}
		count[class.Name]++
	}
	return fmt.Sprint(count)
}

// writing is a file that is written and read again.
type writing struct {
	testing.TB
	txn *writeTxn
	oid zodb.Oid
	w   *Writer
}

func newWriting(t testing.TB, blksize int64) *writing {
	txn := newWriteTxn()
	oid, err := NewFile(txn, blksize)
	if err != nil {
		t.Fatal(err)
	}
	return &writing{TB: t, txn: txn, oid: oid}
}

// begin begins a new transaction.
func (f *writing) begin(format Format) {
	f.Helper()
	clear(f.txn.stored)
	w, err := NewWriter(f.txn, f.oid, format)
	if err != nil {
		f.Fatal(err)
	}
	f.w = w
}

func (f *writing) write(blk int64, data []byte) {
	f.Helper()
	if err := f.w.WriteBlock(context.Background(), blk, data); err != nil {
		f.Fatal(err)
	}
	f.w.Flush()
}

// commit is one transaction that writes one block, and returns what it stored.
func (f *writing) commit(format Format, blk int64, data []byte) string {
	f.Helper()
	f.begin(format)
	f.write(blk, data)
	return f.txn.storedClasses(f)
}

// read returns a block as readers see it, and the class of its object.
func (f *writing) read(blk int64) (data []byte, class string) {
	f.Helper()
	return readBlock(f, TxnLoader{f.txn}, f.oid, 1, blk)
}

func readBlock(t testing.TB, loader storage.Loader, oid zodb.Oid, at zodb.Tid, blk int64) (data []byte, class string) {
	t.Helper()
	ctx := context.Background()
	src := Direct{btree.Direct{Loader: loader}}
	file, _, err := src.File(ctx, zodb.Xid{At: at, Oid: oid})
	if err != nil {
		t.Fatal(err)
	}
	found, err := btree.Lookup(ctx, src, file.Table, at, blk)
	if err != nil {
		t.Fatal(err)
	}
	if !found.OK {
		return nil, "hole"
	}
	block, err := LoadBlock(ctx, loader, found.Value, at, file.BlkSize)
	if err != nil {
		t.Fatal(err)
	}
	buf, _, err := loader.Load(ctx, zodb.Xid{At: at, Oid: found.Value})
	if err != nil {
		t.Fatal(err)
	}
	c, err := record.ClassOf(buf.Data)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Clone(block.Data), c.Name
}

func TestWrittenBlocksReadBack(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	for _, format := range []Format{FormatZBlk0, FormatZBlk1, FormatAuto, 100} {
		for _, blksize := range []int64{10, 4096, 3*4096 + 7, 8 * 4096} {
			t.Run(fmt.Sprintf("%s/%d", format, blksize), func(t *testing.T) { testRoundTrip(t, rnd, format, blksize) })
		}
	}
}

// testRoundTrip compares random writes with a map of blocks. Format 100 is
// another one each time.
func testRoundTrip(t *testing.T, rnd *rand.Rand, format Format, blksize int64) {
	f := newWriting(t, blksize)
	model := make(map[int64][]byte)
	n := 60
	if testing.Short() {
		n = 20
	}
	for range n {
		use := format
		if format == 100 {
			use = Format(rnd.IntN(3))
		}
		f.begin(use)
		for range 1 + rnd.IntN(4) {
			blk := rnd.Int64N(6)
			if rnd.IntN(10) == 0 {
				blk = rnd.Int64N(1 << 40)
			}
			block := make([]byte, blksize)
			copy(block, model[blk])
			mutate(rnd, block)
			f.write(blk, block[:blksize-rnd.Int64N(2)*int64(len(block)-len(trim(block)))])
			model[blk] = block
		}
		for blk, want := range model {
			got, class := f.read(blk)
			if !bytes.Equal(got, trim(want)) {
				t.Fatalf("block %d reads wrong", blk)
			}
			if format < FormatAuto && class != format.String() {
				t.Fatalf("block %d is a %s", blk, class)
			}
		}
	}
}

func mutate(rnd *rand.Rand, block []byte) {
	switch rnd.IntN(6) {
	case 0:
		clear(block)
	case 1:
		clear(block[rnd.IntN(len(block)):])
	case 2:
		for i := range block {
			block[i] = byte(rnd.Uint32())
		}
	case 3:
	default:
		for range 1 + rnd.IntN(3) {
			block[rnd.IntN(len(block))] = byte(rnd.Uint32())
		}
	}
}

func TestZBlk1StoresWhatDiffersAndItself(t *testing.T) {
	f := newWriting(t, 5*chunkLen)
	data := bytes.Repeat([]byte{1}, 4*chunkLen)
	check := func(what, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s: stored %s; want %s", what, got, want)
		}
	}
	check("new", f.commit(FormatZBlk1, 0, data), "map[IOBTree:1 LOBTree:1 ZBlk1:1 ZData:4]")
	check("same", f.commit(FormatZBlk1, 0, data), "map[]")
	data[chunkLen] = 2
	check("byte", f.commit(FormatZBlk1, 0, data), "map[ZBlk1:1 ZData:1]")
	clear(data[chunkLen : 2*chunkLen])
	check("hole", f.commit(FormatZBlk1, 0, data), "map[IOBTree:1 ZBlk1:1]")
	data[2*chunkLen-1] = 5
	check("hole filled", f.commit(FormatZBlk1, 0, data), "map[IOBTree:1 ZBlk1:1 ZData:1]")
	check("shorter", f.commit(FormatZBlk1, 0, data[:3*chunkLen]), "map[IOBTree:1 ZBlk1:1]")
	check("zeros", f.commit(FormatZBlk1, 0, nil), "map[IOBTree:1 ZBlk1:1]")
	check("zeros again", f.commit(FormatZBlk1, 0, make([]byte, 100)), "map[]")
	if data, class := f.read(0); len(data) != 0 || class != "ZBlk1" {
		t.Errorf("%d bytes of %s", len(data), class)
	}
	check("other class", f.commit(FormatZBlk0, 0, data), "map[LOBTree:1 ZBlk0:1]")
	check("ZBlk0, same", f.commit(FormatZBlk0, 0, data), "map[ZBlk0:1]")
	check("new, zeros", f.commit(FormatZBlk1, 1, nil), "map[IOBTree:1 LOBTree:1 ZBlk1:1]")
	if n, err := f.w.Len(); n != 2 || err != nil {
		t.Errorf("%d blocks, %v", n, err)
	}
}

// TestOddChunksAreReplaced has chunks as another writer may make them.
func TestOddChunksAreReplaced(t *testing.T) {
	for name, chunks := range map[string][]struct {
		off  int64
		data string
	}{
		"unaligned": {{0, "abc"}, {1000, "def"}},
		"too long":  {{0, strings.Repeat("x", chunkLen+1)}},
		"negative":  {{-4096, "x"}},
	} {
		f := newWriting(t, 4*chunkLen)
		put := func() {
			block, _, _ := f.w.table.Get(0)
			state, err := f.w.blockState(block.Oid)
			if err != nil {
				t.Fatal(err)
			}
			e, err := btree.Edit(f.txn, btree.IO, state.chunks)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range chunks {
				oid := f.txn.New()
				f.txn.Store(oid, encodeBytes(record.ZData, []byte(c.data)))
				if err := e.Set(c.off, btree.Ref{Oid: oid, Class: record.ZData}); err != nil {
					t.Fatal(err)
				}
			}
			e.Flush()
		}
		for _, c := range []struct {
			want   []byte
			stored string
		}{
			{bytes.Repeat([]byte{7}, 2*chunkLen), "map[IOBTree:1 ZBlk1:1 ZData:2]"},
			{nil, "map[IOBTree:1 ZBlk1:1]"}, // readers learn from the ZBlk1 that the chunks are gone
		} {
			f.commit(FormatZBlk1, 0, nil)
			put()
			if got := f.commit(FormatZBlk1, 0, c.want); got != c.stored {
				t.Errorf("%s: stored %s", name, got)
			}
			if data, _ := f.read(0); !bytes.Equal(data, c.want) {
				t.Errorf("%s: reads wrong", name)
			}
		}
	}
}

func TestAutoChoosesTheFormat(t *testing.T) {
	const size = 100
	run := func(x byte, n int) []byte { return bytes.Repeat([]byte{x}, n) }
	for _, tt := range []struct {
		name     string
		blk      int64
		last     int64
		old, new []byte
		want     Format
	}{
		{"first block, small", 0, -1, nil, run(1, 49), FormatZBlk1},
		{"first block, half", 0, -1, nil, run(1, 50), FormatZBlk0},
		{"first block, full", 0, -1, nil, run(1, 100), FormatZBlk0},
		{"new block, small", 5, 4, nil, run(1, 1), FormatZBlk1},
		{"new block, empty", 5, 4, nil, nil, FormatZBlk1},
		{"append to last, small", 5, 5, run(1, 40), run(1, 89), FormatZBlk1},
		{"append to last, big", 5, 5, run(1, 40), run(1, 90), FormatZBlk0},
		{"append to last, fills", 5, 5, run(1, 90), run(1, 100), FormatZBlk0},
		{"last, changed in front, fills", 5, 5, append([]byte{2}, run(1, 89)...), run(1, 100), FormatZBlk1},
		{"last, changed in front", 5, 5, run(1, 40), append([]byte{2}, run(1, 50)...), FormatZBlk1},
		{"last, cut", 5, 5, run(1, 100), run(1, 60), FormatZBlk1},
		{"last, cut much", 5, 5, run(1, 100), run(1, 50), FormatZBlk0},
		{"not last, small", 3, 5, run(1, 40), run(1, 89), FormatZBlk1},
		{"not last, fills", 3, 5, run(1, 90), run(1, 100), FormatZBlk1},
		{"not last, big", 3, 5, run(1, 100), run(2, 100), FormatZBlk0},
		{"not last, same", 3, 5, run(1, 100), run(1, 100), FormatZBlk1},
		{"last, same and full", 5, 5, run(1, 100), run(1, 100), FormatZBlk0},
		{"behind a gap, small", 7, 5, nil, run(1, 1), FormatZBlk1},
		{"behind a gap, full", 7, 5, nil, run(1, 100), FormatZBlk0},
	} {
		c := change{blksize: size, blk: tt.blk, last: tt.last, old: tt.old, new: tt.new}
		if got := c.format(); got != tt.want {
			t.Errorf("%s: %s; want %s", tt.name, got, tt.want)
		}
	}
}

func TestAutoConvertsTheBlockThatAnAppendFinished(t *testing.T) {
	const size = 2 * chunkLen
	part := bytes.Repeat([]byte{1}, 100)
	for _, changed := range []bool{true, false} {
		f := newWriting(t, size)
		f.commit(FormatAuto, 0, part)
		f.begin(FormatAuto)
		if changed {
			f.write(0, append(slices.Clone(part), 2))
		}
		f.write(1, part)
		want := "ZBlk1"
		if changed {
			want = "ZBlk0"
		}
		if _, class := f.read(0); class != want {
			t.Errorf("changed: %v: block 0 is a %s", changed, class)
		}
		if data, class := f.read(1); class != "ZBlk1" || !bytes.Equal(data, part) {
			t.Errorf("changed: %v: block 1 is a %s", changed, class)
		}
	}
}

func TestWritesThatCannotBeAreRefused(t *testing.T) {
	txn := newWriteTxn()
	if _, err := NewFile(txn, 0); err == nil {
		t.Error("blksize 0")
	}
	f := newWriting(t, 10)
	f.begin(FormatZBlk0)
	for name, err := range map[string]error{
		"too long": f.w.WriteBlock(context.Background(), 0, make([]byte, 11)),
		"negative": f.w.WriteBlock(context.Background(), -1, nil),
		"too far":  f.w.WriteBlock(context.Background(), 1<<62, nil),
	} {
		if err == nil {
			t.Error(name)
		}
	}
	var other *NotBigFileError
	if _, err := NewWriter(f.txn, f.w.table.Oid(), FormatZBlk0); !errors.As(err, &other) {
		t.Errorf("a table as a file: %v", err)
	}
	for _, name := range []string{"ZBlk0", "ZBlk1", "auto"} {
		if format, err := ParseFormat(name); err != nil || format.String() != name {
			t.Errorf("%s: %s, %v", name, format, err)
		}
	}
	if _, err := ParseFormat("zblk0"); err == nil {
		t.Error("zblk0 was parsed")
	}
}
