package remote

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// resume goes on with c where the session before it ended.
func (v *supervisor) resume(c *conn) error {
	head := v.Head()
	if c.last < v.solid {
		return v.down(&storage.WentBackError{Head: head, Last: c.last})
	}
	// A database that ends with the transaction of head has it.
	if head != 0 && head != c.last {
		if err := v.checkHistory(c, head); err != nil {
			return err
		}
	}
	v.use(c)
	if err := v.catchUp(c, head); err != nil {
		return err
	}
	if took, outage := v.regain(); outage {
		missed := "nothing was missed"
		if v.missed > 0 {
			missed = fmt.Sprintf("%d transactions were missed, and are known now", v.missed)
		}
		v.warn("connected to the server again after %s; %s", took.Round(time.Millisecond), missed)
	}
	v.missed, v.refused = 0, 0
	return nil
}

// checkHistory finds out whether the database has the history that was served: the last
// transaction that changed anything, and none since then that did.
func (v *supervisor) checkHistory(c *conn, head zodb.Tid) error {
	found := false
	var other zodb.Tid
	err := v.transactions(c, v.solid, head, func(t *storage.Txn) {
		switch {
		case t.Tid == v.solid:
			found = true
		case len(t.Oids) > 0 && other == 0:
			other = t.Tid
		}
	})
	switch {
	case err != nil:
		return err
	case other != 0:
		return v.down(&storage.AnotherDatabaseError{Head: head, Why: fmt.Sprintf("it has a transaction @%s, which was not there", other)})
	case found || v.solid == 0:
		return nil
	}
	return v.checkRecords(c, head)
}

// checkRecords finds out the same from the records that were seen. A record that does not
// exist any more was packed away, and a damaged one says nothing either.
func (v *supervisor) checkRecords(c *conn, head zodb.Tid) error {
	same := 0
	for _, r := range v.seen.all() {
		var serial zodb.Tid
		err := v.answered(c.ctx, func(ctx context.Context) error {
			buf, got, err := c.session.Load(ctx, r.xid)
			if err == nil {
				buf.Release()
			}
			serial = got
			return err
		})
		var silent *storage.AwayError
		switch {
		case err != nil && (c.lost() || errors.As(err, &silent)):
			return err
		case err != nil:
		case serial == r.serial:
			same++
		default:
			return v.down(&storage.AnotherDatabaseError{Head: head, Why: fmt.Sprintf(
				"object %s was of transaction @%s in the view @%s, and is of @%s there", r.xid.Oid, r.serial, r.xid.At, serial)})
		}
	}
	if same == 0 {
		return v.down(&storage.AnotherDatabaseError{Head: head, Why: "it has no such transaction, nor any record that was seen"})
	}
	return nil
}

// maxGroup is how many missed transactions are published at once. Subscribers of head/
// are told all of a group together, and are dropped when they do not take them.
const maxGroup = 256

// catchUp publishes what is missing up to where the session began, in groups.
func (v *supervisor) catchUp(c *conn, head zodb.Tid) error {
	if c.last <= head {
		return nil
	}
	var group []storage.Event
	publish := func() {
		v.publish(group...)
		v.missed += len(group)
		group = nil
	}
	err := v.transactions(c, head+1, c.last, func(t *storage.Txn) {
		if len(group) == maxGroup {
			publish()
		}
		group = append(group, storage.Event{Tid: t.Tid, Oids: slices.Clone(t.Oids)})
		head = t.Tid
		v.refused = 0 // it is a step forward
	})
	if err == nil && head < c.last { // the last one was packed away, and is a view all the same
		group = append(group, storage.Event{Tid: c.last})
	}
	publish() // also if the session ended on the way
	return err
}

// deliver publishes what the session tells, until c ends.
func (v *supervisor) deliver(c *conn) error {
	for {
		commits, err := c.next()
		if err != nil {
			return err
		}
		for _, t := range commits {
			switch head := v.Head(); {
			case t.tid > head:
			case t.tid > c.last: // it is new, and not what was served as of then
				return v.down(&storage.AnotherDatabaseError{Head: head, Why: fmt.Sprintf("it has a new transaction @%s before that", t.tid)})
			default:
				continue
			}
			if len(t.oids) == 0 {
				err := v.transactions(c, t.tid, t.tid, func(txn *storage.Txn) { t.oids = slices.Clone(txn.Oids) })
				if err != nil {
					return err
				}
			}
			v.publish(storage.Event{Tid: t.tid, Oids: t.oids})
		}
	}
}

// transactions is Session.Transactions, with what the session says checked. It ends the
// storage if sessions refuse it again and again.
func (v *supervisor) transactions(c *conn, from, to zodb.Tid, f func(*storage.Txn)) error {
	next := from
	err := c.session.Transactions(c.ctx, from, to, func(t *storage.Txn) error {
		if c.ctx.Err() != nil {
			return context.Cause(c.ctx)
		}
		if t.Tid < next || t.Tid > to {
			return fmt.Errorf("the server told of transaction @%s when it was asked for @%s..@%s", t.Tid, next, to)
		}
		f(t)
		next = t.Tid + 1
		return nil
	})
	if err == nil {
		return nil
	}
	err = fmt.Errorf("ask for transactions @%s..@%s: %w", from, to, err)
	if c.lost() {
		return err
	}
	if v.refused++; v.refused < maxRefused {
		return err
	}
	return v.down(&storage.HistoryLostError{Head: v.Head(), Why: "what was missed cannot be obtained: " + err.Error()})
}
