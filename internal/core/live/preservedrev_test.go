package live

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/core/versions"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// stuck never tells a revision.
type stuck struct{}

func (stuck) BlkRevAt(ctx context.Context, _ int64, _ zodb.Tid) (versions.Rev, error) {
	<-ctx.Done()
	return versions.Rev{}, ctx.Err()
}

// TestRevisionIsNotWaitedForForLong: a READ goes to the database then. One that
// gives up on its own leaves it to others.
func TestRevisionIsNotWaitedForForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPreserved(1000)
		p.add(&Old{Oid: 1, Blk: 1, From: 8, Until: 9, buf: storage.NewBuf(1), owner: stuck{}})
		canceled, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, p.Settle(canceled, 1, 3), context.Canceled)
		require.Equal(t, 1, p.unsettled.Len())
		start := time.Now()
		require.Nil(t, p.Block(t.Context(), 1, 1, 5))
		require.Equal(t, settleWait, time.Since(start))
		require.Nil(t, p.Block(t.Context(), 1, 1, 5))
		require.Equal(t, settleWait, time.Since(start), "it is tried once")
		buf := p.Block(t.Context(), 1, 1, 8)
		require.NotNil(t, buf, "what is known of it still holds")
		buf.Release()
	})
}

// slow tells the revision after what was to happen meanwhile.
type slow struct{ meanwhile func() }

func (s slow) BlkRevAt(context.Context, int64, zodb.Tid) (versions.Rev, error) {
	s.meanwhile()
	return versions.Rev{Tid: 3, Exact: true}, nil
}

// TestContentDroppedWhileItsRevisionIsLookedUp is not there any more, in any index.
func TestContentDroppedWhileItsRevisionIsLookedUp(t *testing.T) {
	p := newPreserved(1000)
	drop := slow{func() { p.expire(zodb.InvalidTid, 0, 10) }}
	p.add(&Old{Oid: 1, Blk: 1, From: 8, Until: 9, buf: storage.NewBuf(1), owner: drop})
	require.Nil(t, p.Block(t.Context(), 1, 1, 5))
	p.add(&Old{Oid: 1, Blk: 1, From: 8, Until: 9, buf: storage.NewBuf(1), owner: drop})
	require.NoError(t, p.Settle(t.Context(), 1, 3))
	require.Zero(t, p.byBlk.Len()+p.byRev.Len()+p.unsettled.Len()+p.news.Len())
}

// TestRevisionThatTwoLookUpIsEnteredOnce: what came up in between is found, too.
func TestRevisionThatTwoLookUpIsEnteredOnce(t *testing.T) {
	p := newPreserved(1000)
	asked := 0
	p.add(&Old{Oid: 1, Blk: 1, From: 8, Until: 9, buf: storage.NewBuf(1), owner: slow{func() {
		if asked++; asked == 1 {
			require.NoError(t, p.Settle(t.Context(), 1, 3))
			p.add(&Old{Oid: 1, Blk: 2, From: 3, Until: 9, settled: true, buf: storage.NewBuf(1)})
		}
	}}})
	require.NoError(t, p.Settle(t.Context(), 1, 3))
	require.Equal(t, 2, asked)
	blk, _, seq := p.Next(1, 3, 0)
	require.EqualValues(t, 1, blk)
	blk, buf, _ := p.Next(1, 3, seq)
	require.NotNil(t, buf)
	require.EqualValues(t, 2, blk)
}
