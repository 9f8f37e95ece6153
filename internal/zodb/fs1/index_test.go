package fs1

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/fault"
	"github.com/wcfs/wcfs/internal/zodb/fsformat"
	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/internal/zodb/storage/storagetest"
)

// newIndexedRig makes a database with some history, for which saved indices
// are used although it is small.
func newIndexedRig(t *testing.T) *rig {
	r := newRig(t)
	r.cfg.scanLimit = 0
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 30 {
		r.commit(r.model.RandomTxn(rnd, 10))
	}
	r.commit(put(r.model.Head()+1, "twice", 1, 2, 2))
	return r
}

func TestGoodSavedIndexIsUsed(t *testing.T) {
	r := newIndexedRig(t)
	r.w.SaveIndex(nil)
	// Not covered by the index: it is completed.
	r.commit(put(r.model.Head()+1, "later", 1, 77))
	r.mustOpen()
	if r.cur.wasScanned() || len(r.warnings()) != 0 {
		t.Fatalf("the index was not used: %q", r.warnings())
	}
	r.checkLoads()
	r.commit(put(r.model.Head()+1, "latest", 1, 78))
	r.sync(r.model.Head())
	r.checkLoads()
}

func TestSavedIndexIsNotUsedForSmallFiles(t *testing.T) {
	r := newIndexedRig(t)
	r.cfg.scanLimit = 1 << 20
	// Good for all but one object, which it has at an older revision.
	r.commit(put(r.model.Head()+1, "old", 99))
	old := r.w.Pos(99)
	r.commit(put(r.model.Head()+1, "new", 99))
	r.w.SaveIndex(func(index *fsformat.Index) { index.Set(99, old) })
	r.mustOpen()
	if !r.cur.wasScanned() {
		t.Fatal("the index was used")
	}
	r.checkLoads()
}

func TestBadSavedIndexIsReplacedByAScan(t *testing.T) {
	for name, spoil := range map[string]func(r *rig, path string){
		"missing": func(r *rig, path string) { os.Remove(path) },
		"empty":   func(r *rig, path string) { os.Truncate(path, 0) },
		"truncated": func(r *rig, path string) {
			fi, _ := os.Stat(path)
			os.Truncate(path, fi.Size()/2)
		},
		"garbage":    func(r *rig, path string) { os.WriteFile(path, bytes.Repeat([]byte("\x93\x80("), 999), 0o666) },
		"unreadable": func(r *rig, path string) { os.Remove(path); os.Mkdir(path, 0o777) },
		"old dict":   func(r *rig, path string) { os.WriteFile(path, []byte("}q\x01U\x05indexq\x02}s."), 0o666) },
		"huge string": func(r *rig, path string) {
			os.WriteFile(path, []byte("\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f"), 0o666)
		},
		"top 0":          func(r *rig, _ string) { r.w.SaveIndex(func(i *fsformat.Index) { i.TopPos = 0 }) },
		"top 3":          func(r *rig, _ string) { r.w.SaveIndex(func(i *fsformat.Index) { i.TopPos = 3 }) },
		"top 4":          func(r *rig, _ string) { r.w.SaveIndex(func(i *fsformat.Index) { i.TopPos = 4 }) },
		"top negative":   func(r *rig, _ string) { r.w.SaveIndex(func(i *fsformat.Index) { i.TopPos = -5 }) },
		"top inside":     func(r *rig, _ string) { r.w.SaveIndex(func(i *fsformat.Index) { i.TopPos -= 9 }) },
		"ahead":          func(r *rig, _ string) { r.w.SaveIndex(func(i *fsformat.Index) { i.TopPos += 9 }) },
		"position 0":     func(r *rig, _ string) { r.w.SaveIndex(func(i *fsformat.Index) { i.Set(1, 0) }) },
		"position 26":    func(r *rig, _ string) { r.w.SaveIndex(func(i *fsformat.Index) { i.Set(1, 26) }) },
		"position high":  func(r *rig, _ string) { r.w.SaveIndex(func(i *fsformat.Index) { i.Set(1, 1<<47) }) },
		"position wrong": func(r *rig, _ string) { r.w.SaveIndex(func(i *fsformat.Index) { i.Set(1, 33) }) },
		"older revision": func(r *rig, _ string) {
			r.w.SaveIndex(func(i *fsformat.Index) { i.Set(1, r.w.RevPos(1, r.model.Txns[len(r.model.Txns)-2].Tid)) })
		},
		"object missing": func(r *rig, _ string) { r.w.SaveIndex(func(i *fsformat.Index) { i.Delete(1) }) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newIndexedRig(t)
			r.commit(put(r.model.Head()+1, "older", 1))
			r.commit(put(r.model.Head()+1, "newer", 1))
			r.w.SaveIndex(nil)
			spoil(r, r.w.Path+".index")
			r.mustOpen()
			if !r.cur.wasScanned() || len(r.warnings()) != 1 {
				t.Fatalf("the index was used, or that was not told: %q", r.warnings())
			}
			r.checkLoads()
		})
	}
}

