package remote

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// batch is a session that loads many objects with one question.
type batch struct {
	*session
	asked func(n int)                           // of each question, nil: nothing
	spoil func(s *session, i int) error         // of each answer, nil: nothing
	forge func(i int, got *storage.Loaded)      // of each answer, nil: nothing
	wait  func(ctx context.Context) (err error) // before the answers, nil: not
}

func (b *batch) LoadMany(ctx context.Context, xids []zodb.Xid) []storage.Loaded {
	if b.asked != nil {
		b.asked(len(xids))
	}
	err := b.answer(ctx, "load")
	if err == nil && b.wait != nil {
		err = b.wait(ctx)
	}
	all := make([]storage.Loaded, len(xids))
	for i, xid := range xids {
		got := &all[i]
		if got.Err = err; err == nil && b.spoil != nil {
			got.Err = b.spoil(b.session, i)
		}
		if got.Err == nil {
			got.Buf, got.Serial, got.Err = b.session.Load(ctx, xid)
		}
		if b.forge != nil {
			b.forge(i, got)
		}
	}
	return all
}

// batches makes sessions of the rig be like b, and returns the sizes of questions.
func (r *rig) batches(b batch) *[]int {
	var asked []int
	r.sv.wrap = func(s *session) Session {
		b := b
		b.session, b.asked = s, func(n int) { asked = append(asked, n) }
		return &b
	}
	return &asked
}

// xids returns objects as of views, given in pairs.
func xids(pairs ...uint64) (all []zodb.Xid) {
	for i := 0; i < len(pairs); i += 2 {
		all = append(all, zodb.Xid{Oid: zodb.Oid(pairs[i]), At: zodb.Tid(pairs[i+1])})
	}
	return all
}

// wantMany requires the serials of objects 1 @20, 2 @20 and 2 @10.
func (r *rig) wantMany() {
	r.Helper()
	want := []zodb.Tid{10, 20, 10}
	for i, got := range r.s.LoadMany(r.Context(), xids(1, 20, 2, 20, 2, 10)) {
		require.NoError(r, got.Err)
		require.Equal(r, want[i], got.Serial)
		got.Buf.Release()
	}
}

func TestManyObjectsAreOneQuestionIfSessionsCan(t *testing.T) {
	inBubble(t, func(r *rig) {
		asked := r.batches(batch{})
		r.open()
		_, ok := storage.Many(r.s)
		require.True(t, ok)
		r.wantMany()
		require.Empty(t, r.s.LoadMany(r.Context(), nil))
		require.Equal(t, []int{3}, *asked)
	})
	inBubble(t, func(r *rig) {
		r.open()
		_, ok := storage.Many(r.s)
		require.False(t, ok)
		r.wantMany()
	})
}

func TestViewBeyondHeadIsRefusedAndOthersAreLoaded(t *testing.T) {
	inBubble(t, func(r *rig) {
		asked := r.batches(batch{})
		r.open()
		all := r.s.LoadMany(r.Context(), xids(1, 21, 1, 20, 7, 20, 1, uint64(zodb.InvalidTid)))
		for _, i := range []int{0, 3} {
			var future *storage.FutureViewError
			require.ErrorAs(t, all[i].Err, &future)
			require.Equal(t, zodb.Tid(20), future.Head)
		}
		require.Equal(t, zodb.Tid(10), all[1].Serial)
		require.True(t, storage.IsNoData(all[2].Err))
		r.leave()
		require.Error(t, r.s.LoadMany(r.Context(), xids(1, 21))[0].Err, "it does not wait")
		require.Equal(t, []int{2}, *asked)
	})
}

// TestWhatHadNoAnswerIsAskedAgain, and nothing else, on the next session.
func TestWhatHadNoAnswerIsAskedAgain(t *testing.T) {
	inBubble(t, func(r *rig) {
		asked := r.batches(batch{spoil: func(s *session, i int) error {
			if i == 1 && r.sv.sessionsEver() < 3 {
				s.fail(errReset)
				return errReset
			}
			return s.Err()
		}})
		r.open()
		for i, got := range r.s.LoadMany(r.Context(), xids(1, 20, 2, 20, 2, 10, 1, 10)) {
			require.NoError(t, got.Err)
			require.Equal(t, []zodb.Tid{10, 20, 10, 10}[i], got.Serial)
		}
		require.Equal(t, []int{4, 3, 2}, *asked, "each of two sessions has answered one")
	})
}

