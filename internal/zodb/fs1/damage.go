package fs1

import (
	"errors"
	"fmt"

	"lab.nexedi.com/kirr/neo/go/zodb"
	fsfmt "lab.nexedi.com/kirr/neo/go/zodb/storage/fs1"
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
	d.txns[sv.pos] = sv
	for pos, err := range sv.bad {
		d.setBad(pos, err)
	}
	if sv.lost {
		return d.addGap(gap{sv.tid, sv.pos, sv.end(), sv.why})
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
func (d *damages) add(s *scanner, index *fsfmt.Index, t *txn, entries []entry) error {
	for i, e := range entries {
		was, _ := index.Get(e.oid)
		agrees := e.prev == was || d.doubts[e.oid].pos == e.prev && e.prev != 0 || e.prev > was && (d.bad[e.prev] != nil || d.inGap(e.prev))
		if was >= t.pos { // there are several in t; all name the one before t
			agrees = sameBefore(entries[:i], e)
		}
		if e.vague && (e.prev == 0 || !agrees) {
			why := damagedRecord(e.pos, "its header is wrong, and of which object it is cannot be told")
			d.setBad(e.pos, why)
			if err := d.addGap(gap{t.tid, t.pos, t.end(), why}); err != nil {
				return err
			}
			continue
		}
		if agrees {
			delete(d.doubts, e.oid)
			index.Set(e.oid, e.pos)
			continue
		}
		why := damagedRecord(e.pos, "is of object %s and has %d for the position of the record before it, which is at %d", e.oid, e.prev, was)
		d.setDoubt(e.oid, doubt{t.tid, e.pos, why})
		if e.prev == 0 && t.status == statusPacked {
			continue // A pack does this if it leaves several revisions. What is next tells.
		}
		d.setBad(e.pos, why)
		if other, ok := s.oidAt(e.prev); ok && other != e.oid {
			d.setDoubt(other, doubt{t.tid, e.pos, why})
		}
		if err := d.check(); err != nil {
			return err
		}
	}
	index.TopPos = t.end()
	return nil
}

// sameBefore reports whether the last of entries that is of the object of e names the
// same record before it.
func sameBefore(entries []entry, e entry) bool {
	for i := len(entries) - 1; i >= 0; i-- {
		if entries[i].oid == e.oid {
			return entries[i].prev == e.prev
		}
	}
	return false
}

// oidAt returns which object the record at pos is of.
func (s *scanner) oidAt(pos int64) (zodb.Oid, bool) {
	var dh fsfmt.DataHeader
	if pos < firstDataPos || dh.Load(s.f, pos) != nil {
		return 0, false
	}
	return dh.Oid, true
}

// resolve uses a saved index to tell who is concerned, if it has what the scan that
// made index has found, wherever that is sure.
func (d *damages) resolve(index, saved *fsfmt.Index) bool {
	if len(d.gaps)+len(d.doubts) == 0 || saved.TopPos > index.TopPos {
		return false
	}
	lost := make(map[zodb.Oid]int64)
	suspects := make(map[int64]bool)
	for _, u := range d.doubts {
		suspects[u.pos] = true
	}
	agree := true
	eachOf(saved, func(oid zodb.Oid, pos int64) {
		found, ok := index.Get(oid)
		switch {
		case ok && (found == pos || found >= saved.TopPos):
		case d.inGap(pos), suspects[pos], d.bad[pos] != nil:
			lost[oid] = pos
		default:
			agree = false
		}
	})
	eachOf(index, func(oid zodb.Oid, pos int64) {
		_, ok := saved.Get(oid)
		agree = agree && (ok || pos >= saved.TopPos)
	})
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

// eachOf calls f for what index has.
func eachOf(index *fsfmt.Index, f func(oid zodb.Oid, pos int64)) {
	e, _ := index.SeekFirst()
	if e == nil {
		return
	}
	defer e.Close()
	for {
		oid, pos, stop := e.Next()
		if stop != nil {
			return
		}
		f(oid, pos)
	}
}

// summary says for people what is damaged.
func (d *damages) summary() string {
	var first *damageError
	for _, sv := range d.txns {
		if first == nil || sv.why.pos < first.pos {
			first = sv.why
		}
	}
	for _, err := range d.bad {
		var damage *damageError
		if errors.As(err, &damage) && (first == nil || damage.pos < first.pos) {
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
