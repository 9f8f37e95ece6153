package client

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestArraysAreWhatTheServerSays: nothing is believed that is not whole.
func TestArraysAreWhatTheServerSays(t *testing.T) {
	t.Parallel()
	const said = `{"name": ["a"], "oid": "0000000000000005", "npy": true, "dtype": [["t","<f8"]], "shape": [3,700],
		"order": "C", "strides": [5600,8], "itemsize": 8, "nbytes": 16800, "revision": "040d232b6a80dc33",
		"file": "0000000000000008", "later": {"more": 1}}`
	a, err := decodeArray([]byte(said))
	require.NoError(t, err)
	require.Equal(t, &Array{Oid: 5, File: 8, DType: []byte(`[["t","<f8"]]`), Shape: []int64{3, 700}, Order: "C",
		Strides: []int64{5600, 8}, ItemSize: 8, Bytes: 16800, Revision: 0x040d232b6a80dc33}, a)
	_, err = decodeArray([]byte(`{"npy": false, "reason": "it is a file"}`))
	require.ErrorIs(t, err, ErrNoArray)
	require.ErrorContains(t, err, "it is a file")
	for _, bad := range []string{"", "{", `{"npy": true}`, `{"npy": true, "oid": "5", "file": "0000000000000008", "revision": "040d232b6a80dc33"}`} {
		_, err = decodeArray([]byte(bad))
		require.ErrorIs(t, err, ErrProtocol, bad)
	}
}