// TestIndexOfPython2IsUnderstood uses an index of pickle protocol 1, as Python
// 2 writes it: integers as text, and bytes as str.
func TestIndexOfPython2IsUnderstood(t *testing.T) {
	r := newRig(t)
	r.cfg.scanLimit = 0
	r.commit(put(10, "one", 3))
	if r.w.Pos(3) != 0x1e {
		t.Fatalf("the record is at %d", r.w.Pos(3))
	}
	index := fmt.Sprintf("L%dL\n.", r.w.End()) +
		"(U\x06\x00\x00\x00\x00\x00\x00U\x08\x00\x03\x00\x00\x00\x00\x00\x1et.N."
	if err := os.WriteFile(r.w.Path+".index", []byte(index), 0o666); err != nil {
		t.Fatal(err)
	}
	r.mustOpen()
	if r.cur.wasScanned() {
		t.Fatalf("the index was not used: %q", r.warnings())
	}
	r.checkLoads()
}

func TestWrongIndexFoundByALoadIsRebuiltOnce(t *testing.T) {
	r := newIndexedRig(t)
	r.commit(put(r.model.Head()+1, "far back", 90, 91))
	for range fsformat.VerifyTxns + 5 {
		r.commit(put(r.model.Head()+1, "near", 1))
	}
	r.w.SaveIndex(func(index *fsformat.Index) {
		index.Set(90, r.w.Pos(91))   // another object
		index.Set(91, r.w.Pos(91)+1) // no record
	})
	r.mustOpen()
	if r.cur.wasScanned() {
		t.Fatalf("the index was not used: %q", r.warnings())
	}
	stop := make(chan struct{})
	var g sync.WaitGroup
	for i := range 16 {
		g.Go(func() {
			for oid := range zodb.Oid(3) {
				if err := storagetest.CheckLoad(r.ctx, r.Storage, r.model, zodb.Xid{At: r.at0, Oid: 90 + (oid+zodb.Oid(i))%2}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	g.Go(func() {
		for i := range 50 {
			r.w.Commit(put(r.at0+1+zodb.Tid(i), "meanwhile", 92))
			if _, err := r.Sync(r.ctx); err != nil {
				t.Error(err)
			}
		}
		close(stop)
	})
	g.Wait()
	<-stop
	if !r.cur.wasScanned() || len(r.warnings()) != 1 {
		t.Fatalf("warnings: %q", r.warnings())
	}
	if buf, _, err := r.Load(r.ctx, zodb.Xid{At: r.Head(), Oid: 92}); err != nil || string(buf.Data) != "meanwhile" {
		t.Fatalf("load of what was committed meanwhile: %v", err)
	}
}

func TestOpenErrorsSayWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := dir + "/" + name
		if err := os.WriteFile(path, []byte(content), 0o666); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, tt := range []struct {
		path   string
		reason fault.Kind
		msg    string
	}{
		{dir + "/none.fs", fault.Unreachable, "no such file"},
		{dir, fault.NotADatabase, "is a directory"},
		{"/dev/null", fault.NotADatabase, "is not a regular file"},
		{write("empty", ""), fault.NotADatabase, "is empty"},
		{write("short", "FS3"), fault.NotADatabase, `begins with "FS3"`},
		{write("old", "FS20xxxx"), fault.NotADatabase, `begins with "FS20"`},
		{write("elf", "\x7fELF..."), fault.NotADatabase, `begins with "\x7fELF"`},
		{write("a?create=1", "FS30"), fault.BadURL, `"create"`},
		{dir + "/x?demostorage", fault.BadURL, `"demostorage"`},
		{dir + "/x?qouta=1", fault.BadURL, `"qouta"`},
		{dir + "/x?read_only=0", fault.BadURL, `"read_only"`},
	} {
		_, _, err := Open(context.Background(), fileURL(tt.path), storage.Options{})
		var bad *storage.OpenError
		if !errors.As(err, &bad) || bad.Reason != tt.reason || !strings.Contains(bad.Msg, tt.msg) || strings.Contains(err.Error(), "\n") {
			t.Errorf("open %s: %v; want reason %d, %q", tt.path, err, tt.reason, tt.msg)
		}
		t.Log(err)
	}
	_, _, err := Open(context.Background(), fileURL(dir+"/none.fs"), storage.Options{})
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the cause is lost: %v", err)
	}
}

func TestOptionsOfOthersAreIgnoredAndHomeIsExpanded(t *testing.T) {
	home := t.TempDir()
	w := storagetest.NewFSWriter(home + "/Data #1%41.fs")
	defer w.Close()
	u := fileURL("~/Data #1%41.fs?read_only=true&connection_pool_size=5&database_name=x")
	stor, at0, err := Open(context.Background(), u, storage.Options{Home: home})
	if err != nil || at0 != 0 {
		t.Fatal(at0, err)
	}
	defer stor.Close()
	if stor.URL() != u.Raw {
		t.Errorf("url %s", stor.URL())
	}
}

func TestCancelledOpenReturnsTheErrorOfItsContext(t *testing.T) {
	r := newIndexedRig(t)
	ctx, cancel := context.WithCancel(r.ctx)
	cancel()
	r.ctx = ctx
	if err := r.tryOpen(); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}