// TestErrorOfAnObjectIsItsAnswer while the session lives.
func TestErrorOfAnObjectIsItsAnswer(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.batches(batch{spoil: func(_ *session, i int) error {
			if i == 1 {
				return errors.New("a disk is broken")
			}
			return nil
		}})
		r.open()
		all := r.s.LoadMany(r.Context(), xids(1, 20, 2, 20, 2, 10))
		require.NoError(t, all[0].Err)
		require.ErrorContains(t, all[1].Err, "fake://db: load")
		require.ErrorContains(t, all[1].Err, "a disk is broken")
		require.NoError(t, all[2].Err)
		require.Equal(t, 1, r.sv.sessionsEver())
	})
}

func TestLoadManyWaitsForTheServerForTheTimeout(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.batches(batch{})
		r.open()
		r.leave()
		began := time.Now()
		for _, got := range r.s.LoadMany(r.Context(), xids(1, 20, 2, 20)) {
			require.Equal(t, errRefused, r.wantAway(got.Err).Err)
		}
		require.Equal(t, timeout, time.Since(began))
		var g sync.WaitGroup
		g.Go(r.wantMany)
		synctest.Wait()
		r.comeBack()
		g.Wait()
	})
}

func TestServerThatDoesNotAnswerManyIsNotWaitedForWithoutEnd(t *testing.T) {
	inBubble(t, func(r *rig) {
		late := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		r.sv.wrap = func(s *session) Session { return &batch{session: s, wait: late} }
		r.open()
		began := time.Now()
		for _, got := range r.s.LoadMany(r.Context(), xids(1, 20, 2, 20)) {
			r.wantAway(got.Err)
		}
		require.Equal(t, timeout, time.Since(began))
		ctx, cancel := context.WithTimeout(r.Context(), time.Second)
		defer cancel()
		for _, got := range r.s.LoadMany(ctx, xids(1, 20, 2, 20)) {
			require.Equal(t, context.DeadlineExceeded, got.Err)
		}
		require.True(t, r.s.Reach().Up)
	})
}

func TestQuestionThatEndsEverySessionFails(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.batches(batch{spoil: func(s *session, _ int) error { s.fail(errReset); return errReset }})
		r.open()
		for _, got := range r.s.LoadMany(r.Context(), xids(1, 20, 2, 20)) {
			r.wantAway(got.Err)
		}
		require.Equal(t, maxLost, r.sv.sessionsEver())
	})
}

func TestEachAnswerThatCannotBeIsDamage(t *testing.T) {
	for _, a := range []answer{{data: "", serial: 10}, {data: "x", serial: 0}, {data: "x", serial: 21}} {
		inBubble(t, func(r *rig) {
			r.batches(batch{forge: func(i int, got *storage.Loaded) {
				if i == 1 {
					got.Buf, got.Serial, _ = a.Load(r.Context(), zodb.Xid{})
				}
			}})
			r.open()
			all := r.s.LoadMany(r.Context(), xids(1, 20, 2, 20, 2, 10))
			var corrupt *storage.CorruptError
			require.ErrorAs(t, all[1].Err, &corrupt)
			require.Equal(t, zodb.Oid(2), corrupt.Oid)
			require.Nil(t, all[1].Buf)
			require.NoError(t, errors.Join(all[0].Err, all[2].Err))
		})
	}
}

// TestWhatWasLoadedByManyIsRemembered, so that another database at the same address is found
// out.
func TestWhatWasLoadedByManyIsRemembered(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.batches(batch{})
		r.open()
		r.wantMany()
		var seen []string
		for _, s := range r.s.seen.all() {
			seen = append(seen, fmt.Sprintf("%d @%d of %d", uint64(s.xid.Oid), uint64(s.xid.At), uint64(s.serial)))
		}
		require.ElementsMatch(t, []string{"1 @20 of 10", "2 @20 of 20"}, seen)
	})
}
