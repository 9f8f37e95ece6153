package main

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/arrays/catalog"
	"github.com/wcfs/wcfs/internal/arrays/changes"
	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/zwrite"
)

func TestLineShowsWhoAndWhatAndNothingThatATerminalObeys(t *testing.T) {
	const tid = zodb.Tid(0x03f6df7fffffffb8) // 2024-02-29 23:59:59.999999
	line := newChangeLine(&changes.Change{
		Tid: tid, User: "/ joe\x1b[2J", Description: "first\nsecond\xff " + strings.Repeat("x", 100),
		Events: changes.Recreated | changes.Metadata | changes.Damaged,
		Blocks: []changes.Range{{Lo: 3, Hi: 7}, {Lo: 9, Hi: 9}}, NBlocks: 6,
		BlkSize: 2 << 20, OldSize: 4 << 20, NewSize: 6 << 20, Damage: errors.New("damage"),
	})
	require.Equal(t, "03f6df7fffffffb8  2024-02-29 23:59:59Z  / joe [2J  first second\uFFFD "+strings.Repeat("x", 43)+"..."+
		"  re-created, metadata  blocks 3-7,9 (6)  size 4.0 MiB -> 6.0 MiB  incomplete", line.text())
	require.Equal(t, []string{"re-created", "metadata", "damaged"}, line.doc.Events)
	require.Equal(t, blockDoc{First: 3, Last: 7, Offset: 6 << 20, Length: 10 << 20}, line.doc.Blocks[0])
}

func TestManyRangesAreCut(t *testing.T) {
	var ranges []changes.Range
	for blk := range int64(9) {
		ranges = append(ranges, changes.Range{Lo: 2 * blk, Hi: 2 * blk})
	}
	require.Equal(t, "0,2,4,6,8,10,12,14,...", rangesText(ranges))
	require.Equal(t, "0,2,4,6,8,10,12,14", rangesText(ranges[:8]))
}

// TestDeletedFileIsFoundByItsOid: its history can be asked for when no name leads
// to it any more.
func TestDeletedFileIsFoundByItsOid(t *testing.T) {
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "Data.fs")
	out, err := zwrite.Create(ctx, path, zwrite.Options{NoSync: true})
	require.NoError(t, err)
	defer out.Close()
	var file zodb.Oid
	for _, edit := range []func(txn *zwrite.Txn){
		func(txn *zwrite.Txn) { file, err = bigfile.NewFile(txn, 8) },
		func(txn *zwrite.Txn) { txn.Delete(file) },
	} {
		txn, beginErr := out.Begin(ctx, zwrite.Meta{User: []byte("joe")})
		require.NoError(t, beginErr)
		edit(txn)
		require.NoError(t, err)
		_, err := txn.Commit()
		require.NoError(t, err)
	}
	require.NoError(t, out.Close())

	db, head, err := openHistory(ctx, path)
	require.NoError(t, err)
	defer db.Close()
	log := func(name string) (string, error) {
		var text strings.Builder
		o := newHistoryOutput(&logFlags{}, &text)
		err := logOf(ctx, db, name, 0, head, o)
		require.NoError(t, o.end())
		return text.String(), err
	}
	text, err := log(file.String())
	require.NoError(t, err)
	require.Regexp(t, `^\w+  \S+ \S+  joe  deleted\n\w+  \S+ \S+  joe  created\n$`, text)
	_, err = log("0xffff")
	var notFound *catalog.NotFoundError
	require.ErrorAs(t, err, &notFound)
}
