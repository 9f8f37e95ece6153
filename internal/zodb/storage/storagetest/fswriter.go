package storagetest

import (
	"fmt"
	"os"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/fsformat"
)

// FSWriter writes a FileStorage the way a writer process does, step by step,
// so that a test can stop at each state in between. It is for one goroutine.
// Methods panic when the operating system refuses something.
type FSWriter struct {
	Path string

	f      *os.File
	end    int64
	voted  int64 // length of the record behind end that has status "c"
	index  map[zodb.Oid]int64
	revs   map[zodb.Oid][]revPos
	staged map[zodb.Oid]int64
	log    []Txn
	packed zodb.Tid // up to which the last Pack went
}

type revPos struct {
	tid zodb.Tid
	pos int64
}

// NewFSWriter creates an empty database at path.
func NewFSWriter(path string) *FSWriter {
	w := &FSWriter{Path: path}
	w.create(path)
	return w
}

func (w *FSWriter) create(path string) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o666)
	check(err)
	w.f = f
	w.end = fsformat.FirstTxnPos
	w.index = make(map[zodb.Oid]int64)
	w.revs = make(map[zodb.Oid][]revPos)
	w.writeAt([]byte(fsformat.MagicPy3), 0)
}

func check(err error) {
	if err != nil {
		panic(fmt.Sprintf("storagetest: %s", err))
	}
}

func (w *FSWriter) writeAt(b []byte, off int64) {
	_, err := w.f.WriteAt(b, off)
	check(err)
}

// Close closes the file and leaves it as it is.
func (w *FSWriter) Close() { check(w.f.Close()) }

// End returns the position behind the last finished transaction.
func (w *FSWriter) End() int64 { return w.end }

// Pos returns the position of the newest record of oid.
func (w *FSWriter) Pos(oid zodb.Oid) int64 { return w.index[oid] }

// RevPos returns the position of the record that transaction tid wrote for
// oid, 0 if there is none.
func (w *FSWriter) RevPos(oid zodb.Oid, tid zodb.Tid) int64 {
	for _, r := range w.revs[oid] {
		if r.tid == tid {
			return r.pos
		}
	}
	return 0
}

// Encode returns the record of t as it would be appended, with the given
// status, and notes where its data records are.
func (w *FSWriter) Encode(t Txn, status byte) []byte {
	b := fsformat.AppendTxn(nil, t.Tid, 0, status, t.User, t.Description, t.Extension) // the length is set below
	w.staged = make(map[zodb.Oid]int64)
	for _, r := range t.Records {
		w.staged[r.Oid] = w.end + int64(len(b))
		header := fsformat.Record{Oid: r.Oid, Tid: t.Tid, Prev: w.index[r.Oid], Txn: w.end}
		switch same := w.RevPos(r.Oid, r.SameAs); {
		case same != 0: // else it was packed away, and the data is written again
			b = fsformat.AppendNumber(header.Append(b), same)
		case r.Data == nil:
			b = fsformat.AppendNumber(header.Append(b), 0)
		default:
			header.DataLen = int64(len(r.Data))
			b = append(header.Append(b), r.Data...)
		}
	}
	length := fsformat.AppendNumber(nil, int64(len(b)))
	copy(b[fsformat.LengthOff:], length)
	return append(b, length...)
}

// Vote appends t with status "c".
func (w *FSWriter) Vote(t Txn) {
	b := w.Encode(t, fsformat.StatusVoted)
	w.writeAt(b, w.end)
	w.voted = int64(len(b))
	w.log = append(w.log, t)
}

// Finish sets the status of the voted transaction, which makes it visible.
func (w *FSWriter) Finish() { w.FinishAs(fsformat.StatusComplete) }

// FinishAs is Finish with another status.
func (w *FSWriter) FinishAs(status byte) {
	w.writeAt([]byte{status}, w.end+fsformat.StatusOff)
	t := w.log[len(w.log)-1]
	if status != fsformat.StatusUndone {
		for oid, pos := range w.staged {
			w.index[oid] = pos
			w.revs[oid] = append(w.revs[oid], revPos{t.Tid, pos})
		}
	}
	w.end += w.voted
	w.voted = 0
}

// Abort cuts the voted transaction off.
func (w *FSWriter) Abort() {
	check(w.f.Truncate(w.end))
	w.voted = 0
	w.log = w.log[:len(w.log)-1]
}

// Commit is Vote and Finish.
func (w *FSWriter) Commit(t Txn) {
	w.Vote(t)
	w.Finish()
}

// Raw writes b behind the last finished transaction.
func (w *FSWriter) Raw(b []byte) { w.writeAt(b, w.end) }

// Cut truncates the file to the end of the last finished transaction.
func (w *FSWriter) Cut() { check(w.f.Truncate(w.end)) }

// Truncate cuts the file to size, whatever that destroys.
func (w *FSWriter) Truncate(size int64) { check(w.f.Truncate(size)) }

// Patch overwrites the file in place.
func (w *FSWriter) Patch(pos int64, b []byte) { w.writeAt(b, pos) }

// SaveIndex writes the index beside the data, after f has changed it.
func (w *FSWriter) SaveIndex(f func(*fsformat.Index)) {
	index := fsformat.NewIndex()
	index.TopPos = w.end
	for oid, pos := range w.index {
		index.Set(oid, pos)
	}
	if f != nil {
		f(index)
	}
	check(os.WriteFile(w.Path+".index", index.Encode(false), 0o666))
}

// Pack replaces the file by one in which, up to transaction upto, there are
// only the revisions that were current then, of objects that keep accepts.
// Transactions up to there that are left without records are dropped. The
// previous file is left under Path+".old".
func (w *FSWriter) Pack(upto zodb.Tid, keep func(zodb.Oid) bool) {
	log, path := w.log, w.Path
	current := NewModel()
	for _, t := range log {
		if t.Tid <= upto {
			current.Commit(t)
		}
	}
	check(w.f.Close())
	w.create(path + ".pack")
	w.log = nil
	for _, t := range log {
		if t.Tid > upto {
			w.Vote(t)
			w.FinishAs(map[bool]byte{false: fsformat.StatusComplete, true: fsformat.StatusPacked}[t.Tid <= w.packed])
			continue
		}
		packed := t
		packed.Records = nil
		for _, oid := range t.Oids() {
			data, serial, _ := current.Load(zodb.Xid{At: upto, Oid: oid})
			if serial == t.Tid && data != nil && keep(oid) {
				packed.Records = append(packed.Records, Record{Oid: oid, Data: data})
			}
		}
		if packed.Records != nil {
			w.Vote(packed)
			w.FinishAs(fsformat.StatusPacked)
		}
	}
	w.packed = max(w.packed, upto)
	check(os.Rename(path, path+".old"))
	check(os.Rename(path+".pack", path))
}
