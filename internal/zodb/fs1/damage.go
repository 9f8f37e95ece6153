package fs1

import (
	"errors"
	"fmt"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/fsformat"
)

// maxDamaged is how many damaged transactions a file may have. More than that are not
// a damaged file but something else.
const maxDamaged = 1000

// damages is what is wrong with a data file, and who is concerned. The zero damages
// has nothing of it.
type damages struct {
	txns   map[int64]*survey  // damaged transactions by position
	bad    map[int64]error    // damaged records by position
	doubts map[zodb.Oid]doubt // objects of which a damaged record may be
	gaps   []gap              // ascending
}

// doubt is about an object that may have a record at a position: the record says so
// and something else in it contradicts, or something in it says so.
type doubt struct {
	tid zodb.Tid // of the transaction around it: older views are not concerned
	pos int64
	why error
}

// gap is where records may have been of which nobody can tell the object.
type gap struct {
	from zodb.Tid // older views are not concerned
	pos  int64
	end  int64
	why  error
}

func (d *damages) any() bool { return len(d.txns)+len(d.bad)+len(d.doubts)+len(d.gaps) > 0 }

// addTxn notes a damaged transaction.
func (d *damages) addTxn(sv *survey) error {
	if d.txns == nil {
		d.txns, d.bad = make(map[int64]*survey), make(map[int64]error)
	}
	d.txns[sv.Pos] = sv
	for pos, err := range sv.bad {
		d.setBad(pos, err)
	}
	if sv.lost {
		return d.addGap(gap{sv.Tid, sv.Pos, sv.End(), sv.why})
	}
	return d.check()
}

func (d *damages) addGap(g gap) error {
	d.gaps = append(d.gaps, g)
	return d.check()
}

// check bounds what is remembered.
func (d *damages) check() error {
	if len(d.txns)+len(d.gaps)+len(d.bad) > maxDamaged {
		return errors.New("there are too many damaged places")
	}
	return nil
}

func (d *damages) setBad(pos int64, err error) {
	if d.bad == nil {
		d.bad = make(map[int64]error)
	}
	d.bad[pos] = err
}

func (d *damages) setDoubt(oid zodb.Oid, u doubt) {
	if d.doubts == nil {
		d.doubts = make(map[zodb.Oid]doubt)
	}
	if was, ok := d.doubts[oid]; ok {
		u.tid = min(u.tid, was.tid)
	}
	d.doubts[oid] = u
}

// unsure returns why nobody can tell what an object was at a view. pos is its newest
// record that is known, 0 if there is none.
func (d *damages) unsure(xid zodb.Xid, pos int64) error {
	if u, ok := d.doubts[xid.Oid]; ok && xid.At >= u.tid {
		return u.why
	}
	for _, g := range d.gaps {
		if g.pos > pos && xid.At >= g.from {
			return fmt.Errorf("a damaged transaction may have changed the object: %w", g.why)
		}
	}
	return nil
}

// add puts the records of a transaction into index. A record names the one before it
// of the same object, so one wrong bit in either is found: the object that is named,
// and the one that has the record before, are in doubt then, until a later record
// names the one before it rightly. Imports write a new object more than once in their
// transaction, so nothing can be told from that.
func (d *damages) add(s *fsformat.Scanner, index *fsformat.Index, t *fsformat.Txn, entries []fsformat.Entry) error {
	var vague map[int64]bool
	if sv := d.txns[t.Pos]; sv != nil {
		vague = sv.vague
	}
	for i, e := range entries {
		was, _ := index.Get(e.Oid)
		agrees := e.Prev == was || d.doubts[e.Oid].pos == e.Prev && e.Prev != 0 || e.Prev > was && (d.bad[e.Prev] != nil || d.inGap(e.Prev))
		if was >= t.Pos { // there are several in t; all name the one before t
			agrees = sameBefore(entries[:i], e)
		}
		if vague[e.Pos] && (e.Prev == 0 || !agrees) {
			why := fsformat.DamagedRecord(e.Pos, "its header is wrong, and of which object it is cannot be told")
			d.setBad(e.Pos, why)
			if err := d.addGap(gap{t.Tid, t.Pos, t.End(), why}); err != nil {
				return err
			}
			continue
		}
		if agrees {
			delete(d.doubts, e.Oid)
			index.Set(e.Oid, e.Pos)
			continue
		}
		why := fsformat.DamagedRecord(e.Pos, "is of object %s and has %d for the position of the record before it, which is at %d", e.Oid, e.Prev, was)
		d.setDoubt(e.Oid, doubt{t.Tid, e.Pos, why})
		if e.Prev == 0 && t.Status == fsformat.StatusPacked {
			continue // A pack does this if it leaves several revisions. The next record tells.
		}
		d.setBad(e.Pos, why)
		if other, ok := oidAt(s, e.Prev); ok && other != e.Oid {
			d.setDoubt(other, doubt{t.Tid, e.Pos, why})
		}
		if err := d.check(); err != nil {
			return err
		}
	}
	index.TopPos = t.End()
	return nil
}

