package changes

import (
	"cmp"
	"slices"
	"strings"

	"lab.nexedi.com/kirr/neo/go/zodb"
)

// Event is what happened to a file other than to its blocks. It is a set.
type Event uint8

const (
	Created   Event = 1 << iota // there was no ZBigFile before
	Deleted                     // there is none any more
	Recreated                   // the ZBigFile has another block size or block table
	Metadata                    // the ZBigArray that shows the file changed, or came or went alone: shape, dtype
	Damaged                     // something became unreadable, see Change.Damage
)

var eventNames = []string{"created", "deleted", "re-created", "metadata", "damaged"}

// Names returns the events of the set as lower-case words.
func (e Event) Names() (names []string) {
	for i, name := range eventNames {
		if e&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return names
}

// String returns the events of the set, as "created, metadata".
func (e Event) String() string { return strings.Join(e.Names(), ", ") }

// Change is what became of a file from one view to another.
type Change struct {
	Tid         zodb.Tid // of the transaction, or the later view of Diff
	User        string   // as stored: any bytes; empty for Diff
	Description string

	Events  Event
	Blocks  []Range // whose content may be another one: ascending, not adjacent
	NBlocks int64   // how many these are

	BlkSize int64 // bytes of a block, after the change; before if it was deleted; else 0
	OldSize int64 // bytes, 0 if there was no file; what cannot be read is left out
	NewSize int64

	// Damage is not nil if something could not be read in the view before or
	// after: then Blocks may lack some, and have too many where nothing is
	// known about before. It is a *MissingError, *storage.CorruptError,
	// *storage.PackedError, or wraps bigfile.ErrTooBig.
	Damage error
}

// Empty reports whether there is nothing to tell.
func (c *Change) Empty() bool {
	return c.Events == 0 && len(c.Blocks) == 0 && c.OldSize == c.NewSize
}

// Range is the blocks Lo to Hi, both included.
type Range struct{ Lo, Hi int64 }

// Len returns the number of blocks.
func (r Range) Len() int64 { return r.Hi - r.Lo + 1 }

// setBlocks sets Blocks to the union of ranges, which it takes over.
func (c *Change) setBlocks(ranges []Range) {
	c.Blocks, c.NBlocks = merge(ranges), 0
	for _, r := range c.Blocks {
		c.NBlocks += r.Len()
	}
}

// merge returns the union of ranges, ascending and not adjacent. It re-uses the
// slice.
func merge(ranges []Range) []Range {
	slices.SortFunc(ranges, func(a, b Range) int { return cmp.Compare(a.Lo, b.Lo) })
	merged := ranges[:0]
	for _, r := range ranges {
		if n := len(merged); n > 0 && r.Lo-1 <= merged[n-1].Hi {
			merged[n-1].Hi = max(merged[n-1].Hi, r.Hi)
			continue
		}
		merged = append(merged, r)
	}
	return slices.Clip(merged)
}

// rangesOf returns blks as ranges; order and repetitions do not matter. It sorts
// blks.
func rangesOf(blks []int64) (ranges []Range) {
	slices.Sort(blks)
	for _, blk := range blks {
		if n := len(ranges); n > 0 && blk-1 <= ranges[n-1].Hi {
			ranges[n-1].Hi = blk
			continue
		}
		ranges = append(ranges, Range{blk, blk})
	}
	return ranges
}

// rescale returns the blocks of to bytes that cover ranges of blocks of from
// bytes. Ends of ranges must fit into a file.
func rescale(ranges []Range, from, to int64) []Range {
	out := make([]Range, len(ranges))
	for i, r := range ranges {
		out[i] = Range{r.Lo * from / to, ((r.Hi+1)*from - 1) / to}
	}
	return out
}
