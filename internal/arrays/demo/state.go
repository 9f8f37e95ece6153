package demo

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// The array: int64, of blocks of the size that wendelin.core uses.
const (
	nblk     = 6
	blkSize  = 2 << 20 // bytes
	elemSize = 8       // bytes
	nelem    = nblk * blkSize / elemSize
)

// state is what the array shows: all elements of a block have the number of
// the commit that changed the block last. Commits are counted from 1.
type state [nblk]int64

// firstState is the state after commit 1, which makes the array.
func firstState() (s state) {
	for blk := range s {
		s[blk] = 1
	}
	return s
}

// changes says which blocks the commits after the first change, round and round.
var changes = [...][]int64{{3}, {0}, {4}, {1, 5}, {3}, {2}, {0, 4}, {5}}

// changedBy returns the blocks that a commit after the first changes.
func changedBy(commit int64) []int64 { return changes[(commit-2)%int64(len(changes))] }

// after returns the state after that commit.
func (s state) after(commit int64) state {
	for _, blk := range changedBy(commit) {
		s[blk] = commit
	}
	return s
}

// content returns a block whose elements all are value.
func content(value int64) []byte {
	element := binary.LittleEndian.AppendUint64(nil, uint64(value))
	return bytes.Repeat(element, blkSize/elemSize)
}

// check requires that all of data, the array as it was seen at some place, is as
// s says, and returns the first element of each block, as people are shown it.
// The error is a *WrongError.
func (s state) check(where string, data []byte) (seen state, err error) {
	if len(data) != nblk*blkSize {
		return seen, fmt.Errorf("%s has %d bytes, but must have %d", where, len(data), nblk*blkSize)
	}
	for blk, want := range s {
		block := data[blk*blkSize:][:blkSize]
		seen[blk] = element(block, 0)
		if bytes.Equal(block, content(want)) {
			continue
		}
		i := 0
		for element(block, i) == want {
			i++
		}
		return seen, &WrongError{Where: where, Block: blk, Element: i, Got: element(block, i), Want: want}
	}
	return seen, nil
}

// element returns the element i of a block.
func element(block []byte, i int) int64 {
	return int64(binary.LittleEndian.Uint64(block[i*elemSize:]))
}
