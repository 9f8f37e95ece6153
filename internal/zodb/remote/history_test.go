package remote

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/internal/zodb/storage/storagetest"
)

// history returns a database with the transactions of the rig and others.
func history(more ...storagetest.Txn) *storagetest.Model {
	db := storagetest.NewModel()
	db.Commit(writes(10, 1, 2))
	db.Commit(writes(20, 2))
	for _, t := range more {
		db.Commit(t)
	}
	return db
}

// A FileStorage that was killed while it wrote a transaction names that one as its last,
// until it is opened the next time, though it has cut it off.
func TestTransactionsThatChangedNothingMayBeLost(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.open()
		r.sv.replace(history(), 30)
		r.comeBack()
		r.wantEvents("30:[]")
		r.sv.replace(history(), 20)
		r.comeBack()
		if reach, head := r.s.Reach(), r.s.Head(); !reach.Up || head != 30 {
			r.Fatalf("head %s, %+v", head, reach)
		}
		r.sv.commit(40, 1)
		synctest.Wait()
		r.wantEvents("40:[1]")
	})
}

// Nothing may take the place of what was lost: that view was served.
func TestNothingTakesThePlaceOfWhatWasLost(t *testing.T) {
	for name, commit := range map[string]func(r *rig){
		"meanwhile": func(r *rig) { r.sv.replace(history(writes(25, 1)), 25); r.comeBack() },
		"and more":  func(r *rig) { r.sv.replace(history(writes(25, 1), writes(40, 2)), 40); r.comeBack() },
		"later": func(r *rig) {
			r.sv.replace(history(), 20)
			r.comeBack()
			r.sv.commit(25, 1)
			synctest.Wait()
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(r *rig) {
				r.open()
				r.sv.replace(history(), 30)
				r.comeBack()
				r.wantEvents("30:[]")
				commit(r)
				if why := wantDown[*storage.AnotherDatabaseError](r); why.Head != 30 {
					r.Errorf("%+v", why)
				}
			})
		})
	}
}

func TestDatabaseThatWentBackIsRefused(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.open()
		r.sv.commit(30, 1)
		synctest.Wait()
		r.sv.replace(history(), 20)
		r.comeBack()
		r.wantEvents("30:[1]")
		if why := wantDown[*storage.WentBackError](r); why.Head != 30 || why.Last != 20 {
			t.Fatal(why)
		}
		if head := r.s.Head(); head != 30 {
			t.Fatalf("head %s", head)
		}
		before := len(r.sv.dialTimes())
		time.Sleep(time.Hour)
		if n := len(r.sv.dialTimes()); n != before {
			t.Fatal("it still connects")
		}
	})
}

func TestAnotherDatabaseIsRefused(t *testing.T) {
	other := storagetest.NewModel()
	other.Commit(writes(11, 1, 2))
	other.Commit(writes(40, 1))
	for name, tt := range map[string]struct {
		db  *storagetest.Model
		use func(r *rig)
	}{
		"with other records":        {other, func(r *rig) { r.mustLoad(20, 1, 10); r.mustLoad(20, 2, 20) }},
		"without any record":        {empty(40), func(r *rig) { r.mustLoad(20, 1, 10) }},
		"nothing was read":          {other, func(r *rig) {}},
		"copy from before a change": {history(writes(40, 2)), func(r *rig) { r.mustLoad(20, 1, 10); r.sv.commit(30, 1) }},
		"copy from before a load":   {history(writes(40, 2)), func(r *rig) { r.sv.commit(30, 2); synctest.Wait(); r.mustLoad(30, 2, 30); r.mustLoad(30, 1, 10) }},
		"copy from before a change long ago": {history(writes(90, 2)), func(r *rig) {
			r.sv.commit(30, 2)
			for i := range 2 * memorySize {
				r.sv.commit(zodb.Tid(31+i), zodb.Oid(100+i))
			}
			synctest.Wait()
			r.mustLoad(20, 2, 20)
			r.mustLoad(30, 2, 30)
			r.mustLoad(20, 2, 20)
		}},
		"copy from before a new one": {history(writes(29, 7), writes(40, 2)), func(r *rig) { r.sv.commit(30, 7) }},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(r *rig) {
				r.open()
				tt.use(r)
				synctest.Wait()
				head := r.s.Head()
				r.sv.replace(tt.db, tt.db.Head())
				r.comeBack()
				for range r.s.queue.Len() {
					if ev, err := r.s.NextEvent(t.Context()); err != nil || ev.Tid > head {
						t.Fatalf("event %v, %v", ev, err)
					}
				}
				wantDown[*storage.AnotherDatabaseError](r)
			})
		})
	}
}

// empty returns a database with one transaction that changes nothing.
func empty(tid zodb.Tid) *storagetest.Model {
	db := storagetest.NewModel()
	db.Commit(storagetest.Txn{Tid: tid})
	return db
}

func TestPackThatRemovesTheTransactionOfHeadIsGoneOnWith(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.open()
		r.mustLoad(20, 1, 10)
		r.mustLoad(20, 2, 20) // which will be gone
		r.leave()
		r.sv.commit(30, 2)
		r.sv.commit(40, 3)
		r.sv.pack(40)
		r.comeBack()
		r.wantEvents("30:[2]", "40:[3]")
		r.mustLoad(40, 1, 10)
	})
}

func TestDatabaseThatEndsWithHeadNeedsNoProof(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.open()
		set(&r.sv.calling, func(_ *session, op string) error {
			if op == "transactions" {
				return errors.New("cannot iterate")
			}
			return nil
		})
		r.leave()
		r.comeBack()
		r.sv.commit(30, 1)
		r.wantEvents("30:[1]")
	})
}

