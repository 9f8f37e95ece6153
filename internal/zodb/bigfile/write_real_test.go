package bigfile

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/btree"
	"github.com/wcfs/wcfs/internal/zodb/fs1"
	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/t/oracle"
)

// TestBlocksAreWrittenAsWendelinCoreWritesThem repeats each transaction of a
// real database on the state before it, and compares what blocks become.
func TestBlocksAreWrittenAsWendelinCoreWritesThem(t *testing.T) {
	db := oracle.Load(t, "basic")
	u, err := storage.ParseURL("file://" + db.Path)
	if err != nil {
		t.Fatal(err)
	}
	stor, _, err := fs1.Open(context.Background(), u, storage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer stor.Close()
	count := make(map[string]int)
	for name, format := range map[string]Format{"zblk0": FormatZBlk0, "zblk1": FormatZBlk1, "auto": FormatAuto} {
		for _, txn := range db.Txns[2:] {
			if strings.HasPrefix(txn.Note, "undo") {
				continue
			}
			testSameAsReal(t, stor, db.Files[name], format, txn, count)
		}
	}
	t.Logf("blocks: %v", count)
	for _, kind := range []string{"ZBlk0 ZBlk0", "ZBlk1 ZBlk1", "auto ZBlk0", "auto ZBlk1"} {
		if count[kind] == 0 {
			t.Errorf("no block %q was compared", kind)
		}
	}
}

func testSameAsReal(t *testing.T, stor storage.Storage, file oracle.File, format Format, txn oracle.Txn, count map[string]int) {
	ctx := context.Background()
	mine := newWriteTxn()
	mine.base = func(oid zodb.Oid) ([]byte, error) {
		buf, _, err := stor.Load(ctx, zodb.Xid{At: txn.Tid - 1, Oid: oid})
		if err != nil {
			return nil, err
		}
		return buf.Data, nil
	}
	w, err := NewWriter(mine, file.Oid, format)
	if err != nil {
		t.Fatal(err)
	}
	src := btree.Direct{Loader: stor}
	changed := make(map[int64]zodb.Oid)
	err = btree.Items(ctx, src, w.file.Table, txn.Tid, 0, 1<<62, func(blk int64, zblk zodb.Oid) error {
		if _, ok := slices.BinarySearch(txn.Oids, zblk); ok {
			changed[blk] = zblk
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var blks []int64
	for blk := range changed {
		blks = append(blks, blk)
	}
	slices.Sort(blks)
	for _, blk := range blks {
		data, _ := readBlock(t, stor, file.Oid, txn.Tid, blk)
		if err := w.WriteBlock(ctx, blk, data); err != nil {
			t.Fatal(err)
		}
	}
	w.Flush()
	for _, blk := range blks {
		wantData, wantClass := readBlock(t, stor, file.Oid, txn.Tid, blk)
		data, class := readBlock(t, TxnLoader{mine}, file.Oid, 1, blk)
		if !bytes.Equal(data, wantData) || class != wantClass {
			t.Errorf("@%s %s: block %d: %s of %d bytes; want %s of %d", txn.Tid, format, blk, class, len(data), wantClass, len(wantData))
		}
		count[format.String()+" "+class]++
		checkChunks(t, mine, stor, txn.Tid, w, blk, changed[blk])
	}
}

// checkChunks compares the chunks that were stored for a ZBlk1.
func checkChunks(t *testing.T, mine *writeTxn, stor storage.Storage, tid zodb.Tid, w *Writer, blk int64, realZBlk zodb.Oid) {
	t.Helper()
	ctx := context.Background()
	ref, _, err := w.table.Get(blk)
	if err != nil {
		t.Fatal(err)
	}
	state, err := w.blockState(ref.Oid)
	if err != nil || !state.chunked {
		return
	}
	buf, _, err := stor.Load(ctx, zodb.Xid{At: tid, Oid: realZBlk})
	if err != nil {
		t.Fatal(err)
	}
	realState, err := decodeBlock(buf.Data)
	if err != nil || !realState.chunked {
		return // told already
	}
	chunks := func(loader storage.Loader, table zodb.Oid, at zodb.Tid, stored func(zodb.Oid) bool) (text string) {
		list, err := listChunks(ctx, loader, table, at, w.file.BlkSize)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range list {
			var got storage.Loaded
			got.Buf, got.Serial, got.Err = loader.Load(ctx, zodb.Xid{At: at, Oid: c.oid})
			if err := c.take(at, got); err != nil {
				t.Fatal(err)
			}
			text += fmt.Sprintf("%d:%d %v ", c.off, len(c.data), stored(c.oid))
		}
		return text
	}
	got := chunks(TxnLoader{mine}, state.chunks, 1, func(oid zodb.Oid) bool { return mine.stored[oid] })
	want := chunks(stor, realState.chunks, tid, func(oid zodb.Oid) bool {
		_, serial, err := stor.Load(ctx, zodb.Xid{At: tid, Oid: oid})
		return err == nil && serial == tid
	})
	if got != want {
		t.Errorf("@%s: block %d: chunks %s; want %s", tid, blk, got, want)
	}
}
