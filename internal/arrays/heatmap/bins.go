package heatmap

import (
	"time"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/arrays/changes"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

const (
	maxRows    = 256
	maxColumns = 512
)

// Map counts changes of the blocks of an array.
type Map struct {
	count     [maxRows][maxColumns]int64
	perRow    int64 // blocks
	perColumn int64 // microseconds
	blkSize   int64 // of the blocks that are counted; others are converted

	begin, end int64 // of the first and the last transaction, in microseconds since 1970
	blocks     int64 // that the array has had
	txns       int64
	changed    int64 // blocks, each as often as it changed
	damage     error // the first
	damaged    zodb.Tid
}

// New returns a Map of nothing.
func New() *Map { return &Map{perRow: 1, perColumn: 1} }

// Empty reports whether nothing was counted.
func (m *Map) Empty() bool { return m.txns == 0 }

// Damage returns why something is missing, and in which transaction that was first; nil if
// nothing is.
func (m *Map) Damage() (at zodb.Tid, err error) { return m.damaged, m.damage }

// Change counts what a transaction changed. They come in ascending order. The error is nil.
func (m *Map) Change(c *changes.Change) error {
	at := storage.TimeOf(c.Tid).UnixMicro()
	if m.txns == 0 {
		m.begin, m.blkSize = at, max(1, c.BlkSize)
	}
	m.txns++
	m.end = max(m.end, at, m.begin)
	if m.damage == nil && c.Damage != nil {
		m.damage, m.damaged = c.Damage, c.Tid
	}
	for (m.end-m.begin)/m.perColumn >= maxColumns {
		m.mergeColumns()
	}
	m.cover((max(c.OldSize, c.NewSize) + m.blkSize - 1) / m.blkSize)
	column := (m.end - m.begin) / m.perColumn
	for _, r := range c.Blocks {
		m.add(m.converted(r, c.BlkSize), column)
	}
	return nil
}

// converted returns the blocks of the size that is counted which have those of another size.
func (m *Map) converted(r changes.Range, blkSize int64) changes.Range {
	if blkSize == m.blkSize || blkSize == 0 {
		return r
	}
	return changes.Range{Lo: r.Lo * blkSize / m.blkSize, Hi: ((r.Hi+1)*blkSize - 1) / m.blkSize}
}

// add counts blocks that changed.
func (m *Map) add(r changes.Range, column int64) {
	m.cover(r.Hi + 1)
	m.changed += r.Len()
	for row := r.Lo / m.perRow; row <= r.Hi/m.perRow; row++ {
		first := row * m.perRow
		last := first + (m.perRow - 1)
		m.count[row][column] += min(r.Hi, last) - max(r.Lo, first) + 1
	}
}

// cover makes room for n blocks.
func (m *Map) cover(n int64) {
	m.blocks = max(m.blocks, n)
	for (m.blocks-1)/m.perRow >= maxRows {
		m.mergeRows()
	}
}

// mergeRows makes rows of two each.
func (m *Map) mergeRows() {
	m.perRow *= 2
	for row := range m.count {
		var sum [maxColumns]int64
		if 2*row < maxRows {
			for column := range m.columns() {
				sum[column] = m.count[2*row][column] + m.count[2*row+1][column]
			}
		}
		m.count[row] = sum
	}
}

// mergeColumns makes columns of two each.
func (m *Map) mergeColumns() {
	m.perColumn *= 2
	for row := range m.rows() {
		var sum [maxColumns]int64
		for column := range maxColumns / 2 {
			sum[column] = m.count[row][2*column] + m.count[row][2*column+1]
		}
		m.count[row] = sum
	}
}

// rows returns how many rows have blocks.
func (m *Map) rows() int { return int((max(1, m.blocks)-1)/m.perRow) + 1 }

// columns returns how many columns have transactions.
func (m *Map) columns() int { return int((m.end-m.begin)/m.perColumn) + 1 }

// most returns the largest count.
func (m *Map) most() (most int64) {
	for row := range m.count {
		for _, n := range m.count[row] {
			most = max(most, n)
		}
	}
	return most
}

// timeOf returns when a column begins.
func (m *Map) timeOf(column int) time.Time {
	return time.UnixMicro(m.begin + int64(column)*m.perColumn).UTC()
}
