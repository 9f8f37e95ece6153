package neotest

import (
	"bytes"
	"compress/zlib"
	"crypto/sha1"
	"fmt"
	"slices"
	"sort"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/neo/neoproto"
	"github.com/wcfs/wcfs/internal/zodb/storage/storagetest"
)

// database is the history that all storages have.
type database struct {
	txns    []*txn // ascending
	objects map[zodb.Oid][]*revision
	zip     *zlib.Writer // used again: it is much to make
}

// txn is a transaction.
type txn struct {
	tid                          zodb.Tid
	user, description, extension []byte
	oids                         []zodb.Oid // all that it has records of, in their order
	kept                         []zodb.Oid // those that it does not delete
}

// revision is a record of an object.
type revision struct {
	tid         zodb.Tid
	next        zodb.Tid // 0: it is the newest one
	compression int
	checksum    [20]byte
	data        []byte // as it is transmitted; nil: the object is deleted
	dataSerial  zodb.Tid
	args        []byte // of the message, encoded; nil: not yet
}

func newDatabase() database {
	return database{objects: make(map[zodb.Oid][]*revision), zip: zlib.NewWriter(nil)}
}

func (t *txn) has(oid zodb.Oid) bool { return slices.Contains(t.oids, oid) }

func (db *database) last() zodb.Tid {
	if len(db.txns) == 0 {
		return 0
	}
	return db.txns[len(db.txns)-1].tid
}

// add adds a transaction.
func (db *database) add(t storagetest.Txn) *txn {
	if t.Tid <= db.last() {
		panic(fmt.Sprintf("neotest: commit of @%s after @%s", t.Tid, db.last()))
	}
	added := &txn{tid: t.Tid, user: t.User, description: t.Description, extension: t.Extension}
	db.txns = append(db.txns, added)
	for i, r := range t.Records {
		if slices.ContainsFunc(t.Records[i+1:], func(later storagetest.Record) bool { return later.Oid == r.Oid }) {
			continue // the last one counts
		}
		if added.oids = append(added.oids, r.Oid); r.Data != nil {
			added.kept = append(added.kept, r.Oid)
		}
		db.put(t.Tid, r)
	}
	return added
}

// put adds a record. An undo shares the data of the older one.
func (db *database) put(tid zodb.Tid, r storagetest.Record) {
	revs := db.objects[r.Oid]
	added := &revision{tid: tid}
	if shared, _ := db.object(r.Oid, r.SameAs, 0); r.SameAs != 0 && shared != nil && shared.data != nil {
		added.compression, added.checksum, added.data = shared.compression, shared.checksum, shared.data
		added.dataSerial = r.SameAs
	} else if r.Data != nil {
		added.compression, added.data = db.compressed(r.Data)
		added.checksum = sha1.Sum(added.data)
	}
	if n := len(revs); n > 0 {
		revs[n-1].next, revs[n-1].args = tid, nil
	}
	db.objects[r.Oid] = append(revs, added)
}

// compressed is data as a client would store it: compressed if it gets smaller then.
func (db *database) compressed(data []byte) (compression int, _ []byte) {
	var small bytes.Buffer
	db.zip.Reset(&small)
	_, _ = db.zip.Write(data) // to memory
	_ = db.zip.Close()
	if small.Len() < len(data) {
		return neoproto.Zlib, small.Bytes()
	}
	return neoproto.Plain, data
}

// object returns the revision of a transaction, or the newest one before another, nil if
// there is none. known reports whether the object has any.
func (db *database) object(oid zodb.Oid, at, before zodb.Tid) (r *revision, known bool) {
	revs := db.objects[oid]
	for _, r := range slices.Backward(revs) {
		if at != 0 && r.tid == at || at == 0 && (before == 0 || r.tid < before) {
			return r, true
		}
	}
	return nil, len(revs) > 0
}

// find returns a transaction, nil if there is none.
func (db *database) find(tid zodb.Tid) *txn {
	i := sort.Search(len(db.txns), func(i int) bool { return db.txns[i].tid >= tid })
	if i < len(db.txns) && db.txns[i].tid == tid {
		return db.txns[i]
	}
	return nil
}

// tids returns the first transactions of those that are asked for.
func (db *database) tids(m *neoproto.AskTids, partitions int) (tids []zodb.Tid) {
	first := sort.Search(len(db.txns), func(i int) bool { return db.txns[i].tid >= m.From })
	for _, t := range db.txns[first:] {
		if t.tid > m.To || len(tids) == m.Length {
			break
		}
		if int(uint64(t.tid)%uint64(partitions)) == m.Partition {
			tids = append(tids, t.tid)
		}
	}
	return tids
}

// truncate removes the transactions after tid.
func (db *database) truncate(tid zodb.Tid) {
	db.txns = slices.DeleteFunc(db.txns, func(t *txn) bool { return t.tid > tid })
	for oid, revs := range db.objects {
		revs = slices.DeleteFunc(revs, func(r *revision) bool { return r.tid > tid })
		if n := len(revs); n > 0 {
			revs[n-1].next, revs[n-1].args = 0, nil
		}
		if db.objects[oid] = revs; len(revs) == 0 {
			delete(db.objects, oid)
		}
	}
}
