package demo

import (
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
	data := make([]byte, blkSize)
	for off := 0; off < len(data); off += elemSize {
		binary.LittleEndian.PutUint64(data[off:], uint64(value))
	}
	return data
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
		seen[blk] = int64(binary.LittleEndian.Uint64(block))
		for off := 0; off < blkSize; off += elemSize {
			if got := int64(binary.LittleEndian.Uint64(block[off:])); got != want {
				return seen, &WrongError{Where: where, Block: blk, Element: off / elemSize, Got: got, Want: want}
			}
		}
	}
	return seen, nil
}
