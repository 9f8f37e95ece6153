package fsck

import (
	"errors"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/arrays/changes"
	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/btree"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// past looks at the blocks of a file as of each transaction that changed them, up to
// the one in front of the view that was looked at already.
func (c *check) past(oid zodb.Oid, head zodb.Tid) error {
	db, ok := c.store.(changes.Database)
	if !ok {
		return nil
	}
	if c.Packed > 0 && c.Packed < head {
		if err := c.file(oid, c.Packed); err != nil {
			return err
		}
	}
	err := changes.Log(c.ctx, db, 0, oid, c.Packed, head, func(ch *changes.Change) error { return c.change(oid, ch) })
	var damage *storage.CorruptError
	if errors.As(err, &damage) {
		return c.unreadable(oid, head, err, -1, -1, "which revisions its blocks have is not known, so they were not looked at")
	}
	return err
}

// change looks at the blocks that a transaction changed.
func (c *check) change(oid zodb.Oid, ch *changes.Change) error {
	if ch.Damage != nil {
		if err := c.unreadable(oid, ch.Tid, ch.Damage, -1, -1, "EIO for who reads what is below as of this view"); err != nil {
			return err
		}
	}
	f, _, err := bigfile.Direct{Direct: btree.Direct{Loader: c.store}}.File(c.ctx, zodb.Xid{At: ch.Tid, Oid: oid})
	if storage.IsNoData(err) {
		return nil
	}
	if err != nil {
		return c.unreadable(oid, ch.Tid, err, -1, -1, "the file cannot be read")
	}
	w := &walk{check: c, oid: oid, file: f, at: ch.Tid}
	for _, r := range ch.Blocks {
		if err := w.node(f.Table, r.Lo, r.Hi, 0); err != nil {
			return err
		}
	}
	return nil
}
