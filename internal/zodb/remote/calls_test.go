package remote

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/storage"
)

func TestCallsWaitForTheServerForTheTimeout(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.open()
		left := time.Now()
		r.leave()
		time.Sleep(timeout / 2)
		for _, call := range []func() error{
			func() error { _, err := r.load(20, 1); return err },
			func() error { _, err := r.s.Sync(r.Context()); return err },
			func() error { return r.s.Iterate(r.Context(), 0, 20, func(*storage.Txn) error { return nil }) },
		} {
			began := time.Now()
			away := r.wantAway(call())
			if took := time.Since(began); took != timeout {
				t.Errorf("waited %s; want %s", took, timeout)
			}
			if !away.Since.Equal(left) || away.Err != errRefused || !strings.Contains(away.Error(), errRefused.Error()) {
				t.Errorf("error %q", away)
			}
		}
		ctx, cancel := context.WithTimeout(r.Context(), time.Second)
		defer cancel()
		if _, _, err := r.s.Load(ctx, zodb.Xid{At: 20, Oid: 1}); err != context.DeadlineExceeded {
			t.Errorf("load with a context that ends: %v", err)
		}
		var g sync.WaitGroup
		g.Go(func() { r.mustLoad(20, 1, 10) })
		g.Go(func() {
			if head, err := r.s.Sync(r.Context()); err != nil || head != 30 {
				t.Errorf("sync: %s, %v", head, err)
			}
		})
		synctest.Wait()
		r.sv.commit(30, 1)
		r.comeBack()
		g.Wait()
	})
}

func TestCallsUnderWayAreRepeatedAndTheirTimeBeginsAnew(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.open()
		set(&r.sv.calling, func(s *session, _ string) error { <-s.done; return errReset })
		var g sync.WaitGroup
		g.Go(func() { r.mustLoad(20, 1, 10) })
		g.Go(func() {
			if head, err := r.s.Sync(r.Context()); err != nil || head != 20 {
				t.Errorf("sync: %s, %v", head, err)
			}
		})
		var got []zodb.Tid
		g.Go(func() {
			err := r.s.Iterate(r.Context(), 0, 20, func(t *storage.Txn) error { got = append(got, t.Tid); return nil })
			if err != nil {
				t.Errorf("iterate: %v", err)
			}
		})
		time.Sleep(timeout * 3 / 4)
		set(&r.sv.calling, nil)
		r.leave()
		time.Sleep(timeout * 3 / 4)
		r.comeBack()
		g.Wait()
		if fmt.Sprint(got) != fmt.Sprint([]zodb.Tid{10, 20}) {
			t.Errorf("iterate: %v", got)
		}
	})
}

func TestIterateGoesOnWhereTheSessionEnded(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.sv.commit(30, 1)
		r.open()
		var got []zodb.Tid
		err := r.s.Iterate(r.Context(), 0, zodb.TidMax, func(t *storage.Txn) error {
			got = append(got, t.Tid)
			if len(got) < 4 {
				r.sv.breakAll(errReset) // after the last one, too
			}
			return nil
		})
		if err != nil || fmt.Sprint(got) != fmt.Sprint([]zodb.Tid{10, 20, 30}) {
			t.Fatalf("%v, %v", got, err)
		}
	})
}

func TestCallThatEndsEverySessionFails(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.open()
		set(&r.sv.calling, func(s *session, op string) error {
			if op == "load" {
				s.fail(errReset)
			}
			return nil
		})
		_, err := r.load(20, 1)
		if away := r.wantAway(err); !strings.Contains(away.Error(), errReset.Error()) {
			t.Fatal(err)
		}
		if r.sv.sessionsEver() != maxLost {
			t.Fatalf("%d sessions", r.sv.sessionsEver())
		}
	})
}

func TestServerThatDoesNotAnswerIsNotWaitedForWithoutEnd(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.sv.wrap = func(s *session) Session { return silent{s} }
		r.open()
		began := time.Now()
		_, err := r.load(20, 1)
		r.wantAway(err)
		_, err = r.s.Sync(r.Context())
		r.wantAway(err)
		if took := time.Since(began); took != 2*timeout {
			t.Fatalf("waited %s", took)
		}
		if !r.s.Reach().Up || len(r.sv.dialTimes()) != 1 {
			t.Fatal("the session was given up, which may answer later")
		}
	})
}

