package postgresql

import (
	"context"
	"crypto/md5"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/postgresql/pgtest"
	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/internal/zodb/storage/pythontest"
)

var commits = flag.Int("commits", 0, "how many transactions many applications commit at once (0: 300 with -short, 3000 without)")

const (
	sharedOid = zodb.Oid(7) // all applications change it, and all but one fail
	lastOid   = zodb.Oid(8) // the last transaction changes it
)

// unresolved is a record of a class that cannot resolve conflicts; what follows it is not
// looked at.
const unresolved = "\x80\x03cpersistent.mapping\nPersistentMapping\nq\x00.\x80\x03}q\x01."

// Applications commit all at once, and some of their transactions conflict. Each transaction
// is told once, and when it is told, all that it has changed is there.
func TestEveryCommitOfManyWritersIsToldWhenItIsThere(t *testing.T) {
	t.Parallel()
	n := *commits
	switch {
	case n == 0 && testing.Short():
		n = 300
	case n == 0:
		n = 3000
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	d := ground.Shared(t).CreateDatabase(t, true)
	first := d.Writer(t)
	at0 := first.Commit(put(sharedOid, unresolved))

	var readers []*reader
	var reading errgroup.Group
	for _, poll := range []time.Duration{0, time.Millisecond} {
		stor, at, err := Open(t.Context(), urlOf(t, d.URL()), storage.Options{Warnf: t.Logf, Poll: poll})
		require.NoError(t, err)
		require.Equal(t, at0, at)
		defer stor.Close()
		r := &reader{stor: stor}
		readers = append(readers, r)
		reading.Go(func() error { return r.follow(t.Context()) })
	}
	applications := make([]*application, 8)
	for i := range applications {
		applications[i] = &application{w: d.Writer(t), shared: at0, mine: zodb.Oid(100 * (i + 1)), rnd: rand.New(rand.NewPCG(seed, uint64(i))), there: map[zodb.Oid]bool{}}
	}
	var left atomic.Int64
	left.Store(int64(n))
	var writing errgroup.Group
	for _, a := range applications {
		writing.Go(func() error { return a.work(&left) })
	}
	require.NoError(t, writing.Wait())
	first.Commit(put(lastOid, "x"))
	require.NoError(t, reading.Wait())
	conflicts := 0
	for _, a := range applications {
		conflicts += a.conflicts
	}
	t.Logf("%d transactions, %d conflicts", n, conflicts)
	require.Positive(t, conflicts)
	txns, revs := contentOf(t, d, at0)
	for _, r := range readers {
		require.Equal(t, txns, r.txns)
		require.Equal(t, revs, r.revs)
	}
}

// application commits transactions of all kinds.
type application struct {
	w         *pythontest.Writer
	shared    zodb.Tid // revision of sharedOid that this one knows
	mine      zodb.Oid // the first of the objects that only this one changes
	rnd       *rand.Rand
	n         int
	there     map[zodb.Oid]bool // objects that may be deleted
	conflicts int
}

// work commits as long as transactions are left.
func (a *application) work(left *atomic.Int64) error {
	for left.Add(-1) >= 0 {
		for done := false; !done; {
			if err := a.w.Send(pythontest.Order{Do: "commit", Records: a.records()}); err != nil {
				return err
			}
			_, refused, err := a.w.Answer()
			switch {
			case err != nil:
				return err
			case strings.HasPrefix(refused, "ConflictError"), strings.HasPrefix(refused, "CacheConsistencyError"):
				a.conflicts++ // the latter, if somebody commits while the conflict is looked at
			case refused != "":
				return errors.New(refused)
			default:
				done = true
			}
		}
	}
	return nil
}

// records are those of a transaction: changes of a few objects, or of one that others
// change, too; deletions; or nothing at all.
func (a *application) records() (records []pythontest.Entry) {
	a.n++
	kind := a.rnd.IntN(12)
	for i := range zodb.Oid(1 + a.rnd.IntN(4)) {
		oid := a.mine + i
		switch {
		case kind == 0:
		case kind == 1 && a.there[oid+10]:
			records = append(records, pythontest.Remove(oid+10))
			delete(a.there, oid+10)
		case kind == 1:
		case kind == 2:
			records = append(records, put(oid+10, a.data()))
			a.there[oid+10] = true
		default:
			records = append(records, put(oid, a.data()))
		}
	}
	if kind == 3 {
		entry := put(sharedOid, unresolved+a.data())
		entry.Serial = a.shared.String()
		records = append(records, entry)
	}
	return records
}

func (a *application) data() string {
	return fmt.Sprintf("%d:%d:%s", a.mine, a.n, strings.Repeat("x", a.rnd.IntN(5000)))
}

// reader follows the database and loads what it is told of.
type reader struct {
	stor storage.Storage
	txns []string // as contentOf has them

	mu   sync.Mutex
	revs map[string]string // guarded by mu; as contentOf has them
}

// follow reads events up to the last one. The objects of each are loaded at once.
func (r *reader) follow(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	r.revs = make(map[string]string)
	for {
		ev, err := r.stor.NextEvent(ctx)
		if err != nil {
			return err
		}
		r.txns = append(r.txns, txnOf(ev.Tid, ev.Oids))
		var g errgroup.Group
		for _, oid := range ev.Oids {
			g.Go(func() error { return r.load(ctx, zodb.Xid{At: ev.Tid, Oid: oid}) })
		}
		if err := g.Wait(); err != nil {
			return err
		}
		if slices.Contains(ev.Oids, lastOid) {
			return nil
		}
	}
}

// load loads an object as of a transaction that has changed it.
func (r *reader) load(ctx context.Context, xid zodb.Xid) error {
	var noData *zodb.NoDataError
	buf, serial, err := r.stor.Load(ctx, xid)
	sum := ""
	switch {
	case errors.As(err, &noData):
		serial = noData.DeletedAt
	case err != nil:
		return err
	default:
		sum = fmt.Sprintf("%x", md5.Sum(buf.Data))
		buf.Release()
	}
	if serial != xid.At {
		return fmt.Errorf("load %s, which is told: it is of @%s", xid, serial)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.revs[xid.String()] = sum
	return nil
}

func txnOf(tid zodb.Tid, oids []zodb.Oid) string { return fmt.Sprintf("%s %v", tid, oids) }

// contentOf asks the database itself for the transactions after one, and for the sums of the
// revisions that they have made.
func contentOf(t *testing.T, d *pgtest.Database, after zodb.Tid) (txns []string, revs map[string]string) {
	t.Helper()
	revs = make(map[string]string)
	rows := d.Query(t, fmt.Sprintf(`SELECT t.tid, coalesce(zoid, -1), coalesce(md5(state), '')
		FROM transaction t LEFT JOIN object_state o ON o.tid = t.tid WHERE t.tid > %d ORDER BY t.tid, zoid`, uint64(after)))
	var tid zodb.Tid
	var oids []zodb.Oid
	end := func() {
		if tid != 0 {
			txns = append(txns, txnOf(tid, oids))
		}
		oids = nil
	}
	for row := range strings.SplitSeq(rows, "\n") {
		fields := strings.Split(row, "|")
		var of, oid int64
		_, err := fmt.Sscan(fields[0]+" "+fields[1], &of, &oid)
		require.NoError(t, err, row)
		if zodb.Tid(of) != tid {
			end()
			tid = zodb.Tid(of)
		}
		if oid >= 0 {
			oids = append(oids, zodb.Oid(oid))
			revs[zodb.Xid{At: tid, Oid: zodb.Oid(oid)}.String()] = fields[2]
		}
	}
	end()
	return txns, revs
}