func TestEmptyDatabaseMayGetItsFirstTransactionsInAnOutage(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.sv = newServer()
		r.open()
		r.leave()
		r.sv.commit(10, 1)
		r.comeBack()
		r.wantEvents("10:[1]")
	})
}

// A pack that removes the last transaction leaves the server with its tid.
func TestLastTransactionThatWasPackedAwayIsAViewAllTheSame(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.open()
		r.leave()
		r.sv.commit(30, 3)
		r.sv.commitTxn(storagetest.Txn{Tid: 40})
		r.sv.pack(40)
		r.comeBack()
		r.wantEvents("30:[3]", "40:[]")
		if head, err := r.s.Sync(r.Context()); head != 40 || err != nil {
			t.Fatalf("sync: %s, %v", head, err)
		}
		r.sv.commit(41, 1)
		r.wantEvents("41:[1]")
	})
}

func TestSessionsThatEndWhileItCatchesUpLoseAndRepeatNothing(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.open()
		r.leave()
		var want []string
		for i := range 10 {
			r.sv.commit(zodb.Tid(30+i), zodb.Oid(i))
			want = append(want, fmt.Sprintf("%d:[%d]", 30+i, i))
		}
		told := 0
		set(&r.sv.calling, func(s *session, op string) error {
			if op == "transaction" {
				if told++; told%3 == 0 {
					s.fail(errReset)
				}
			}
			return nil
		})
		r.refuse(nil)
		time.Sleep(20 * redialEvery)
		r.wantEvents(want...)
		if len(r.log) != 2 || !strings.Contains(r.log[1], "10 transactions") {
			t.Fatalf("log %q", r.log)
		}
	})
}

func TestServerThatCannotTellWhatWasMissedEndsTheStream(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.open()
		refusing(r, maxRefused)
		r.leave()
		r.sv.commit(30, 1)
		r.comeBack()
		time.Sleep(maxRefused * 2 * redialEvery)
		if why := wantDown[*storage.HistoryLostError](r); why.Head != 20 || !strings.Contains(why.Why, "cannot iterate") {
			t.Fatal(why)
		}
	})
}

// A record that cannot be read on the server may be in what was missed only.
func TestDamageInWhatWasMissedEndsTheStream(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.open()
		asked := 0
		set(&r.sv.calling, func(_ *session, op string) error {
			if op == "transactions" {
				asked++ // for head, then for what was missed
			}
			if op == "transactions" && asked%2 == 0 {
				return errors.New("damaged")
			}
			return nil
		})
		r.leave()
		r.sv.commit(30, 1)
		r.comeBack()
		time.Sleep(maxRefused * 2 * redialEvery)
		wantDown[*storage.HistoryLostError](r)
	})
}

// As long as it gets on, it does not give up.
func TestServerThatTellsWhatWasMissedBitByBitIsAskedOn(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.open()
		r.leave()
		var want []string
		for i := range 4 * maxRefused {
			r.sv.commit(zodb.Tid(30+i), 1)
			want = append(want, fmt.Sprintf("%d:[1]", 30+i))
		}
		asked := 0
		set(&r.sv.calling, func(_ *session, op string) error {
			switch op {
			case "transactions":
				asked = 0
			case "transaction":
				if asked++; asked > 1 {
					return errors.New("too much at once")
				}
			}
			return nil
		})
		r.refuse(nil)
		time.Sleep(10 * maxRefused * redialEvery)
		r.wantEvents(want...)
	})
}

func TestServerMayFailOnceToTellWhatWasMissed(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.open()
		for tid := zodb.Tid(30); tid < 60; tid += 10 {
			refusing(r, maxRefused-1)
			r.leave()
			r.sv.commit(tid, 1)
			r.refuse(nil)
			time.Sleep(maxRefused * 2 * redialEvery)
		}
		r.wantEvents("30:[1]", "40:[1]", "50:[1]")
	})
}

// A list that cannot be completed must not be told as it is.
func TestServerThatCannotCompleteAListEndsTheStream(t *testing.T) {
	inBubble(t, func(r *rig) {
		set(&r.sv.listed, func([]zodb.Oid) []zodb.Oid { return nil })
		r.open()
		refusing(r, 100)
		r.sv.delete(30, 1)
		time.Sleep(maxRefused * 2 * redialEvery)
		r.wantEvents()
		wantDown[*storage.HistoryLostError](r)
	})
}

func TestTransactionsThatWereNotAskedForAreNotTold(t *testing.T) {
	for _, tids := range [][]zodb.Tid{{15}, {20}, {31}, {zodb.TidMax}, {25, 25}, {25, 24}} {
		inBubble(t, func(r *rig) {
			r.sv.wrap = func(s *session) Session { return liar{s, tids} }
			r.open()
			r.leave()
			r.sv.commit(30, 1)
			r.comeBack()
			time.Sleep(maxRefused * 2 * redialEvery)
			if tids[0] == 25 {
				r.wantEvents("25:[1]")
			}
			wantDown[*storage.HistoryLostError](r)
		})
	}
}

// liar is a session that has transactions of its own.
type liar struct {
	*session
	tids []zodb.Tid
}

func (l liar) Transactions(ctx context.Context, from, to zodb.Tid, f func(*storage.Txn) error) error {
	tids := l.tids
	if from == 20 { // whether it has that of head
		tids = []zodb.Tid{20}
	}
	for _, tid := range tids {
		if err := f(&storage.Txn{Tid: tid, Oids: []zodb.Oid{1}}); err != nil {
			return err
		}
	}
	return nil
}

// refusing has n calls of Transactions fail.
func refusing(r *rig, n int) {
	set(&r.sv.calling, func(_ *session, op string) error {
		if op == "transactions" {
			if n--; n >= 0 {
				return errors.New("cannot iterate")
			}
		}
		return nil
	})
}
