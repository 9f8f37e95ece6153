package bigfile_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"lab.nexedi.com/kirr/neo/go/zodb"
	"pgregory.net/rapid"

	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/record"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

func TestZBlk0ReadsWithoutTrailingZeros(t *testing.T) {
	m := newModel()
	for data, want := range map[string]string{"": "", "x": "x", "x\x00y\x00\x00": "x\x00y", "\x00\x00": ""} {
		m.records[oidZBlk] = bytesOf(record.ZBlk0, []byte(data))
		expectBlock(t, m, 5, want)
	}
}

func TestBlockKeepsItsDataWhileRetained(t *testing.T) {
	m := newModel()
	m.records[oidZBlk] = bytesOf(record.ZBlk0, bytes.Repeat([]byte("x"), 5000))
	block, err := bigfile.LoadBlock(ctx, m, oidZBlk, 100, 8192)
	if err != nil {
		t.Fatal(err)
	}
	block.Retain().Release()
	for range 10 { // would take over released memory
		clear(storage.NewBuf(5100).Data)
	}
	if !bytes.Equal(block.Data, bytes.Repeat([]byte("x"), 5000)) {
		t.Error("data changed")
	}
	block.Release()
	(&bigfile.Block{}).Retain().Release()
}

func TestZBlk1IsPutTogetherFromItsChunks(t *testing.T) {
	for _, test := range []struct {
		pieces []piece
		want   string
	}{
		{nil, ""},
		{[]piece{{0, "abc"}}, "abc"},
		{[]piece{{3, "abc"}}, "\x00\x00\x00abc"},
		{[]piece{{0, "abc"}, {3, "def"}}, "abcdef"},
		{[]piece{{0, "abc"}, {5, "d\x00\x00"}}, "abc\x00\x00d"},
		{[]piece{{0, "abc"}, {8, ""}}, "abc"},
		{[]piece{{0, ""}, {8, "abcdefgh"}}, "\x00\x00\x00\x00\x00\x00\x00\x00abcdefgh"},
		{[]piece{{16, ""}}, ""},
	} {
		m := newModel()
		m.setZBlk1(test.pieces...)
		expectBlock(t, m, 16, test.want)
	}
}

func TestRandomChunksMakeTheBlock(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 1))
		const blksize = 10_000
		want := make([]byte, blksize)
		var pieces []piece
		for off := rng.IntN(300); off < blksize; off += 1 + rng.IntN(300) {
			data := make([]byte, min(rng.IntN(200), blksize-off))
			for i := range data {
				data[i] = byte(1 + rng.IntN(255))
			}
			pieces = append(pieces, piece{int64(off), string(data)})
			off += copy(want[off:], data)
		}
		for range 3 { // buffers that are not clean get around
			storage.NewBuf(blksize).Release()
		}
		m := newModel()
		m.many = rng.IntN(2) == 0
		m.setZBlk1(pieces...)
		expectBlock(t, m, blksize, string(bytes.TrimRight(want, "\x00")))
	})
}

