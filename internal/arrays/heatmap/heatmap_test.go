package heatmap

import (
	"bytes"
	"errors"
	"flag"
	"image/png"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"
	"pgregory.net/rapid"

	"github.com/wcfs/wcfs/internal/arrays/changes"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

var pictures = flag.String("pictures", "", "directory to write pictures to, to look at them")

// tidAt returns the transaction of a time.
func tidAt(t time.Time) zodb.Tid { return storage.TidOf(t) }

// change returns a transaction that changes ranges of blocks of a MiB, of an array of n blocks.
func change(at time.Time, n int64, ranges ...changes.Range) *changes.Change {
	return &changes.Change{Tid: tidAt(at), Blocks: ranges, BlkSize: 1 << 20, OldSize: n << 20, NewSize: n << 20}
}

// TestBinsAreWhatCountingOneByOneGives, for any history.
func TestBinsAreWhatCountingOneByOneGives(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		m := New()
		var all []*changes.Change
		at := time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC)
		reach := rapid.SampledFrom([]int64{1, 10, 256, 257, 5000}).Draw(r, "reach")
		pause := rapid.SampledFrom([]time.Duration{0, time.Microsecond * 3, time.Second, 1000 * time.Hour}).Draw(r, "pause")
		for range rapid.IntRange(1, 60).Draw(r, "transactions") {
			at = at.Add(time.Duration(rapid.Int64Range(0, int64(pause)).Draw(r, "after")).Round(time.Microsecond))
			c := change(at, rapid.Int64Range(0, reach).Draw(r, "blocks"))
			for lo := int64(0); lo < reach && len(c.Blocks) < 5; {
				lo += rapid.Int64Range(0, reach).Draw(r, "gap")
				hi := lo + rapid.Int64Range(0, reach/2+1).Draw(r, "length")
				c.Blocks = append(c.Blocks, changes.Range{Lo: lo, Hi: hi})
				lo = hi + 2
			}
			if rapid.IntRange(0, 9).Draw(r, "other size") == 0 {
				c.BlkSize = 1 << 21
			}
			all = append(all, c)
			require.NoError(r, m.Change(c))
		}
		want, changed := count(m, all)
		require.Equal(r, want, nonzero(m))
		require.Equal(r, changed, m.changed)
		require.LessOrEqual(r, m.rows(), maxRows)
		require.LessOrEqual(r, m.columns(), maxColumns)
		require.True(r, m.perRow == 1 || m.rows() > maxRows/2, "bins are no larger than they must be")
		require.True(r, m.perColumn == 1 || m.columns() > maxColumns/2)
		for cell := range want {
			require.Less(r, cell[0], int64(m.rows()))
			require.Less(r, cell[1], int64(m.columns()))
		}
	})
}

// count counts block by block, in the bins that m has in the end.
func count(m *Map, all []*changes.Change) (bins map[[2]int64]int64, changed int64) {
	bins = map[[2]int64]int64{}
	begin := storage.TimeOf(all[0].Tid).UnixMicro()
	for _, c := range all {
		for _, r := range c.Blocks {
			lo, hi := r.Lo*c.BlkSize/all[0].BlkSize, ((r.Hi+1)*c.BlkSize-1)/all[0].BlkSize
			for blk := lo; blk <= hi; blk++ {
				bins[[2]int64{blk / m.perRow, (storage.TimeOf(c.Tid).UnixMicro() - begin) / m.perColumn}]++
				changed++
			}
		}
	}
	return bins, changed
}

func nonzero(m *Map) map[[2]int64]int64 {
	bins := map[[2]int64]int64{}
	for row := range m.count {
		for column, n := range m.count[row] {
			if n != 0 {
				bins[[2]int64{int64(row), int64(column)}] = n
			}
		}
	}
	return bins
}

// TestLargestFileHasRoom: no number overflows.
func TestLargestFileHasRoom(t *testing.T) {
	m := New()
	last := int64(math.MaxInt64/4096 - 1)
	for i, blkSize := range []int64{4096, 8192} {
		c := &changes.Change{Tid: tidAt(time.Unix(1e9+int64(i), 0)), BlkSize: blkSize, NewSize: math.MaxInt64 - 4096,
			Blocks: []changes.Range{{Lo: 0, Hi: (last+1)*4096/blkSize - 1}}}
		require.NoError(t, m.Change(c))
	}
	require.InEpsilon(t, 2*float64(last), float64(m.changed), 1e-9)
	require.NoError(t, m.PNG(&bytes.Buffer{}, "huge", ""))
}

