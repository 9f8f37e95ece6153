package fs1

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/internal/zodb/storage/storagetest"
)

func keepAll(zodb.Oid) bool { return true }

// newPackRig makes a database with some history and opens it.
func newPackRig(t *testing.T) *rig {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	r := newRig(t)
	for range 40 {
		r.commit(r.model.RandomTxn(rnd, 10))
	}
	r.commit(put(r.model.Head()+1, "now", 1, 2))
	r.mustOpen()
	return r
}

func TestPackIsFollowedAndOldViewsStay(t *testing.T) {
	for name, commits := range map[string]struct{ before, after int }{
		"alone":          {0, 0},
		"commits before": {3, 0},
		"commits after":  {0, 3},
		"both":           {2, 4},
	} {
		t.Run(name, func(t *testing.T) {
			r := newPackRig(t)
			var want []zodb.Tid
			commit := func(n int) {
				for range n {
					r.commit(put(r.model.Head()+1, "more", 1, zodb.Oid(len(want)+500)))
					want = append(want, r.model.Head())
				}
			}
			packAt := r.model.Head()
			commit(commits.before)
			r.w.Pack(packAt, keepAll)
			commit(commits.after)
			r.sync(r.model.Head())
			r.wantEvents(want...)
			r.checkLoads()
			commit(2)
			r.sync(r.model.Head())
			r.wantEvents(want[len(want)-2:]...)
			r.checkLoads()
			if n := len(r.warnings()); n != 0 {
				t.Errorf("%d warnings", n)
			}
		})
	}
}

func TestSecondPackMakesOldViewsIncompleteAndSaysSo(t *testing.T) {
	r := newPackRig(t)
	at := r.model.Head()
	r.commit(put(at+1, "one", 1))
	r.w.Pack(at+1, keepAll)
	r.sync(at + 1)
	first := r.cur.f
	r.commit(put(at+2, "two", 1))
	r.w.Pack(at+2, keepAll)
	r.sync(at + 2)
	r.commit(put(at+3, "three", 1))
	r.sync(at + 3)
	r.wantEvents(at+1, at+2, at+3)
	if r.old == nil || r.old.f != first {
		t.Fatal("the previous generation is not there")
	}
	// The first generation had this, the second has not.
	var packed *storage.PackedError
	if _, _, err := r.Load(r.ctx, zodb.Xid{At: at, Oid: 1}); !errors.As(err, &packed) || packed.PackTime != at+1 {
		t.Fatalf("load: %v; want a PackedError", err)
	}
	for _, at := range []zodb.Tid{at + 1, at + 2, at + 3} {
		if err := storagetest.CheckLoad(r.ctx, r.Storage, r.model, zodb.Xid{At: at, Oid: 1}); err != nil {
			t.Error(err)
		}
	}
	if _, _, err := r.Load(r.ctx, zodb.Xid{At: at, Oid: 12345}); !storage.IsNoData(err) {
		t.Errorf("load of what never was: %v", err)
	}
}

func TestCollectedObjectsCanBeReadAtTheHeadOfTheSwitch(t *testing.T) {
	r := newPackRig(t)
	at := r.model.Head()
	r.w.Pack(at, func(oid zodb.Oid) bool { return oid == 1 })
	r.sync(at)
	r.checkLoads()
	r.commit(put(at+1, "more", 1))
	r.sync(at + 1)
	if _, _, err := r.Load(r.ctx, zodb.Xid{At: at + 1, Oid: 2}); !storage.IsNoData(err) {
		t.Errorf("load of a collected object: %v", err)
	}
}

// TestCollectedObjectsCanBeReadAtTheHeadOfAnEarlierSwitch also when there was another
// pack since.
func TestCollectedObjectsCanBeReadAtTheHeadOfAnEarlierSwitch(t *testing.T) {
	r := newPackRig(t)
	at := r.model.Head()
	r.Keep(at - 1)
	for i := range zodb.Tid(3) {
		r.w.Pack(at+i, func(oid zodb.Oid) bool { return oid == 1 })
		r.sync(at + i)
		r.commit(put(at+i+1, "more", 1))
		r.sync(at + i + 1)
	}
	for _, oid := range r.model.Oids() {
		if err := storagetest.CheckLoad(r.ctx, r.Storage, r.model, zodb.Xid{At: at, Oid: oid}); err != nil {
			t.Error(err)
		}
	}
}

func TestPackThatDropsTheLastTransactionsIsFollowed(t *testing.T) {
	r := newPackRig(t)
	at := r.model.Head()
	r.commit(put(at+1, "unreachable", 700))
	r.commit(storagetest.Txn{Tid: at + 2})
	r.w.Pack(at+2, func(oid zodb.Oid) bool { return oid != 700 })
	r.sync(at + 2)
	r.wantEvents(at+1, at+2)
	r.checkLoads()
	r.commit(put(at+3, "more", 1))
	r.sync(at + 3)
	r.wantEvents(at + 3)
	if err := storagetest.CheckLoad(r.ctx, r.Storage, r.model, zodb.Xid{At: at + 3, Oid: 1}); err != nil {
		t.Error(err)
	}
}

