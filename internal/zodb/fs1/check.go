package fs1

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/fsformat"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// Damage is one thing that is wrong with a data file or its saved index.
type Damage struct {
	Index bool     // it is about the saved index
	Pos   int64    // of the transaction or record, -1 if it is about none
	Oid   zodb.Oid // zodb.InvalidOid if nobody can tell, or if it is about a transaction
	Tid   zodb.Tid // of the transaction, 0 if that is not known
	What  string
	Means string // for readers
}

// Checking is how a check is done. All functions must be set.
type Checking struct {
	Progress func(done, total int64)
	Found    func(Damage) error
	// Record is told each record with data, and looks at that. An error that it returns
	// is one of the record.
	Record func(oid zodb.Oid, tid zodb.Tid, data *storage.Buf) error
}

// Checked is what a check went through.
type Checked struct {
	Txns, Records, Bytes int64
	Head, Packed         zodb.Tid // the last transaction, and the last that a pack wrote
	Tail                 string   // what is behind the last transaction, if something is
	Cut                  bool     // the end was not reached, for damage
}

// maxChecked bounds the data of a record that is looked at as a whole. Of others it is
// only checked where they end.
const maxChecked = 64 << 20

// checker is the state of one check.
type checker struct {
	builder
	Checking
	s      *fsformat.Scanner
	ctx    context.Context
	result Checked
	path   string
	saved  *fsformat.Index // nil if there is none, or it was compared
}

// Check reads all of the data file at path: every transaction, every record, and what
// the saved index says. Nothing is written, and others may go on to write and read.
// Commits after the beginning are not looked at.
//
// The error is one of opening, of the operating system, or of c.
func Check(ctx context.Context, path string, c Checking) (*Checked, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	f, fi, err := openFile(path)
	if err != nil {
		var bad *fileError
		if errors.As(err, &bad) {
			return nil, &storage.OpenError{Reason: bad.reason, URL: path, Msg: bad.msg, Hint: bad.hint, Err: err}
		}
		return nil, fmt.Errorf("check: %w", err)
	}
	defer f.Close()
	k := &checker{Checking: c, ctx: ctx, path: path, s: fsformat.NewScanner(f, fi.Size())}
	k.builder = builder{index: fsformat.NewIndex(), max: zodb.TidMax, taken: k.take}
	if err := k.openIndex(); err != nil {
		return nil, err
	}
	return &k.result, k.run(fi.Size())
}

func (k *checker) run(size int64) error {
	gaps := 0
	for done := false; !done; {
		var err error
		if done, err = k.step(k.ctx, k.s); err != nil {
			var damage *fsformat.DamageError
			if !errors.As(err, &damage) {
				return err
			}
			k.result.Cut = true
			return k.found(damage.Pos, zodb.InvalidOid, 0, err, "the database cannot be opened; what is behind is not checked")
		}
		if len(k.gaps) > gaps {
			gaps = len(k.gaps)
			g := k.gaps[gaps-1]
			if k.txns[g.pos] == nil {
				if err := k.found(g.pos, zodb.InvalidOid, g.from, g.why, lostMeans); err != nil {
					return err
				}
			}
		}
		k.Progress(k.index.TopPos, size)
	}
	k.result.Head, k.result.Packed = k.last, k.packed
	if err := k.tail(size); err != nil {
		return err
	}
	return k.end()
}

// tail says what is behind the last transaction.
func (k *checker) tail(size int64) error {
	pos := k.index.TopPos
	if pos == size {
		return nil
	}
	_, tl, err := k.s.Next(pos, k.last)
	if err != nil {
		return fmt.Errorf("look at what is behind position %d: %w", pos, err)
	}
	k.result.Tail = fmt.Sprintf("the last %d bytes, behind position %d, are not a transaction: a commit that is under way, or was interrupted", size-pos, pos)
	if tl == fsformat.VotedTail {
		k.result.Tail = fmt.Sprintf("the transaction at position %d is not finished: a commit is under way, or was interrupted", pos)
	}
	return nil
}

const (
	objectMeans = "EIO for who reads this revision of the object, or an older one"
	doubtMeans  = "EIO for who reads the object as of this transaction, or later until it has changed"
	lostMeans   = "what the transaction changed cannot be told: without a good saved index EIO for objects that have not changed since"
	noneMeans   = "nothing: it is there twice"
	indexMeans  = "it is not used, or it is made anew: a big database takes long to open"
)

func (k *checker) found(pos int64, oid zodb.Oid, tid zodb.Tid, what error, means string) error {
	text := what.Error()
	var damage *fsformat.DamageError
	if errors.As(what, &damage) {
		pos, text = damage.Pos, damage.Record+": "+damage.What
	}
	return k.Found(Damage{Pos: pos, Oid: oid, Tid: tid, What: text, Means: means})
}