// histories are what the pictures are of.
func histories() map[string]*Map {
	begin := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	all := map[string]*Map{}
	rnd := rand.New(rand.NewPCG(1, 2))
	of := func(name string, n int, after time.Duration, change1 func(i int, at time.Time) *changes.Change) {
		m := New()
		for i := range n {
			_ = m.Change(change1(i, begin.Add(time.Duration(i)*after)))
		}
		all[name] = m
	}
	one := func(at time.Time, n, blk int64) *changes.Change {
		return change(at, n, changes.Range{Lo: blk, Hi: blk})
	}
	of("append", 3000, 45*time.Minute, func(i int, at time.Time) *changes.Change { return one(at, int64(i/7+1), int64(i/7)) })
	of("random", 20000, 13*time.Second, func(_ int, at time.Time) *changes.Change { return one(at, 400, rnd.Int64N(400)) })
	of("hot", 5000, 3*time.Minute, func(i int, at time.Time) *changes.Change {
		if i%50 == 0 {
			return one(at, 120, rnd.Int64N(120))
		}
		return one(at, 120, 42)
	})
	of("single", 1, 0, func(_ int, at time.Time) *changes.Change { return change(at, 40, changes.Range{Lo: 3, Hi: 17}) })
	of("million", 4000, 20*time.Hour, func(i int, at time.Time) *changes.Change {
		lo := int64(math.Abs(rnd.NormFloat64()) * 250e3)
		return change(at, 1e6, changes.Range{Lo: min(lo, 999e3), Hi: min(lo, 999e3) + rnd.Int64N(1000)})
	})
	of("few", 12, 250*time.Millisecond, func(i int, at time.Time) *changes.Change { return one(at, 6, int64(i*i%6)) })
	all["few"].damage = errors.New("x")
	return all
}

// TestPicturesDecode: they are images of a bounded size, and are not empty.
func TestPicturesDecode(t *testing.T) {
	for name, m := range histories() {
		var data bytes.Buffer
		require.NoError(t, m.PNG(&data, "climate/temperature", "/srv/climate.fs"))
		if *pictures != "" {
			require.NoError(t, os.WriteFile(filepath.Join(*pictures, name+".png"), data.Bytes(), 0o644))
		}
		picture, err := png.Decode(&data)
		require.NoError(t, err)
		size := picture.Bounds().Size()
		require.LessOrEqual(t, size.X, plotWidth+left+right, name)
		require.LessOrEqual(t, size.Y, plotHeight+top+bottom, name)
		require.GreaterOrEqual(t, size.X, narrowest, name)
	}
}

// TestCellsAreWhereTheyBelong: a block that changes has its colour above the ones before it,
// and what does not change is paper.
func TestCellsAreWhereTheyBelong(t *testing.T) {
	m := New()
	begin := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	require.NoError(t, m.Change(change(begin, 4, changes.Range{Lo: 0, Hi: 0})))
	require.NoError(t, m.Change(change(begin.Add(511*time.Microsecond), 4, changes.Range{Lo: 3, Hi: 3})))
	var data bytes.Buffer
	require.NoError(t, m.PNG(&data, "x", "y"))
	picture, err := png.Decode(&data)
	require.NoError(t, err)
	at := func(row, column int) any { // in the middle of a cell of 2 x 32 pixels
		return picture.At(left+2*column, top+32*(3-row)+10)
	}
	require.Equal(t, shade(0.5), at(0, 0))
	require.Equal(t, shade(0.5), at(3, 511))
	require.Equal(t, paper, at(0, 511))
	require.Equal(t, paper, at(3, 0))
	require.Equal(t, paper, at(1, 100))
}

// TestTicksAreRoundAndNotTooMany, for any length of time and any number of blocks.
func TestTicksAreRoundAndNotTooMany(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		m := New()
		begin := time.UnixMicro(rapid.Int64Range(0, 4e15).Draw(r, "begin"))
		blocks := rapid.Int64Range(1, 1<<40).Draw(r, "blocks")
		blocks >>= rapid.IntRange(0, 40).Draw(r, "smaller")
		length := rapid.Int64Range(0, 4e15).Draw(r, "length") >> rapid.IntRange(0, 50).Draw(r, "shorter")
		require.NoError(r, m.Change(change(begin, max(1, blocks))))
		require.NoError(r, m.Change(change(begin.Add(time.Duration(length)*time.Microsecond), max(1, blocks))))
		n := rapid.IntRange(2, 12).Draw(r, "room")
		for _, ticks := range [][]tick{m.timeTicks(n), m.blockTicks(n)} {
			require.LessOrEqual(r, len(ticks), n+1)
			for i, k := range ticks {
				require.NotEmpty(r, k.label)
				require.True(r, i == 0 || k.at > ticks[i-1].at && k.label+k.below != ticks[i-1].label+ticks[i-1].below, "%v", ticks)
			}
		}
		require.NotEmpty(r, m.blockTicks(n))
		for _, k := range m.timeTicks(n) {
			require.LessOrEqual(r, k.at, float64(m.columns()))
			require.GreaterOrEqual(r, k.at, 0.0)
		}
	})
}
