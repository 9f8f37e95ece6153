package changes

import (
	"bytes"
	"context"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// advance makes s the file as of view at, given the objects that changed since
// the view it is of; those that do not concern s may be left out. It returns
// what that did to the file. After an error s is of no use.
func (s *state) advance(ctx context.Context, at zodb.Tid, oids []zodb.Oid) (*Change, error) {
	c := &Change{Tid: at, OldSize: s.size, Damage: s.damage()}
	if s.file != nil {
		c.BlkSize = s.file.BlkSize
	}
	hit, blks, err := s.match(ctx, at, oids)
	if err != nil {
		return nil, err
	}
	old := s.at
	s.at = at
	if hit.file || len(hit.nodes) > 0 {
		more, err := s.rebuild(ctx, c, old, hit)
		if err != nil {
			return nil, err
		}
		blks = append(blks, more...)
	} else if s.tangled {
		// The way to the last block may lead through nodes that are not walked.
		if err := s.measure(ctx); err != nil {
			return nil, err
		}
	}
	if hit.array&^c.Events != 0 { // not together with its file
		c.Events |= Metadata
	}
	s.finish(c, blks)
	return c, nil
}

// finish fills in what follows from the new view. Blocks were collected in
// numbers of the old block size, which matters only if it changed: then c has
// all blocks already.
func (s *state) finish(c *Change, blks []int64) {
	if c.Blocks == nil {
		c.setBlocks(rangesOf(blks))
	}
	c.NewSize = s.size
	if s.file != nil {
		c.BlkSize = s.file.BlkSize
	}
	if now := s.damage(); now != nil {
		if c.Damage == nil {
			c.Events |= Damaged
		}
		c.Damage = now
	}
}

// hits is what of a file some changed objects are.
type hits struct {
	file  bool                  // the ZBigFile
	nodes map[zodb.Oid]struct{} // of the table
	array Event                 // what became of the array: created, deleted or metadata
}

// match looks at the objects that changed on the way to view at. blks are the
// blocks whose ZBlk is among them.
func (s *state) match(ctx context.Context, at zodb.Tid, oids []zodb.Oid) (h hits, blks []int64, err error) {
	h.nodes = make(map[zodb.Oid]struct{})
	for _, oid := range oids {
		if _, ok := s.nodes[oid]; ok {
			h.nodes[oid] = struct{}{}
		}
		blks = s.links.of(oid, blks)
		h.file = h.file || oid == s.oid
		if oid != s.array || oid == 0 {
			continue
		}
		if h.array, err = s.matchArray(ctx, at); err != nil {
			return hits{}, nil, err
		}
	}
	return h, blks, nil
}

// matchArray compares the records of the array at views s.at and at. One that does
// not exist, or cannot be read, is as none.
func (s *state) matchArray(ctx context.Context, at zodb.Tid) (Event, error) {
	var data [2][]byte
	for i, view := range []zodb.Tid{s.at, at} {
		buf, _, err := s.loader.Load(ctx, zodb.Xid{At: view, Oid: s.array})
		switch {
		case err == nil:
			defer buf.Release()
			data[i] = buf.Data
		case !storage.IsNoData(err) && !damage(err):
			return 0, err
		}
	}
	switch {
	case bytes.Equal(data[0], data[1]):
		return 0, nil
	case data[0] == nil:
		return Created, nil
	case data[1] == nil:
		return Deleted, nil
	}
	return Metadata, nil
}

// rebuild brings the ZBigFile, the table and the size from view old to s.at. It
// returns the blocks that lead to something else than before; if the block size
// changed, it sets c.Blocks instead.
func (s *state) rebuild(ctx context.Context, c *Change, old zodb.Tid, h hits) (blks []int64, err error) {
	was, unread, root := s.file, s.fileErr != nil, zodb.InvalidOid
	if h.file {
		if s.file, s.fileErr, err = s.loadFile(ctx, s.at); err != nil {
			return nil, err
		}
	}
	if s.fileErr == nil && !unread {
		c.Events |= eventOf(was, s.file)
	}
	resized := was != nil && s.file != nil && was.BlkSize != s.file.BlkSize
	if s.file == nil || resized { // nothing of the old table stays
		blks = s.links.all()
		s.table = newTable()
	} else if was != nil {
		root = was.Table
	}
	if s.file != nil {
		w := newWalk(ctx, s, old, h.nodes)
		more, err := w.run(root, s.file.Table, span(s.file))
		if err != nil {
			return nil, err
		}
		if resized {
			c.setBlocks(append(rescale(rangesOf(blks), was.BlkSize, s.file.BlkSize), rangesOf(more)...))
			blks = nil
		}
		blks = append(blks, more...)
	}
	return blks, s.measure(ctx)
}

// eventOf says what happened to the ZBigFile.
func eventOf(was, is *bigfile.File) Event {
	switch {
	case was == nil && is != nil:
		return Created
	case was != nil && is == nil:
		return Deleted
	case was != nil && *was != *is:
		return Recreated
	}
	return 0
}