// take looks at a transaction.
func (k *checker) take(t *fsformat.Txn, entries []fsformat.Entry, sv *survey) error {
	k.result.Txns++
	if sv != nil {
		means := noneMeans
		if sv.lost {
			means = lostMeans
		}
		if sv.why.Record == "transaction" || sv.lost {
			if err := k.found(t.Pos, zodb.InvalidOid, t.Tid, sv.why, means); err != nil {
				return err
			}
		}
	}
	for _, e := range entries {
		if err := k.ctx.Err(); err != nil {
			return err
		}
		k.result.Records++
		k.Progress(e.Pos, k.s.Size)
		if err := k.record(t, e); err != nil {
			return err
		}
	}
	return k.compareIndex()
}

// record looks at a record: its links and its data.
func (k *checker) record(t *fsformat.Txn, e fsformat.Entry) error {
	if err := k.bad[e.Pos]; err != nil {
		means := objectMeans
		if _, unsure := k.doubts[e.Oid]; unsure {
			means = doubtMeans
		}
		return k.found(e.Pos, e.Oid, t.Tid, err, means)
	}
	c := fsformat.Cursor{F: k.s}
	err := c.Load(e.Pos)
	if err == nil && c.DataLen == 0 {
		err = k.back(&c)
	} else if err == nil {
		err = k.data(&c.Record)
	}
	if !fsformat.IsDamage(err) || k.ctx.Err() != nil {
		return err
	}
	return k.found(e.Pos, e.Oid, t.Tid, err, "EIO for who reads this revision of the object")
}

// back checks the back pointers from a record on.
func (k *checker) back(c *fsformat.Cursor) error {
	pos, err := c.Back()
	if err != nil || pos == 0 {
		return err
	}
	if why := k.bad[pos]; why != nil {
		return fsformat.DamagedRecord(c.Pos, "it has the data of a damaged record: %s", why)
	}
	c.F = k.s.F
	_, err = c.LoadBack() // what is there was checked before
	return err
}

// data checks the data of a record.
func (k *checker) data(r *fsformat.Record) error {
	from := r.DataPos()
	k.result.Bytes += r.DataLen
	if r.DataLen > maxChecked {
		if !fills(k.s.F, from, from+r.DataLen) {
			return fsformat.DamagedRecord(r.Pos, "its data is not a record of an object")
		}
		return nil
	}
	buf := storage.NewBuf(int(r.DataLen))
	if _, err := k.s.F.ReadAt(buf.Data, from); err != nil {
		buf.Release()
		return fsformat.AsDamage(r.Pos, err)
	}
	buf, err := plain(buf, r.Pos)
	if err != nil {
		return err
	}
	defer buf.Release()
	if !fills(bytes.NewReader(buf.Data), 0, int64(len(buf.Data))) {
		return fsformat.DamagedRecord(r.Pos, "its data is not two pickles")
	}
	if err := k.Record(r.Oid, r.Tid, buf); err != nil {
		return fsformat.DamagedRecord(r.Pos, "its data is damaged: %s", err)
	}
	return nil
}

// openIndex reads the saved index, if there is one.
func (k *checker) openIndex() (err error) {
	k.saved, err = fsformat.LoadIndex(k.path+".index", k.s.Size)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	k.saved = nil
	return k.wrongIndex(err.Error())
}

func (k *checker) wrongIndex(what string) error {
	return k.Found(Damage{Index: true, Pos: -1, Oid: zodb.InvalidOid, What: what, Means: indexMeans})
}

// compareIndex compares the saved index with the data when that has come to where it
// was saved.
func (k *checker) compareIndex() error {
	if k.saved == nil || k.index.TopPos < k.saved.TopPos {
		return nil
	}
	saved := k.saved
	k.saved = nil
	if k.index.TopPos != saved.TopPos {
		return k.wrongIndex(fmt.Sprintf("it covers %d bytes, where no transaction ends", saved.TopPos))
	}
	if len(k.gaps)+len(k.doubts) > 0 && k.resolve(k.index, saved) {
		return nil // the data is wrong
	}
	wrong, first := 0, ""
	note := func(format string, args ...any) {
		if wrong++; wrong == 1 {
			first = fmt.Sprintf(format, args...)
		}
	}
	for oid, pos := range saved.All() {
		if at, ok := k.index.Get(oid); !ok || at != pos {
			note("it has object %s at position %d instead of %d", oid, pos, at)
		}
	}
	for oid, pos := range k.index.All() {
		if _, ok := saved.Get(oid); !ok {
			note("it lacks object %s, which is at position %d", oid, pos)
		}
	}
	switch {
	case wrong == 0:
		return nil
	case wrong > 1:
		first += fmt.Sprintf(", and %d more are wrong", wrong-1)
	}
	return k.Found(Damage{Index: true, Pos: -1, Oid: zodb.InvalidOid, What: first,
		Means: "a server that uses it may show older data of these objects; remove the .index, it is made anew"})
}

// end tells what was only known at the end.
func (k *checker) end() error {
	for oid, u := range k.doubts {
		if k.bad[u.pos] != nil && !k.other(oid, u.pos) {
			continue
		}
		if err := k.found(u.pos, oid, u.tid, u.why, doubtMeans); err != nil {
			return err
		}
	}
	return nil
}

// other reports whether the damaged record at pos says that it is of another object.
func (k *checker) other(oid zodb.Oid, pos int64) bool {
	is, ok := oidAt(k.s, pos)
	return ok && is != oid
}
