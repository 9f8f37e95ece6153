package fs1

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/internal/zodb/storage/storagetest"
)

// withoutFiles runs f while the process cannot open any more files.
func withoutFiles(t *testing.T, f func()) {
	t.Helper()
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	none := unix.Rlimit{Cur: 0, Max: was.Max}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
			t.Fatal(err)
		}
	}()
	f()
}

// TestPackIsTakenOverOnceTheSystemLetsUs has no descriptor left for the packed file,
// for much longer than what is wrong with a file may last.
func TestPackIsTakenOverOnceTheSystemLetsUs(t *testing.T) {
	r := newPackRig(t)
	head := r.model.Head()
	packed := r.elsewhere(func(w *storagetest.FSWriter) {
		w.Pack(head, keepAll)
		w.Commit(put(head+1, "after the pack", 1))
	})
	withoutFiles(t, func() {
		if err := os.Rename(packed, r.w.Path); err != nil {
			t.Fatal(err)
		}
		for range 5 {
			r.advance(time.Minute)
			if _, err := r.Sync(r.ctx); !errors.Is(err, unix.EMFILE) {
				t.Errorf("sync: %v; want EMFILE", err)
			}
		}
		if err := storagetest.CheckLoad(r.ctx, r.Storage, r.model, zodb.Xid{At: head, Oid: 1}); err != nil {
			t.Error(err)
		}
	})
	if n := len(r.warnings()); n != 1 {
		t.Errorf("%d warnings; want 1", n)
	}
	r.model.Commit(put(head+1, "after the pack", 1))
	r.sync(head + 1)
	r.wantEvents(head + 1)
	r.checkLoads()
}

// TestPathThatCannotBeLookedAtIsTriedAgain has a symbolic link that leads to itself in
// the place of the file.
func TestPathThatCannotBeLookedAtIsTriedAgain(t *testing.T) {
	r := newPackRig(t)
	head := r.model.Head()
	away := r.w.Path + ".away"
	if err := errors.Join(os.Rename(r.w.Path, away), os.Symlink(r.w.Path, r.w.Path)); err != nil {
		t.Fatal(err)
	}
	r.commit(put(head+1, "through the old name", 1))
	for range 5 {
		r.advance(time.Minute)
		if _, err := r.Sync(r.ctx); !errors.Is(err, unix.ELOOP) {
			t.Fatalf("sync: %v; want ELOOP", err)
		}
	}
	r.wantEvents(head + 1)
	if err := os.Rename(away, r.w.Path); err != nil {
		t.Fatal(err)
	}
	r.sync(head + 1)
	r.w.Pack(head, keepAll)
	r.commit(put(head+2, "after the pack", 1))
	r.sync(head + 2)
	r.wantEvents(head + 2)
	r.checkLoads()
}

// advance moves the clock.
func (r *rig) advance(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clock = r.clock.Add(d)
}

// TestFileBetweenTwoRenamesIsWaitedFor looks while there is nothing under the path, as
// often as it likes.
func TestFileBetweenTwoRenamesIsWaitedFor(t *testing.T) {
	r := newPackRig(t)
	head := r.model.Head()
	r.w.Pack(head, keepAll)
	packed := r.w.Path + ".packed"
	if err := os.Rename(r.w.Path, packed); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		r.advance(time.Minute)
		r.sync(head)
	}
	if err := os.Rename(packed, r.w.Path); err != nil {
		t.Fatal(err)
	}
	r.commit(put(head+1, "after the pack", 1))
	r.sync(head + 1)
	r.wantEvents(head + 1)
	r.checkLoads()
}