// silent is a session that gives no answers.
type silent struct{ *session }

func (silent) Load(ctx context.Context, _ zodb.Xid) (*storage.Buf, zodb.Tid, error) {
	<-ctx.Done()
	return nil, 0, ctx.Err()
}

func (silent) Last(ctx context.Context) (zodb.Tid, error) {
	<-ctx.Done()
	return 0, ctx.Err()
}

func TestSyncWaitsForWhatTheReplyHasOvertaken(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.open()
		c := r.conn()
		r.sv.forge(30) // committed, and not yet told
		var head zodb.Tid
		var err error
		var g sync.WaitGroup
		g.Go(func() { head, err = r.s.Sync(r.Context()) })
		time.Sleep(timeout / 2)
		c.commits(25, []zodb.Oid{1}) // it may take long if something happens
		time.Sleep(timeout * 3 / 4)
		c.commits(30, []zodb.Oid{2})
		g.Wait()
		if head != 30 || err != nil || r.s.queue.Len() != 2 {
			t.Fatalf("sync: %s, %v, %d events", head, err, r.s.queue.Len())
		}
	})
}

func TestSyncIsOverAtOnceWhenTheServerSaysLessThanHead(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.open()
		r.sv.forge(10)
		began := time.Now()
		if head, err := r.s.Sync(r.Context()); head != 20 || err != nil || time.Since(began) != 0 {
			t.Fatalf("sync: %s, %v", head, err)
		}
	})
}

func TestSessionThatKeepsACommitToItselfIsReplaced(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.open()
		r.sv.mu.Lock()
		live := r.sv.sessions
		r.sv.sessions = nil // nobody tells them any more
		r.sv.mu.Unlock()
		r.sv.commit(30, 1)
		if head, err := r.s.Sync(r.Context()); head != 30 || err != nil {
			t.Fatalf("sync: %s, %v", head, err)
		}
		r.wantEvents("30:[1]")
		if live[0].Err() == nil {
			t.Fatal("the session lives")
		}
	})
}

// A server may crash before it has written what it told by lastTransaction.
func TestSyncForgetsWhatTheServerHasLost(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.open()
		r.sv.forge(30)
		var g sync.WaitGroup
		g.Go(func() {
			if head, err := r.s.Sync(r.Context()); head != 20 || err != nil {
				t.Errorf("sync: %s, %v", head, err)
			}
		})
		synctest.Wait()
		r.sv.forge(20)
		r.sv.breakAll(errReset)
		g.Wait()
	})
}

func TestViewBeyondHeadIsRefusedAtOnce(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.open()
		r.leave()
		for _, at := range []zodb.Tid{21, zodb.TidMax, zodb.InvalidTid} {
			var future *storage.FutureViewError
			if _, err := r.load(at, 1); !errors.As(err, &future) {
				t.Fatalf("load @%s: %v", at, err)
			}
		}
	})
}

func TestAnswerThatCannotBeIsDamage(t *testing.T) {
	for _, a := range []answer{{data: "", serial: 10}, {data: "x", serial: 0}, {data: "x", serial: 21}} {
		inBubble(t, func(r *rig) {
			r.sv.wrap = func(s *session) Session { a.session = s; return &a }
			r.open()
			var corrupt *storage.CorruptError
			if _, err := r.load(20, 1); !errors.As(err, &corrupt) || corrupt.Oid != 1 {
				t.Fatalf("load: %v", err)
			}
		})
	}
}

// answer is a session that answers all loads alike.
type answer struct {
	*session
	data   string
	serial zodb.Tid
}

func (a *answer) Load(context.Context, zodb.Xid) (*storage.Buf, zodb.Tid, error) {
	buf := storage.NewBuf(len(a.data))
	copy(buf.Data, a.data)
	return buf, a.serial, nil
}