func TestBlocksThatCannotBeRightGiveAnError(t *testing.T) {
	zblk1 := func(pieces ...piece) func(*model) { return func(m *model) { m.setZBlk1(pieces...) } }
	set := func(oid zodb.Oid, data []byte) func(*model) {
		return func(m *model) {
			m.setZBlk1(piece{0, "abc"}, piece{8, "def"})
			m.records[oid] = data
			if data == nil {
				delete(m.records, oid)
			}
		}
	}
	for name, test := range map[string]struct {
		set  func(*model)
		oid  zodb.Oid // that the error names
		want string
	}{
		"too long":         {set(oidZBlk, bytesOf(record.ZBlk0, make([]byte, 17))), oidZBlk, "invalid blk: size = 17 (> blksize = 16)"},
		"no ZBlk":          {set(oidZBlk, bytesOf(record.ZData, nil)), oidZBlk, "expect ZBlk0 or ZBlk1; got wendelin.bigfile.file_zodb.ZData"},
		"no bytes":         {set(oidZBlk, encode(record.ZBlk0, (*record.Encoder).None)), oidZBlk, "expect bytes; got None"},
		"text":             {set(oidZBlk, encode(record.ZBlk0, func(e *record.Encoder) { e.Text("abc") })), oidZBlk, "expect bytes; got text[3]"},
		"garbage":          {set(oidZBlk, []byte("garbage")), oidZBlk, "at byte"},
		"missing":          {set(oidZBlk, nil), oidZBlk, "it is referred to and does not exist"},
		"no IOBTree":       {set(oidZBlk, encode(record.ZBlk1, func(e *record.Encoder) { e.Ref(oidTable, record.LOBTree) })), oidZBlk, "expect IOBTree; got BTrees.LOBTree.LOBTree"},
		"no table":         {set(oidTable, nil), oidTable, "it is referred to and does not exist"},
		"table of longs":   {set(oidTable, encode(record.ZData, (*record.Encoder).None)), oidTable, "expect a LOBTree or IOBTree"},
		"missing chunk":    {set(oidChunk+1, nil), oidChunk + 1, "it is referred to and does not exist"},
		"chunk no ZData":   {set(oidChunk, bytesOf(record.ZBlk0, nil)), oidChunk, "expect ZData; got wendelin.bigfile.file_zodb.ZBlk0"},
		"chunk no bytes":   {set(oidChunk, encode(record.ZData, (*record.Encoder).None)), oidChunk, "expect bytes; got None"},
		"negative offset":  {zblk1(piece{-1, "x"}), oidZBlk, "invalid data: negative offset -1"},
		"overlap":          {zblk1(piece{0, "abc"}, piece{2, "c"}), oidZBlk, "invalid data: chunks overlap"},
		"overrun":          {zblk1(piece{0, "0123456789abcdefg"}, piece{2, "c"}), oidZBlk, "invalid data: blkdata overrun"},
		"last too long":    {zblk1(piece{0, "a"}, piece{14, "abc"}), oidZBlk, "invalid blk: size = 17 (> blksize = 16)"},
		"offset beyond":    {zblk1(piece{0, "a"}, piece{1 << 30, "abc"}), oidZBlk, "invalid blk: size = 1073741824 (> blksize = 16)"},
		"offset not int32": {zblk1(piece{1 << 31, ""}), oidTable, "expect an integer of 32 bits"},
		"order of offsets": {zblk1(piece{2, "a"}, piece{2, "b"}), oidTable, "keys do not ascend"},
	} {
		for _, many := range []bool{false, true} {
			m := newModel()
			m.many = many
			test.set(m)
			block, err := bigfile.LoadBlock(ctx, m, oidZBlk, 100, 16)
			var corrupt *storage.CorruptError
			if !errors.As(err, &corrupt) || corrupt.Oid != test.oid || !strings.Contains(err.Error(), test.want) || storage.IsNoData(err) {
				t.Errorf("%s: %v %v; want %s: %s", name, block, err, test.oid, test.want)
			}
		}
	}
	m := newModel()
	m.setZBlk1(piece{1<<31 - 2, "abc"})
	if _, err := bigfile.LoadBlock(ctx, m, oidZBlk, 100, 1<<40); err == nil || !strings.Contains(err.Error(), "invalid data: blklen overflow") {
		t.Error(err)
	}
}

func TestChunksLoadInParallelAndNotTooMany(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	m := newModel()
	var pieces []piece
	for i := range int64(512) {
		pieces = append(pieces, piece{4096 * i, fmt.Sprintf("chunk %d", i)})
	}
	m.setZBlk1(pieces...)
	m.hold = func(context.Context) { time.Sleep(time.Millisecond) }
	block, err := bigfile.LoadBlock(ctx, m, oidZBlk, 100, 2<<20)
	if err != nil || len(block.Data) != 511*4096+len("chunk 511") {
		t.Fatal(block, err)
	}
	block.Release()
	if n := m.maxRunning.Load(); n < 8 || n > 16 {
		t.Errorf("%d loads at a time", n)
	}
}

func TestFirstErrorOfAChunkEndsTheOthers(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	m := newModel()
	var pieces []piece
	for i := range int64(512) {
		pieces = append(pieces, piece{i, "x"})
	}
	m.setZBlk1(pieces...)
	m.errs[oidChunk+20] = storage.ErrClosed
	m.hold = func(ctx context.Context) {
		select {
		case <-ctx.Done():
		case <-time.After(2 * time.Millisecond):
		}
	}
	if _, err := bigfile.LoadBlock(ctx, m, oidZBlk, 100, 512); !errors.Is(err, storage.ErrClosed) {
		t.Error(err)
	}
	if n := m.loads.Load(); n > 100 {
		t.Errorf("%d loads", n)
	}

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	m.errs = nil
	m.hold = func(context.Context) { cancel() }
	if _, err := bigfile.LoadBlock(ctx, m, oidZBlk, 100, 512); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
