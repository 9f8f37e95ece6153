package demostorage_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// TestManyObjectsAreAQuestionToEachPart, and one more to the delta, of which objects that it
// does not have were never in it.
func TestManyObjectsAreAQuestionToEachPart(t *testing.T) {
	r := newRig(t)
	r.delta.Commit(3, map[zodb.Oid][]byte{2: []byte("new"), 3: []byte("newer")})
	r.delta.Commit(4, map[zodb.Oid][]byte{1: nil})
	_, ok := storage.Many(r.Storage)
	require.False(t, ok, "no part can do that")
	r.base.AnswerMany(true)
	r.delta.AnswerMany(true)
	many, ok := storage.Many(r.Storage)
	require.True(t, ok)

	inBase, inDelta := r.base.Questions(), r.delta.Questions()
	all := many.LoadMany(t.Context(), []zodb.Xid{{At: 4, Oid: 1}, {At: 3, Oid: 1}, {At: 4, Oid: 2}, {At: 2, Oid: 2}, {At: 4, Oid: 3}, {At: 4, Oid: 9}, {At: 1, Oid: 2}, {At: 3, Oid: 9}})
	require.EqualValues(t, 1, r.base.Questions()-inBase)
	require.EqualValues(t, 2, r.delta.Questions()-inDelta)
	for i, want := range []string{"one of 4", "one of 1", "new of 3", "two of 2", "newer of 3", "", "", ""} {
		if want == "" {
			require.True(t, storage.IsNoData(all[i].Err), "%d: %v", i, all[i].Err)
			continue
		}
		require.NoError(t, all[i].Err)
		require.Equal(t, want, string(all[i].Buf.Data)+" of "+string('0'+rune(all[i].Serial)))
	}
}

// TestOnePartIsEnoughToLoadMany with few questions to that one.
func TestOnePartIsEnoughToLoadMany(t *testing.T) {
	r := newRig(t)
	r.base.AnswerMany(true)
	_, ok := storage.Many(r.Storage)
	require.True(t, ok)
	before := r.base.Questions()
	for i, got := range storage.LoadMany(t.Context(), r.Storage, []zodb.Xid{{At: 1, Oid: 1}, {At: 2, Oid: 2}}) {
		require.NoError(t, got.Err)
		require.Equal(t, []string{"one", "two"}[i], string(got.Buf.Data))
	}
	require.EqualValues(t, 1, r.base.Questions()-before)
}
