package fs1

import (
	"context"
	"crypto/sha1"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/fsformat"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

var flips = flag.Int("flips", 3, "how many bits TestOneWrongBitCostsWhatItIsAbout changes, in each way; 0: each bit of a header")

// field is a part of a header.
type field struct {
	pos  int64
	len  int
	what string
}

// fieldsOf returns all that is not data or text in a sound file.
func fieldsOf(t testing.TB, path string) (fields []field) {
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fi, _ := f.Stat()
	s := fsformat.NewScanner(f, fi.Size())
	for pos, last := int64(fsformat.FirstTxnPos), zodb.Tid(0); pos < fi.Size(); {
		txn, err := s.NextFinished(pos, last)
		if err != nil {
			t.Fatal(err)
		}
		entries, err := s.Records(&txn)
		if err != nil {
			t.Fatal(err)
		}
		fields = append(fields, field{pos, 8, "transaction: tid"}, field{pos + 8, 8, "transaction: length"},
			field{pos + 16, 1, "transaction: status"}, field{pos + 17, 6, "transaction: strings"},
			field{txn.DataEnd(), 8, "transaction: length behind"})
		for _, e := range entries {
			fields = append(fields, field{e.Pos, 8, "record: oid"}, field{e.Pos + 8, 8, "record: tid"}, field{e.Pos + 16, 8, "record: previous"},
				field{e.Pos + 24, 8, "record: transaction"}, field{e.Pos + 32, 2, "record: version"}, field{e.Pos + 34, 8, "record: length"})
			dh := fsformat.Cursor{F: f}
			if err := dh.Load(e.Pos); err != nil {
				t.Fatal(err)
			}
			if dh.DataLen == 0 {
				fields = append(fields, field{e.Pos + 42, 8, "record: back pointer"})
			}
		}
		pos, last = txn.End(), txn.Tid
	}
	return fields
}

// reading is what a database was read as: by object and view, and why not otherwise.
type reading struct {
	head  zodb.Tid
	tids  []zodb.Tid
	oids  []zodb.Oid
	loads map[zodb.Xid]string
}

// readAll reads all objects at all views.
func readAll(t testing.TB, path string, cfg config) (*reading, error) {
	s, head, err := open(context.Background(), fileURL(path), storage.Options{}, cfg)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	r := &reading{head: head, loads: make(map[zodb.Xid]string)}
	err = s.Iterate(context.Background(), 0, zodb.TidMax, func(txn *storage.Txn) error {
		r.tids = append(r.tids, txn.Tid)
		r.oids = append(r.oids, txn.Oids...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(r.oids)
	r.oids = slices.Compact(r.oids)
	r.load(t, s, r.oids, r.tids)
	return r, nil
}

const (
	absent  = "absent"
	corrupt = "corrupt"
)

func (r *reading) load(t testing.TB, s *Storage, oids []zodb.Oid, tids []zodb.Tid) {
	for _, oid := range oids {
		for _, tid := range tids {
			xid := zodb.Xid{At: min(tid, s.Head()), Oid: oid}
			buf, serial, err := s.Load(context.Background(), xid)
			var damage *storage.CorruptError
			var text string
			switch {
			case err == nil:
				text = fmt.Sprintf("%s %x", serial, sha1.Sum(buf.Data))
				buf.Release()
			case storage.IsNoData(err):
				text = absent
			case errors.As(err, &damage) && damage.Oid == oid:
				text = corrupt
			default:
				t.Errorf("load %s: %v", xid, err)
			}
			r.loads[zodb.Xid{At: tid, Oid: oid}] = text
		}
	}
}

// created returns when an object was first there.
func (r *reading) created(oid zodb.Oid) zodb.Tid {
	for _, tid := range r.tids {
		if r.loads[zodb.Xid{At: tid, Oid: oid}] != absent {
			return tid
		}
	}
	return zodb.TidMax
}

// TestOneWrongBitCostsWhatItIsAbout changes one bit of a header, reads everything, and
// compares it with what it was. Each object reads right, or gives an error. A new
// object with another number is absent, or another new one of its transaction. The log
// counts by kind what bits cost: none has the whole database refused.
func TestOneWrongBitCostsWhatItIsAbout(t *testing.T) {
	for _, name := range []string{"topo", "packed", "basic"} {
		for mode, cfg := range map[string]func(c *config){
			"scan":           func(*config) {},
			"scan and index": func(*config) {},
			"index":          func(c *config) { c.scanLimit = 0 },
		} {
			t.Run(name+"/"+mode, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "Data.fs")
				orig := "../../../t/testdata/" + name + ".fs"
				copyFile(t, orig, path)
				if mode != "scan" {
					copyFile(t, orig+".index", path+".index")
				}
				c := defaultConfig()
				c.tick = time.Hour
				cfg(&c)
				flipBits(t, path, c)
			})
		}
	}
}

func copyFile(t testing.TB, from, to string) {
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b, 0o666); err != nil {
		t.Fatal(err)
	}
}

func flipBits(t *testing.T, path string, cfg config) {
	truth, err := readAll(t, path, cfg)
	if err != nil {
		t.Fatal(err)
	}
	fields := fieldsOf(t, path)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d, %d fields", seed, len(fields))
	count := map[string]map[string]int{}
	one := func(fd field, bit int) {
		outcome := flipBit(t, f, path, cfg, truth, fd, bit)
		if count[outcome] == nil {
			count[outcome] = map[string]int{}
		}
		count[outcome][fd.what]++
	}
	if i := slices.IndexFunc(fields, func(fd field) bool { return fd.what == "record: back pointer" }); i > 0 {
		one(fields[i-1], 7*8+3) // the pointer becomes 8 bytes of data
	}
	if *flips > 0 {
		n := *flips
		if testing.Short() {
			n = (n + 2) / 3
		}
		for range n {
			fd := fields[rnd.IntN(len(fields))]
			one(fd, rnd.IntN(fd.len*8))
		}
	} else {
		for _, fd := range fields {
			for bit := range fd.len * 8 {
				one(fd, bit)
			}
		}
	}
	for outcome, kinds := range count {
		t.Logf("%s: %v", outcome, kinds)
	}
	for outcome := range count {
		if strings.HasPrefix(outcome, "!") || outcome == "refused" || outcome == "most objects" {
			t.Errorf("%s", outcome)
		}
	}
}

// newObject reports whether the record at pos names none before it.
func newObject(t testing.TB, f *os.File, pos int64) bool {
	var b [8]byte
	if _, err := f.ReadAt(b[:], pos+16); err != nil {
		t.Fatal(err)
	}
	return b == [8]byte{}
}

// flipBit returns what one wrong bit leads to. An outcome that must not be
// begins with "!".
func flipBit(t *testing.T, f *os.File, path string, cfg config, truth *reading, fd field, bit int) (outcome string) {
	pos := fd.pos + int64(bit/8)
	var b [1]byte
	if _, err := f.ReadAt(b[:], pos); err != nil {
		t.Fatal(err)
	}
	write := func(c byte) {
		if _, err := f.WriteAt([]byte{c}, pos); err != nil {
			t.Fatal(err)
		}
	}
	write(b[0] ^ 1<<(bit%8))
	defer write(b[0])
	s, head, err := open(context.Background(), fileURL(path), storage.Options{}, cfg)
	if err != nil {
		return "refused"
	}
	defer s.Close()
	got := &reading{head: head, loads: make(map[zodb.Xid]string)}
	got.load(t, s, truth.oids, truth.tids)
	errs := map[zodb.Oid]bool{}
	missing, phantom := false, false
	for xid, want := range truth.loads {
		switch text := got.loads[xid]; {
		case text == want:
		case text == corrupt:
			errs[xid.Oid] = true
		case text == absent:
			missing = true
		case want == absent && truth.created(xid.Oid) > xid.At:
			phantom = true // nothing leads to it there
		case fd.what == "record: oid" && newObject(t, f, fd.pos):
			return "another new object" // of the same transaction
		default:
			t.Errorf("%s at %d, bit %d: %s is %s instead of %s", fd.what, fd.pos, bit, xid, text, want)
			return "! wrong"
		}
	}
	switch {
	case head < truth.head:
		return "! the last transaction is missing"
	case missing:
		return "absent"
	case phantom:
		return "there before it was created"
	case len(errs) == 0:
		return "unharmed"
	case len(errs) == 1:
		return "1 object"
	case len(errs) == 2:
		return "2 objects"
	case len(errs) < len(truth.oids)/2:
		return "some objects"
	}
	return "most objects"
}

// worse returns data of which n bytes at a place are cleared or something else, or which
// ends there.
func worse(rnd *rand.Rand, data []byte) (b []byte, at, n int) {
	b = slices.Clone(data)
	at = 4 + rnd.IntN(len(b)-4)
	n = min(1+rnd.IntN(600), len(b)-at)
	switch rnd.IntN(3) {
	case 0:
		clear(b[at : at+n])
	case 1:
		copy(b[at:at+n], data[4:])
	case 2:
		b = b[:at]
	}
	return b, at, n
}

// TestMoreDamageServesNoOtherRevision clears, doubles and cuts parts of a file. Data may
// be wrong then, but never is another revision served, and everything ends.
func TestMoreDamageServesNoOtherRevision(t *testing.T) {
	const orig = "../../../t/testdata/topo.fs"
	data, err := os.ReadFile(orig)
	if err != nil {
		t.Fatal(err)
	}
	truth, err := readAll(t, orig, defaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	path := filepath.Join(t.TempDir(), "Data.fs")
	refused, right, failed := 0, 0, 0
	n := 150
	if testing.Short() {
		n = 50
	}
	for i := range n {
		b, at, n := worse(rnd, data)
		if err := os.WriteFile(path, b, 0o666); err != nil {
			t.Fatal(err)
		}
		os.Remove(path + ".index")
		if i%2 == 0 && len(b) == len(data) {
			copyFile(t, orig+".index", path+".index")
		}
		cfg := defaultConfig()
		cfg.tick = time.Hour
		s, _, err := open(context.Background(), fileURL(path), storage.Options{}, cfg)
		if err != nil {
			refused++
			continue
		}
		got := &reading{loads: make(map[zodb.Xid]string)}
		got.load(t, s, truth.oids, truth.tids)
		for xid, text := range got.loads {
			want := truth.loads[xid]
			switch {
			case xid.At > s.Head(), want == absent: // it ends before; nothing leads there
			case text == corrupt || text == absent:
				failed++
			case text[:16] != want[:16]:
				t.Errorf("%d bytes at %d: %s is %s instead of %s", n, at, xid, text, want)
			default:
				right++
			}
		}
		s.Close()
	}
	t.Logf("%d refused; of the others %d loads were right, %d failed", refused, right, failed)
}
