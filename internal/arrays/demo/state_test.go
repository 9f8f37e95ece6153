package demo

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// array returns the array as a state says it is.
func array(s state) []byte {
	var data []byte
	for _, value := range s {
		data = append(data, content(value)...)
	}
	return data
}

// TestEveryCommitChangesWhatItSays: a commit changes the blocks that it names,
// to its number, and nothing else.
func TestEveryCommitChangesWhatItSays(t *testing.T) {
	s := firstState()
	for commit := int64(2); commit <= MaxCommits+1; commit++ {
		next := s.after(commit)
		changed := changedBy(commit)
		require.NotEmpty(t, changed)
		for blk := range s {
			if slices.Contains(changed, int64(blk)) {
				require.Equal(t, commit, next[blk])
			} else {
				require.Equal(t, s[blk], next[blk])
			}
		}
		s = next
	}
}

// TestEveryWrongElementIsFound, wherever it is, and named.
func TestEveryWrongElementIsFound(t *testing.T) {
	want := firstState().after(2).after(3)
	data := array(want)
	seen, err := want.check("head/", data)
	require.NoError(t, err)
	require.Equal(t, want, seen)
	for _, at := range []struct{ blk, element int }{{0, 0}, {0, blkSize/elemSize - 1}, {3, 12345}, {nblk - 1, blkSize/elemSize - 1}} {
		for b := range elemSize {
			off := at.blk*blkSize + at.element*elemSize + b
			data[off] ^= 0x80
			_, err := want.check("head/", data)
			data[off] ^= 0x80
			var wrong *WrongError
			require.ErrorAs(t, err, &wrong)
			require.Equal(t, at.blk, wrong.Block)
			require.Equal(t, at.element, wrong.Element)
			require.Equal(t, want[at.blk], wrong.Want)
			require.NotEqual(t, wrong.Want, wrong.Got)
			require.ErrorContains(t, err, "BUG: head/ shows ")
		}
	}
	_, err = want.check("head/", data[:len(data)-1])
	require.ErrorContains(t, err, "has 12582911 bytes, but must have 12582912")
}
