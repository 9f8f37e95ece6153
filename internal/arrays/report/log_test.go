package report

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/arrays/changes"
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
