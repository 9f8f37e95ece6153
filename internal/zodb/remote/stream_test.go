package remote

import (
	"context"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/internal/zodb/storage/storagetest"
)

func TestOpenFailsAsDialDoes(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.refuse(errRefused)
		if _, _, err := Open(r.Context(), Config{Dial: r.sv.dial}); err != errRefused {
			t.Fatal(err)
		}
	})
}

func TestWhatIsToldBeforeOpenEndsIsToldOnce(t *testing.T) {
	inBubble(t, func(r *rig) {
		set(&r.sv.greeted, func(c Commits) {
			c(10, []zodb.Oid{1, 2}) // up to at0
			c(20, []zodb.Oid{2})
			c(30, []zodb.Oid{3, 1, 3})
		})
		r.open()
		r.wantEvents("30:[1 3]")
		r.sv.commit(31, 7)
		r.wantEvents("31:[7]")
	})
}

func TestEmptyListsAreCompletedInOrder(t *testing.T) {
	inBubble(t, func(r *rig) {
		set(&r.sv.listed, func(oids []zodb.Oid) []zodb.Oid {
			if len(oids) == 2 {
				return nil
			}
			return oids
		})
		r.open()
		answer := make(chan struct{})
		set(&r.sv.calling, func(_ *session, op string) error {
			if op == "transactions" {
				<-answer
			}
			return nil
		})
		r.sv.delete(30, 1, 2)
		r.sv.commit(31, 3)
		r.wantEvents()
		if r.s.Head() != 20 {
			t.Fatalf("head %s before it is known what was changed", r.s.Head())
		}
		r.mustLoad(20, 2, 20) // loads do not wait for it
		close(answer)
		r.wantEvents("30:[1 2]", "31:[3]")
		r.sv.commitTxn(storagetest.Txn{Tid: 32})
		r.wantEvents("32:[]")
	})
}

func TestMissedTransactionsComeBeforeWhatTheNextSessionTells(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.open()
		r.sv.commit(30, 1)
		r.leave()
		r.sv.commit(31, 1, 4)
		r.sv.delete(32, 1)
		set(&r.sv.greeted, func(c Commits) {
			c(32, nil) // as a session may
			r.sv.commit(33, 5)
		})
		r.comeBack()
		set(&r.sv.greeted, nil)
		r.sv.commit(34, 6)
		r.wantEvents("30:[1]", "31:[1 4]", "32:[1]", "33:[5]", "34:[6]")
	})
}

// TestMissedTransactionsComeTogether says that who is told of a state of the database
// that passed during an outage is told so, and need not wait for the next one.
func TestMissedTransactionsComeTogether(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.open()
		r.leave()
		const missed = 2*maxGroup + 1
		for i := range missed {
			r.sv.commit(zodb.Tid(30+i), 1)
		}
		r.comeBack()
		r.sv.commit(30+missed, 1)
		synctest.Wait()
		for i := range missed + 1 {
			ev, err := r.s.NextEvent(r.Context())
			if err != nil || ev.Tid != zodb.Tid(30+i) {
				r.Fatalf("event %v, %v; want @%d", ev, err, 30+i)
			}
			if last := i%maxGroup == maxGroup-1 || i >= missed-1; ev.More == last {
				r.Fatalf("event %d of %d: More is %t", i, missed, ev.More)
			}
		}
	})
}

func TestOutageIsToldByReachAndTwoLines(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.open()
		if reach := r.s.Reach(); !reach.Up {
			t.Fatalf("reach %v after opening", reach)
		}
		time.Sleep(time.Hour)
		left := time.Now()
		r.leave()
		time.Sleep(10 * time.Second)
		if reach := r.s.Reach(); reach.Up || !reach.Since.Equal(left) || reach.Err != errRefused {
			t.Fatalf("reach %v while away", reach)
		}
		if head := r.s.Head(); head != 20 {
			t.Fatalf("head %s while away", head)
		}
		r.sv.commit(30, 1)
		r.sv.commit(31, 1)
		r.comeBack()
		if reach := r.s.Reach(); !reflect.DeepEqual(reach, storage.Reach{Up: true, Reconnects: 1}) {
			t.Fatalf("reach %v when it is back", reach)
		}
		if len(r.log) != 2 || !strings.Contains(r.log[0], errReset.Error()) || !strings.Contains(r.log[1], "2 transactions") {
			t.Fatalf("log %q", r.log)
		}
	})
}

func TestReconnectIsAtOnceThenEachSecondForEver(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.open()
		time.Sleep(time.Minute)
		r.leave()
		if n := len(r.sv.dialTimes()); n != 2 {
			t.Fatalf("%d attempts when the session has just ended; want 2", n)
		}
		time.Sleep(time.Hour)
		if n := len(r.sv.dialTimes()); n < 3600*3/4 || n > 3600*3/2 {
			t.Fatalf("%d attempts in an hour", n)
		}
		// A server that hangs up on everybody is not asked all the time either.
		r.refuse(nil)
		set(&r.sv.calling, func(s *session, _ string) error { s.fail(errReset); return nil })
		before := len(r.sv.dialTimes())
		time.Sleep(time.Minute)
		if n := len(r.sv.dialTimes()) - before; n > 90 {
			t.Fatalf("%d attempts in a minute", n)
		}
		set(&r.sv.calling, nil)
		r.comeBack()
		r.mustLoad(20, 1, 10)
	})
}

func TestServerThatSaysNothingToConnectionsIsTriedAgain(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.open()
		set(&r.sv.dialing, func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
		r.sv.breakAll(errReset)
		time.Sleep(10 * timeout)
		r.refuse(nil)
		time.Sleep(timeout + 2*redialEvery)
		if !r.s.Reach().Up {
			t.Fatal("does not connect again")
		}
	})
}

func TestSessionThatBreaksTheOrderIsClosed(t *testing.T) {
	for _, tid := range []zodb.Tid{30, 29, 5, 0, zodb.InvalidTid} {
		inBubble(t, func(r *rig) {
			r.open()
			time.Sleep(time.Minute)
			r.sv.commit(30, 1)
			synctest.Wait()
			c := r.conn()
			c.commits(tid, []zodb.Oid{9})
			synctest.Wait()
			if c.session.Err() == nil || r.sv.sessionsEver() != 2 || !strings.Contains(r.log[0], "told of transaction") {
				t.Fatalf("%d sessions, log %q", r.sv.sessionsEver(), r.log)
			}
			r.sv.commit(31, 1)
			r.wantEvents("30:[1]", "31:[1]")
		})
	}
}

func TestLateCommitOfAnOldSessionDoesNothing(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.open()
		old := r.conn()
		r.leave()
		r.comeBack()
		old.commits(30, []zodb.Oid{1})
		if r.wantEvents(); len(old.waiting) != 0 {
			t.Fatal("it was kept")
		}
		r.sv.commit(30, 2)
		r.wantEvents("30:[2]")
	})
}
