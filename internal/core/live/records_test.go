package live

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sort"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/internal/zodb/zwrite/topology"
)

// records is a database of records. It is one goroutine's while it is written.
type records struct {
	last zodb.Oid
	head zodb.Tid
	revs map[zodb.Oid][]revRecord // ascending
}

type revRecord struct {
	tid  zodb.Tid
	data []byte // nil: deleted
}

func (r *records) Load(_ context.Context, xid zodb.Xid) (*storage.Buf, zodb.Tid, error) {
	rev, err := r.at(xid)
	if err != nil {
		return nil, 0, err
	}
	buf := storage.NewBuf(len(rev.data))
	copy(buf.Data, rev.data)
	return buf, rev.tid, nil
}

// Serial implements storage.Serialer.
func (r *records) Serial(_ context.Context, xid zodb.Xid) (zodb.Tid, error) {
	rev, err := r.at(xid)
	return rev.tid, err
}

func (r *records) at(xid zodb.Xid) (revRecord, error) {
	revs := r.revs[xid.Oid]
	i := sort.Search(len(revs), func(i int) bool { return revs[i].tid > xid.At })
	switch {
	case i == 0:
		return revRecord{}, &zodb.NoObjectError{Oid: xid.Oid}
	case revs[i-1].data == nil:
		return revRecord{}, &zodb.NoDataError{Oid: xid.Oid, DeletedAt: revs[i-1].tid}
	}
	return revs[i-1], nil
}

// writing is a transaction.
type writing struct {
	r       *records
	pending map[zodb.Oid][]byte // nil: to be deleted
}

var _ topology.Txn = (*writing)(nil)

func (r *records) begin() *writing { return &writing{r, make(map[zodb.Oid][]byte)} }

func (w *writing) New() zodb.Oid {
	w.r.last++
	return w.r.last
}

func (w *writing) Load(oid zodb.Oid) ([]byte, zodb.Tid, error) {
	if data, ok := w.pending[oid]; ok {
		if data == nil {
			return nil, 0, &zodb.NoDataError{Oid: oid}
		}
		return data, w.r.head, nil
	}
	rev, err := w.r.at(zodb.Xid{Oid: oid, At: w.r.head})
	return rev.data, rev.tid, err
}

func (w *writing) Store(oid zodb.Oid, data []byte) { w.pending[oid] = data }
func (w *writing) Delete(oid zodb.Oid)             { w.pending[oid] = nil }

// commit returns what changed, in the order of oids.
func (w *writing) commit() (zodb.Tid, []zodb.Oid) {
	w.r.head += 10
	for oid, data := range w.pending {
		w.r.revs[oid] = append(w.r.revs[oid], revRecord{w.r.head, data})
	}
	return w.r.head, slices.Sorted(maps.Keys(w.pending))
}

// step is one transaction of a story, and what it makes of the file.
type step struct {
	tid     zodb.Tid
	oids    []zodb.Oid
	table   map[int64]string // block -> name of the ZBlk
	changed string           // names of ZBlks with new data
	gone    bool             // the file does not exist
}

// story is a database that was written as told, and all that is true of it.
type story struct {
	db    *records
	file  *topology.File
	steps []step // the first one creates the file with an empty table
}

const storyBlkSize = 8

func newStory(w topology.Writer) *story {
	s := &story{db: &records{head: 10, revs: make(map[zodb.Oid][]revRecord)}}
	txn := s.db.begin()
	s.file = topology.NewFile(txn, storyBlkSize, "abcdefghij")
	s.file.Reuse, s.file.Rnd, s.file.Inline = w.Reuse, w.Rnd, w.Inline
	tid, oids := txn.commit()
	s.steps = []step{{tid: tid, oids: oids, changed: "abcdefghij"}}
	return s
}

// tell adds a transaction: a tree, "" if it stays as it is, and names of ZBlks
// that get new data.
func (s *story) tell(text, changed string) error {
	last := s.steps[len(s.steps)-1]
	table := last.table
	txn := s.db.begin()
	if text != "" {
		root, err := topology.Parse(text)
		if err != nil {
			return err
		}
		if err := s.file.Put(txn, root); err != nil {
			return err
		}
		table = make(map[int64]string)
		tableOf(root, table)
	}
	for _, name := range changed {
		s.file.SetData(txn, string(name), fmt.Append(nil, len(s.steps), name))
	}
	tid, oids := txn.commit()
	s.steps = append(s.steps, step{tid: tid, oids: oids, table: table, changed: changed, gone: last.gone})
	return nil
}

// tableOf collects what readers find below n.
func tableOf(n *topology.Node, table map[int64]string) {
	if n == nil {
		return
	}
	for _, item := range n.Items {
		table[item.Key] = item.Value
	}
	for _, child := range n.Children {
		tableOf(child, table)
	}
}

// tellFile adds a transaction that deletes the file, or creates it again.
func (s *story) tellFile(exists bool) {
	txn := s.db.begin()
	if exists {
		s.file.Create(txn)
	} else {
		s.file.Delete(txn)
	}
	tid, oids := txn.commit()
	s.steps = append(s.steps, step{tid: tid, oids: oids, table: s.steps[len(s.steps)-1].table, gone: !exists})
}

// size returns the size of the file after step i.
func (s *story) size(i int) int64 {
	size := int64(0)
	for blk := range s.steps[i].table {
		size = max(size, (blk+1)*storyBlkSize)
	}
	return size
}
