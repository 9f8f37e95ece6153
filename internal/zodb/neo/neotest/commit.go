package neotest

import (
	"context"
	"fmt"
	"slices"
	"time"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/fs1"
	"github.com/wcfs/wcfs/internal/zodb/neoproto"
	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/internal/zodb/storage/storagetest"
)

// Commit is a commit on its way.
type Commit struct {
	c *Cluster
	t *txn
}

// Lock begins a commit: storages have it and hold back what depends on it. It panics if
// the tid is not above the ones before.
func (c *Cluster) Lock(t storagetest.Txn) *Commit {
	c.mu.Lock()
	defer c.mu.Unlock()
	commit := &Commit{c, c.db.add(t)}
	for _, n := range c.Storages {
		n.locks[t.Tid] = commit.t
	}
	return commit
}

// Tell tells the clients, for whom it is the last transaction from now on.
func (p *Commit) Tell() {
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	if !p.c.mute {
		p.c.broadcast(&neoproto.Commit{Tid: p.t.tid, Oids: p.t.kept})
	}
	p.c.last = p.t.tid
}

// Unlock ends the commit, at one storage after the other.
func (p *Commit) Unlock() {
	for _, n := range p.c.Storages {
		p.UnlockAt(n)
		p.c.sleep()
	}
}

// UnlockAt ends the commit at one storage.
func (p *Commit) UnlockAt(n *Node) {
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	delete(n.locks, p.t.tid)
	p.c.retry()
}

// Commit commits a transaction as another client would.
func (c *Cluster) Commit(t storagetest.Txn) {
	p := c.Lock(t)
	c.sleep()
	p.Tell()
	c.sleep()
	p.Unlock()
}

// sleep lasts as long as one step of a commit.
func (c *Cluster) sleep() {
	c.mu.Lock()
	pause := c.pause()
	c.mu.Unlock()
	time.Sleep(pause)
}

// Truncate goes back to a transaction. All clients are sent away meanwhile.
func (c *Cluster) Truncate(tid zodb.Tid) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.db.truncate(tid)
	c.last = c.db.last()
	c.dismiss()
}

// Replace puts another database in the place of this one. All clients are sent away.
func (c *Cluster) Replace(txns ...storagetest.Txn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.db = newDatabase()
	for _, t := range txns {
		c.db.add(t)
	}
	c.last = c.db.last()
	c.dismiss()
}

// dismiss ends the connections of all clients. c.mu must be held.
func (c *Cluster) dismiss() {
	for k := range c.clients {
		k.end()
	}
}

// Fill commits the transactions of a FileStorage, with their tids.
func (c *Cluster) Fill(path string) error {
	txns, err := Transactions(path)
	for _, t := range txns {
		c.Commit(t)
	}
	return err
}

// Transactions returns those of a FileStorage. Records that share the data of older ones
// have it again.
func Transactions(path string) (txns []storagetest.Txn, err error) {
	ctx := context.Background()
	u, err := storage.ParseURL("file://" + path)
	if err != nil {
		return nil, err
	}
	file, head, err := fs1.Open(ctx, u, storage.Options{})
	if err != nil {
		return nil, err
	}
	defer file.Close()
	err = file.(storage.Iterator).Iterate(ctx, 0, head, func(t *storage.Txn) error {
		txn := storagetest.Txn{
			Tid: t.Tid, User: slices.Clone(t.User), Description: slices.Clone(t.Description), Extension: slices.Clone(t.Extension),
		}
		for _, oid := range t.Oids {
			buf, serial, err := file.Load(ctx, zodb.Xid{At: t.Tid, Oid: oid})
			record := storagetest.Record{Oid: oid}
			switch {
			case err == nil && serial == t.Tid:
				record.Data = slices.Clone(buf.Data)
				buf.Release()
			case err == nil:
				buf.Release()
				return fmt.Errorf("object %s has no record of transaction @%s", oid, t.Tid)
			case !storage.IsNoData(err):
				return err
			}
			txn.Records = append(txn.Records, record)
		}
		txns = append(txns, txn)
		return nil
	})
	return txns, err
}
