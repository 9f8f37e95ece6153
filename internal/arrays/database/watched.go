package database

import (
	"bytes"
	"context"
	"io"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/serve/terminal"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// Watched is a storage whose loads move a progress bar.
type Watched struct {
	storage.Storage
	Bar *terminal.Progress
}

// Load implements storage.Loader.
func (w Watched) Load(ctx context.Context, xid zodb.Xid) (*storage.Buf, zodb.Tid, error) {
	buf, serial, err := w.Storage.Load(ctx, xid)
	if err == nil {
		w.Bar.Add(int64(len(buf.Data)))
	}
	return buf, serial, err
}

// LoadsMany says whether the storage can load many objects at once: see storage.Many.
func (w Watched) LoadsMany() bool {
	_, ok := storage.Many(w.Storage)
	return ok
}

// LoadMany implements storage.ManyLoader.
func (w Watched) LoadMany(ctx context.Context, xids []zodb.Xid) []storage.Loaded {
	all := storage.LoadMany(ctx, w.Storage, xids)
	for _, got := range all {
		if got.Err == nil {
			w.Bar.Add(int64(len(got.Buf.Data)))
		}
	}
	return all
}

// Stream implements storage.Streamer, by a load if the storage does not.
func (w Watched) Stream(ctx context.Context, xid zodb.Xid, f func(io.Reader) error) (zodb.Tid, error) {
	if s, ok := w.Storage.(storage.Streamer); ok {
		return s.Stream(ctx, xid, func(r io.Reader) error { return f(io.TeeReader(r, counter{w.Bar})) })
	}
	buf, serial, err := w.Load(ctx, xid)
	if err != nil {
		return 0, err
	}
	defer buf.Release()
	return serial, f(bytes.NewReader(buf.Data))
}

// counter moves a progress bar by what is written to it.
type counter struct{ bar *terminal.Progress }

func (c counter) Write(p []byte) (int, error) {
	c.bar.Add(int64(len(p)))
	return len(p), nil
}

// Serial implements storage.Serialer, by loads if the storage does not.
func (w Watched) Serial(ctx context.Context, xid zodb.Xid) (zodb.Tid, error) {
	if s, ok := w.Storage.(storage.Serialer); ok {
		w.Bar.Add(0)
		return s.Serial(ctx, xid)
	}
	buf, serial, err := w.Load(ctx, xid)
	if err == nil {
		buf.Release()
	}
	return serial, err
}

// WatchedHistory is a History whose transactions and loads move a progress bar.
type WatchedHistory struct {
	Watched
	past storage.Iterator
}

// Watch returns db with a progress bar.
func Watch(db History, bar *terminal.Progress) WatchedHistory {
	return WatchedHistory{Watched{db, bar}, db}
}

// Iterate implements storage.Iterator.
func (w WatchedHistory) Iterate(ctx context.Context, lo, hi zodb.Tid, f func(*storage.Txn) error) error {
	return w.past.Iterate(ctx, lo, hi, func(txn *storage.Txn) error {
		w.Bar.Add(0)
		return f(txn)
	})
}