// TestRefusedFileThatIsCompletedInPlaceIsTakenUp has a replacement that is still being
// written when it is looked at, of which the last byte comes late.
func TestRefusedFileThatIsCompletedInPlaceIsTakenUp(t *testing.T) {
	r := newPackRig(t)
	head := r.model.Head()
	content, err := os.ReadFile(r.w.Path)
	if err != nil {
		t.Fatal(err)
	}
	torn := append([]byte(nil), content...)
	clear(torn[len(torn)-200:])
	replace(t, r.w.Path, r.w.Path+".saved", torn)
	if err := r.wait(2 * time.Second); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(r.w.Path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(content, 0); err != nil {
		t.Fatal(err)
	}
	// The clock of a file system is coarse.
	if err := os.Chtimes(r.w.Path, time.Time{}, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := r.wait(2 * time.Second); err != nil {
		t.Fatal(err)
	}
	r.sync(head)
	if fi, err := f.Stat(); err != nil || idOf(fi) != r.cur.id {
		t.Fatalf("it is not the file that is served; %v", err)
	}
	r.checkLoads()
}

// elsewhere has change write a database beside the one of r, with all of its history
// at first, and returns the path.
func (r *rig) elsewhere(change func(w *storagetest.FSWriter)) string {
	r.Helper()
	w := storagetest.NewFSWriter(filepath.Join(r.TempDir(), "Data.fs"))
	defer w.Close()
	for _, t := range r.model.Txns {
		w.Commit(t)
	}
	change(w)
	return w.Path
}

// TestReplacedByACopy replaces the file by copies of the same history that
// have other bytes, packed or not, with the same or more transactions.
func TestReplacedByACopy(t *testing.T) {
	for name, packTo := range map[string]func(head zodb.Tid) zodb.Tid{
		"the same":         func(zodb.Tid) zodb.Tid { return 0 },
		"packed to before": func(head zodb.Tid) zodb.Tid { return head - 1 },
		"packed to head":   func(head zodb.Tid) zodb.Tid { return head },
	} {
		for _, more := range []zodb.Tid{0, 3} {
			t.Run(name, func(t *testing.T) {
				r := newPackRig(t)
				head := r.model.Head()
				path := r.elsewhere(func(w *storagetest.FSWriter) {
					if upto := packTo(head); upto != 0 {
						w.Pack(upto, keepAll)
					}
					for i := range more {
						w.Commit(put(head+1+i, "newer", 1, 9))
					}
				})
				if err := os.Rename(path, r.w.Path); err != nil {
					t.Fatal(err)
				}
				var want []zodb.Tid
				for i := range more {
					r.model.Commit(put(head+1+i, "newer", 1, 9))
					want = append(want, head+1+i)
				}
				r.sync(head + more)
				r.wantEvents(want...)
				r.checkLoads()
			})
		}
	}
}

// TestOtherDatabase wants the stream to end with an error that
// says what is true, and all that was served to stay as it was.
func TestOtherDatabase(t *testing.T) {
	var back *storage.WentBackError
	var another *storage.AnotherDatabaseError
	var lost *storage.HistoryLostError
	for name, c := range map[string]struct {
		want   any
		change func(r *rig, w *storagetest.FSWriter)
	}{
		"backup": {&back, func(r *rig, w *storagetest.FSWriter) {}},
		"packed backup": {&back, func(r *rig, w *storagetest.FSWriter) {
			w.Pack(r.model.Head(), keepAll)
		}},
		"went another way": {&another, func(r *rig, w *storagetest.FSWriter) {
			w.Commit(put(r.model.Head()+2, "other", 1))
		}},
		"another object in the last transaction": {&another, func(r *rig, w *storagetest.FSWriter) {
			w.Commit(put(r.model.Head()+1, "after the backup", 2))
		}},
		"other data in the last transaction": {&another, func(r *rig, w *storagetest.FSWriter) {
			w.Commit(put(r.model.Head()+1, "after the BACKUP", 1))
		}},
		"another user in the last transaction": {&another, func(r *rig, w *storagetest.FSWriter) {
			txn := put(r.model.Head()+1, "after the backup", 1)
			txn.User = []byte("v")
			w.Commit(txn)
		}},
		"packed to later": {&lost, func(r *rig, w *storagetest.FSWriter) {
			head := r.model.Head() + 1
			w.Commit(put(head, "after the backup", 1))
			w.Commit(put(head+1, "superseded", 1))
			w.Commit(put(head+2, "current", 1))
			w.Pack(head+2, func(oid zodb.Oid) bool { return oid != 2 })
		}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newPackRig(t)
			path := r.elsewhere(func(w *storagetest.FSWriter) { c.change(r, w) })
			r.commit(put(r.model.Head()+1, "after the backup", 1))
			r.sync(r.model.Head())
			if err := os.Rename(path, r.w.Path); err != nil {
				t.Fatal(err)
			}
			r.sync(r.model.Head())
			for r.queue.Len() > 0 {
				if _, err := r.NextEvent(r.ctx); err != nil {
					t.Fatal(err)
				}
			}
			if err := r.wantDown(4 * time.Second); !errors.As(err, c.want) {
				t.Errorf("%v; want a %T", err, c.want)
			}
			r.checkLoads()
		})
	}
}

// TestRewrittenInPlace writes another database over the open
// file. The last transaction tells: the other file has something there, or the same
// and another history around it.
func TestRewrittenInPlace(t *testing.T) {
	be8 := func(v uint64) []byte { return u64(v) }
	for name, rewrite := range map[string]func(r *rig){
		"other tid, and more behind": func(r *rig) {
			r.w.Patch(r.cur.lastPos, be8(uint64(r.cur.last)-1))
			r.w.Commit(put(r.model.Head()+1, "more", 1))
		},
		"other tid": func(r *rig) { r.w.Patch(r.cur.lastPos, be8(uint64(r.cur.last)+1)) },
		"other length": func(r *rig) {
			r.w.Patch(r.cur.lastPos+8, be8(uint64(r.w.End()-r.cur.lastPos)))
		},
		"other length behind": func(r *rig) { r.w.Patch(r.w.End()-8, be8(1)) },
		"a longer database": func(r *rig) {
			r.overwrite(r.elsewhere(func(w *storagetest.FSWriter) {
				w.Pack(r.model.Head(), keepAll)
				for i := range zodb.Tid(200) {
					w.Commit(put(r.model.Head()+1+i, strings.Repeat("longer", 200), 1))
				}
			}))
		},
		"a database of the same length": func(r *rig) {
			r.overwrite(r.sameLength())
		},
		"a shorter database": func(r *rig) {
			r.overwrite(r.elsewhere(func(w *storagetest.FSWriter) { w.Pack(r.model.Head(), keepAll) }))
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newPackRig(t)
			r.sync(r.model.Head())
			head := r.model.Head()
			rewrite(r)
			err := r.wantDown(0)
			var lost *storage.HistoryLostError
			var another *storage.AnotherDatabaseError
			if !errors.As(err, &lost) && !errors.As(err, &another) {
				t.Errorf("%v; want a HistoryLostError or AnotherDatabaseError", err)
			}
			if n := r.queue.Len(); n != 0 {
				t.Errorf("%d events", n)
			}
			var corrupt *storage.CorruptError
			if _, _, err := r.Load(r.ctx, zodb.Xid{At: head, Oid: 1}); !errors.As(err, &corrupt) {
				t.Errorf("load: %v; want a CorruptError", err)
			}
		})
	}
}