// sameBefore reports whether the last of entries that is of the object of e names the
// same record before it.
func sameBefore(entries []fsformat.Entry, e fsformat.Entry) bool {
	for i := len(entries) - 1; i >= 0; i-- {
		if entries[i].Oid == e.Oid {
			return entries[i].Prev == e.Prev
		}
	}
	return false
}

// oidAt returns which object the record at pos is of.
func oidAt(s *fsformat.Scanner, pos int64) (zodb.Oid, bool) {
	c := fsformat.Cursor{F: s.F}
	err := c.Load(pos)
	return c.Oid, err == nil
}

// resolve uses a saved index to tell who is concerned, if it has what the scan that
// made index has found, wherever that is sure.
func (d *damages) resolve(index, saved *fsformat.Index) bool {
	if len(d.gaps)+len(d.doubts) == 0 || saved.TopPos > index.TopPos {
		return false
	}
	lost := make(map[zodb.Oid]int64)
	suspects := make(map[int64]bool)
	for _, u := range d.doubts {
		suspects[u.pos] = true
	}
	agree := true
	for oid, pos := range saved.All() {
		found, ok := index.Get(oid)
		switch {
		case ok && (found == pos || found >= saved.TopPos):
		case d.inGap(pos), suspects[pos], d.bad[pos] != nil:
			lost[oid] = pos
		default:
			agree = false
		}
	}
	for oid, pos := range index.All() {
		_, ok := saved.Get(oid)
		agree = agree && (ok || pos >= saved.TopPos)
	}
	if !agree {
		return false
	}
	for oid, pos := range lost {
		index.Set(oid, pos)
	}
	var left []gap
	for _, g := range d.gaps {
		if g.end > saved.TopPos {
			left = append(left, g)
		}
	}
	d.gaps = left
	for oid, u := range d.doubts {
		if u.pos < saved.TopPos {
			delete(d.doubts, oid)
		}
	}
	return true
}

func (d *damages) inGap(pos int64) bool {
	for _, g := range d.gaps {
		if pos >= g.pos && pos < g.end {
			return true
		}
	}
	return false
}

// summary says for people what is damaged.
func (d *damages) summary() string {
	var first *fsformat.DamageError
	for _, sv := range d.txns {
		if first == nil || sv.why.Pos < first.Pos {
			first = sv.why
		}
	}
	for _, err := range d.bad {
		var damage *fsformat.DamageError
		if errors.As(err, &damage) && (first == nil || damage.Pos < first.Pos) {
			first = damage
		}
	}
	text := fmt.Sprintf("the file is damaged in %d or more places", max(1, len(d.txns), len(d.bad), len(d.gaps)))
	if first != nil {
		text += fmt.Sprintf(", of which the first is: %s", first)
	}
	if len(d.gaps) > 0 {
		g := d.gaps[0]
		text += fmt.Sprintf("; what the transaction at position %d changed cannot be told, so objects that have not changed since are not served as of @%s or later", g.pos, g.from)
	}
	return text + "; wcfs check tells all of it"
}
