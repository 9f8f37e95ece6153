package demostorage_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/demostorage"
	"github.com/wcfs/wcfs/internal/zodb/fs1"
	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/internal/zodb/storage/mem"
	"github.com/wcfs/wcfs/internal/zodb/storage/storagetest"
)

func TestMain(m *testing.M) {
	// The format library links in a logger that never ends.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/golang/glog.(*fileSink).flushDaemon"))
}

// world is where urls of parts lead.
type world struct {
	t       testing.TB
	drivers storage.Drivers
	mems    map[string]*mem.Storage // by what follows mem://
}

// newWorld has files, databases in memory as mem://x, the same as many://x, which load many
// objects with one question, and as vague://x, which like a ZEO server do not tell that an
// object was deleted; manyvague://x is both.
func newWorld(t testing.TB) *world {
	w := &world{t: t, mems: make(map[string]*mem.Storage)}
	w.drivers = storage.Drivers{"file": fs1.Open}
	for _, scheme := range []string{"mem", "many", "vague", "manyvague"} {
		w.drivers[scheme] = func(ctx context.Context, u storage.URL, opt storage.Options) (storage.Storage, zodb.Tid, error) {
			stor, at0, err := w.mems[u.Rest].Open(ctx, u, opt)
			s := stor.(*mem.Storage)
			s.AnswerMany(strings.HasPrefix(scheme, "many"))
			if strings.HasSuffix(scheme, "vague") {
				return &vague{s}, at0, err
			}
			return s, at0, err
		}
	}
	w.drivers["demo"] = demostorage.Opener(w.drivers)
	return w
}

// vague is a database that does not tell deleted objects from those that never were.
type vague struct{ *mem.Storage }

func (s *vague) Load(ctx context.Context, xid zodb.Xid) (*storage.Buf, zodb.Tid, error) {
	buf, serial, err := s.Storage.Load(ctx, xid)
	return buf, serial, hazy(xid, err)
}

func (s *vague) LoadMany(ctx context.Context, xids []zodb.Xid) []storage.Loaded {
	all := s.Storage.LoadMany(ctx, xids)
	for i := range all {
		all[i].Err = hazy(xids[i], all[i].Err)
	}
	return all
}

// hazy is an error of a load that does not tell whether the object was deleted.
func hazy(xid zodb.Xid, err error) error {
	var noData *zodb.NoDataError
	if errors.As(err, &noData) && noData.DeletedAt != 0 {
		return &zodb.NoObjectError{Oid: xid.Oid}
	}
	return err
}

// mem makes a new database in memory, to be found by its name.
func (w *world) mem(name string) (commit func(storagetest.Txn)) {
	db := mem.New()
	w.t.Cleanup(func() { db.Close() })
	w.mems[name] = db
	return func(t storagetest.Txn) {
		records := make(map[zodb.Oid][]byte)
		for _, r := range t.Records {
			records[r.Oid] = r.Data
		}
		db.CommitTxn(mem.Txn{Tid: t.Tid, User: t.User, Description: t.Description, Extension: t.Extension, Records: records})
	}
}

// file makes a new FileStorage.
func (w *world) file() (url string, commit func(storagetest.Txn)) {
	fs := storagetest.NewFSWriter(filepath.Join(w.t.TempDir(), "Data.fs"))
	w.t.Cleanup(fs.Close)
	return "file://" + fs.Path, fs.Commit
}

func (w *world) open(t testing.TB, zurl string) (storage.Storage, zodb.Tid) {
	t.Helper()
	s, at0, err := w.drivers.Open(context.Background(), zurl, storage.Options{Warnf: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	return s, at0
}

// baseHistory returns transactions for a base, and what they leave.
func baseHistory() *storagetest.Model {
	rnd, base := rand.New(rand.NewPCG(rand.Uint64(), 0)), storagetest.NewModel()
	for tid := range zodb.Tid(9) {
		txn := base.RandomTxn(rnd, 40)
		txn.Tid = tid + 1
		base.Commit(txn)
	}
	return base
}

// showsOver tells what is seen of a transaction in a delta: where it deletes an object
// that base has, that is seen again.
func showsOver(base *storagetest.Model) func(storagetest.Txn) storagetest.Txn {
	return func(t storagetest.Txn) storagetest.Txn {
		records := make([]storagetest.Record, 0, len(t.Records))
		for _, r := range t.Records {
			if r.Data == nil {
				r.Data, _, _ = base.Load(zodb.Xid{At: zodb.TidMax, Oid: r.Oid})
			}
			records = append(records, r)
		}
		t.Records = records
		return t
	}
}

func TestConformance(t *testing.T) {
	for i, kind := range []struct{ name, base, delta string }{
		{"FileOverFile", "file", "file"},
		{"MemOverMem", "mem", "mem"},
		{"MemOverFile", "file", "mem"},
		{"VagueOverMem", "mem", "vague"},
		{"FileOverVague", "vague", "file"},
		{"FileOverDemo", "demo", "file"},
		{"DemoOverMem", "mem", "demo"},
		{"VagueDemoOverMem", "mem", "vaguedemo"},
		{"ManyOverMany", "many", "many"},
		{"ManyVagueOverMany", "many", "manyvague"},
		{"ManyOverFile", "file", "many"},
		{"FileOverMany", "many", "file"},
	} {
		if testing.Short() && i%4 != 0 {
			continue
		}
		t.Run(kind.name, func(t *testing.T) {
			storagetest.Run(t, func(t testing.TB) storagetest.Fixture {
				w, base := newWorld(t), baseHistory()
				baseURL := w.base(kind.base, base)
				deltaURL, commit := w.delta(kind.delta)
				zurl := "demo:(" + baseURL + ")/(" + deltaURL + ")"
				return storagetest.Fixture{
					Base:   base.Txns,
					Shows:  showsOver(base),
					Open:   func(t testing.TB) (storage.Storage, zodb.Tid) { return w.open(t, zurl) },
					Commit: commit,
				}
			})
		})
	}
}

// base makes a database with what m has. A demo one has a part of it in its delta; m
// becomes what is seen of that.
func (w *world) base(kind string, m *storagetest.Model) (url string) {
	commit := w.mem("base")
	switch kind {
	case "file":
		url, commit = w.file()
	case "demo":
		commitHalf := w.mem("lower")
		below := storagetest.NewModel()
		deletes := false
		for _, txn := range m.Txns {
			for _, r := range txn.Records {
				deletes = deletes || r.Data == nil
			}
			if !deletes {
				commitHalf(txn)
				below.Commit(txn)
				continue
			}
			commit(txn)
		}
		*m = *seenOver(below, m)
		return "demo:(mem://lower)/(mem://base)"
	default:
		url = kind + "://base"
	}
	for _, txn := range m.Txns {
		commit(txn)
	}
	return url
}

// seenOver returns what is seen of m when what below has not of it is in a delta over that.
func seenOver(below, m *storagetest.Model) *storagetest.Model {
	seen, shows := storagetest.NewModel(), showsOver(below)
	for i, txn := range m.Txns {
		if i >= len(below.Txns) {
			txn = shows(txn)
		}
		seen.Commit(txn)
	}
	return seen
}

// delta makes an empty database.
func (w *world) delta(kind string) (url string, commit func(storagetest.Txn)) {
	switch kind {
	case "file":
		return w.file()
	case "demo":
		w.mem("nothing")
		return "demo:(mem://nothing)/(mem://delta)", w.mem("delta")
	case "vaguedemo":
		w.mem("nothing")
		return "demo:(vague://nothing)/(vague://delta)", w.mem("delta")
	}
	return kind + "://delta", w.mem("delta")
}