// sameLength makes a database with the same objects in other transactions, as long as
// the one of r to the byte.
func (r *rig) sameLength() string {
	w := storagetest.NewFSWriter(filepath.Join(r.TempDir(), "Data.fs"))
	defer w.Close()
	for _, t := range r.model.Txns {
		t.Tid++
		for i := range t.Records {
			if t.Records[i].SameAs != 0 {
				t.Records[i].SameAs++
			}
		}
		w.Commit(t)
	}
	return w.Path
}

// overwrite makes the file what the one at path is, as cp does.
func (r *rig) overwrite(path string) {
	r.Helper()
	content, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(r.w.Path, content, 0)
	}
	if err != nil {
		r.Fatal(err)
	}
}

// TestFileRewrittenInPlaceLeavesTheFilesBeforeIt wants views of before the last pack to
// be there still: they are in another file.
func TestFileRewrittenInPlaceLeavesTheFilesBeforeIt(t *testing.T) {
	r := newPackRig(t)
	before := r.model.Head()
	r.w.Pack(before, keepAll)
	r.sync(before)
	r.commit(put(before+1, "more", 1))
	r.sync(before + 1)
	r.w.Truncate(100)
	r.wantEvents(before + 1)
	r.wantDown(0)
	for _, txn := range r.model.Txns[:len(r.model.Txns)-1] {
		for _, oid := range r.model.Oids() {
			if err := storagetest.CheckLoad(r.ctx, r.Storage, r.model, zodb.Xid{At: txn.Tid, Oid: oid}); err != nil {
				t.Fatal(err)
			}
		}
	}
	var corrupt *storage.CorruptError
	if _, _, err := r.Load(r.ctx, zodb.Xid{At: before + 1, Oid: 1}); !errors.As(err, &corrupt) {
		t.Errorf("load: %v; want a CorruptError", err)
	}
}