func TestSecondPackBeforeALookEndsTheStream(t *testing.T) {
	r := newPackRig(t)
	head := r.model.Head()
	// It is done beside, so that the reader cannot look in between.
	path := r.w.Path
	r.w.Path = t.TempDir() + "/Data.fs"
	if err := os.WriteFile(r.w.Path, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	r.w.Pack(head, keepAll)
	r.w.Commit(put(head+1, "superseded", 1))
	r.w.Commit(put(head+2, "current", 1))
	r.w.Pack(head+2, keepAll)
	if err := os.Rename(r.w.Path, path); err != nil {
		t.Fatal(err)
	}
	r.sync(head)
	if text := r.wantDown(4 * time.Second).Error(); !strings.Contains(text, "history was lost") {
		t.Errorf("not told that history was lost: %s", text)
	}
}

func TestRestoredBackupEndsTheStream(t *testing.T) {
	for _, name := range []string{"backup", "empty", "nonsense"} {
		t.Run(name, func(t *testing.T) {
			r := newPackRig(t)
			content, err := os.ReadFile(r.w.Path)
			if err != nil {
				t.Fatal(err)
			}
			switch name {
			case "empty":
				content = content[:4]
			case "nonsense":
				content = []byte("nonsense")
			}
			r.commit(put(r.model.Head()+1, "after the backup", 1))
			replace(t, r.w.Path, r.w.Path+".saved", content)
			r.sync(r.model.Head()) // it may be that the copy is not complete yet
			r.wantEvents(r.model.Head())
			text := r.wantDown(4 * time.Second).Error()
			if name == "backup" && !strings.Contains(text, "went back") {
				t.Errorf("not told that it went back: %s", text)
			}
			r.checkLoads()
		})
	}
}

// TestBackupWithoutTheNewestObjectsIsNotAPackedFile lacks a transaction of which it
// knows nothing, like a packed file, and was never packed.
func TestBackupWithoutTheNewestObjectsIsNotAPackedFile(t *testing.T) {
	r := newPackRig(t)
	content, err := os.ReadFile(r.w.Path)
	if err != nil {
		t.Fatal(err)
	}
	r.commit(put(r.model.Head()+1, "new", 800))
	r.sync(r.model.Head())
	r.wantEvents(r.model.Head())
	replace(t, r.w.Path, r.w.Path+".saved", content)
	var back *storage.WentBackError
	if err := r.wantDown(4 * time.Second); !errors.As(err, &back) {
		t.Errorf("%v; want a WentBackError", err)
	}
	r.checkLoads()
}

// replace moves path to saved, and a new file with the given content to path.
func replace(t *testing.T, path, saved string, content []byte) {
	if err := os.WriteFile(path+".new", content, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path, saved); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func TestDeletedFileIsServedAndWarnedAboutOnce(t *testing.T) {
	r := newPackRig(t)
	head := r.model.Head()
	away := r.w.Path + ".away"
	if err := os.Rename(r.w.Path, away); err != nil {
		t.Fatal(err)
	}
	if err := r.wait(2 * time.Second); err != nil || len(r.warnings()) != 0 {
		t.Fatal(err, r.warnings())
	}
	for range 3 {
		if err := r.wait(2 * time.Second); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(r.warnings()); n != 1 {
		t.Fatalf("%d warnings; want 1", n)
	}
	r.checkLoads()
	r.commit(put(head+1, "through the old name", 1))
	r.sync(head + 1)
	if err := os.Rename(away, r.w.Path); err != nil {
		t.Fatal(err)
	}
	r.commit(put(head+2, "back again", 1))
	r.sync(head + 2)
	r.wantEvents(head+1, head+2)
	r.checkLoads()
}

// TestPacksUnderALiveWriterLoseNothing lets a writer commit and pack at full
// speed while the reader follows by its notifications.
func TestPacksUnderALiveWriterLoseNothing(t *testing.T) {
	r := newPackRig(t)
	head := r.model.Head()
	const n = 300
	go func() {
		for i := range zodb.Tid(n) {
			r.w.Commit(put(head+1+i, "x", 1, zodb.Oid(i)%20))
			if i%60 == 30 {
				// One pack at a time must be noticed.
				if _, err := r.Sync(r.ctx); err != nil {
					t.Error(err)
				}
				r.w.Pack(head+i, keepAll)
			}
		}
	}()
	for i := range zodb.Tid(n) {
		ev, err := r.NextEvent(r.ctx)
		if err != nil || ev.Tid != head+1+i {
			t.Fatalf("event %v, %v; want @%s", ev, err, head+1+i)
		}
		buf, serial, err := r.Load(r.ctx, zodb.Xid{At: ev.Tid, Oid: 1})
		var packed *storage.PackedError
		if errors.As(err, &packed) && i < n-60 {
			continue // two packs later
		}
		if err != nil || serial != ev.Tid {
			t.Fatalf("load @%s: serial %s, %v", ev.Tid, serial, err)
		}
		buf.Release()
	}
}

// TestCommitsAreNoticedWithoutSync is about the notifications, and, in the
// second round, about doing without them.
func TestCommitsAreNoticedWithoutSync(t *testing.T) {
	for _, notifications := range []bool{true, false} {
		r := newRig(t)
		if !notifications {
			r.cfg.tick = 10 * time.Millisecond
		} else {
			r.cfg.tick = time.Hour
		}
		r.mustOpen()
		for i := range zodb.Tid(20) {
			r.commit(put(i+1, "x", 1))
			ctx, cancel := context.WithTimeout(r.ctx, 5*time.Second)
			if ev, err := r.NextEvent(ctx); err != nil || ev.Tid != i+1 {
				t.Fatalf("notifications %v: event %v, %v", notifications, ev, err)
			}
			cancel()
		}
	}
}
