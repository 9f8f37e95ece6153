package bigfile

import (
	"context"
	"errors"
	"fmt"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// Place is where a block is: in the object ZBlk as of view At, unless Block or Err says
// that there is nothing to load.
type Place struct {
	Block   *Block // a hole, or content that was there already
	Err     error  // of the look for the place
	ZBlk    zodb.Oid
	At      zodb.Tid
	BlkSize int64
}

func (p *Place) xid() zodb.Xid { return zodb.Xid{At: p.At, Oid: p.ZBlk} }

// Load loads the block as LoadBlock does.
func (p *Place) Load(ctx context.Context, loader storage.Loader) (*Block, error) {
	if p.Block != nil || p.Err != nil {
		return p.Block, p.Err
	}
	var got storage.Loaded
	got.Buf, got.Serial, got.Err = loader.Load(ctx, p.xid())
	b := p.begin(loader, got)
	if b.Rest != nil {
		return b.Rest(ctx)
	}
	return b.Value, b.Err
}

// BeginBlocks loads the ZBlk objects of blocks together. For chunks of a ZBlk1 there is a
// Rest.
func BeginBlocks(ctx context.Context, loader storage.Loader, places []Place) []Begun[*Block] {
	begun := make([]Begun[*Block], len(places))
	var xids []zodb.Xid
	var of []int // index of each in places
	for i := range places {
		if p := &places[i]; p.Block != nil || p.Err != nil {
			begun[i] = Begun[*Block]{Value: p.Block, Err: p.Err}
			continue
		}
		xids, of = append(xids, places[i].xid()), append(of, i)
	}
	for k, got := range storage.LoadMany(ctx, loader, xids) {
		begun[of[k]] = places[of[k]].begin(loader, got)
	}
	return begun
}

// begin takes what was loaded of the ZBlk object.
func (p *Place) begin(loader storage.Loader, got storage.Loaded) Begun[*Block] {
	got = referred(p.xid(), got)
	if got.Err != nil {
		return Begun[*Block]{Err: fmt.Errorf("load block %s: %w", p.ZBlk, got.Err)}
	}
	state, err := decodeBlock(got.Buf.Data)
	if err == nil && int64(len(state.data)) > p.BlkSize {
		err = errTooLong(int64(len(state.data)), p.BlkSize)
	}
	if err != nil {
		got.Buf.Release()
		return Begun[*Block]{Err: &storage.CorruptError{Oid: p.ZBlk, Tid: got.Serial, Err: err}}
	}
	if !state.chunked {
		return Begun[*Block]{Value: &Block{Data: trim(state.data), Serial: got.Serial, buf: got.Buf}}
	}
	got.Buf.Release()
	at := *p
	return Begun[*Block]{Rest: func(ctx context.Context) (*Block, error) {
		return at.loadRest(ctx, loader, state.chunks, got.Serial)
	}}
}

// loadRest loads the chunks of a ZBlk1.
func (p *Place) loadRest(ctx context.Context, loader storage.Loader, table zodb.Oid, serial zodb.Tid) (*Block, error) {
	data, err := loadChunks(ctx, loader, table, p.At, p.BlkSize)
	var bad badChunks
	if errors.As(err, &bad) {
		return nil, &storage.CorruptError{Oid: p.ZBlk, Tid: serial, Err: err}
	}
	if err != nil {
		return nil, fmt.Errorf("load block %s: %w", p.ZBlk, err)
	}
	return NewBlock(data, serial), nil
}
