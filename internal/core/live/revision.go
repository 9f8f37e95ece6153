package live

import (
	"context"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/core/versions"
)

// known returns the revision of a block as of view at if that needs no loads.
func (f *File) known(blk int64, at zodb.Tid) (rev versions.Rev, ok bool) {
	complete := f.head.objs.Packs().Complete
	if at < complete {
		return versions.Rev{}, false // what is left of that view has to be looked up
	}
	rev, ok = f.served().Known(blk, at)
	return rev.Above(complete, at), ok
}

// BlkRevAt returns the revision of a block as of view at, at which the file must exist:
// what is known of it, or what versions.Revisions.At finds.
func (f *File) BlkRevAt(ctx context.Context, blk int64, at zodb.Tid) (versions.Rev, error) {
	for {
		complete := f.head.objs.Packs().Complete
		f.mu.Lock()
		rev, ok := f.known(blk, at)
		since, unchanged := f.served().Unchanged(blk, at)
		f.mu.Unlock()
		if ok {
			return rev, nil
		}
		view := at
		if unchanged && at >= complete {
			view = max(since, complete) // nothing changed in between, else it would be known
		}
		rev, err := f.head.revs.At(ctx, f.data, blk, view)
		if f.head.objs.Packs().Complete != complete && ctx.Err() == nil {
			continue // packed meanwhile
		}
		if err == nil && unchanged {
			f.mu.Lock()
			f.served().Learn(blk, since, rev)
			f.mu.Unlock()
		}
		return rev, err
	}
}

// pinRev returns from which view a block has to be mapped to be seen as of view at. It is
// the revision of the block, or after a pack that pack: it is this view that the next
// pack leaves alone for a while.
func (f *File) pinRev(ctx context.Context, blk int64, at zodb.Tid) (zodb.Tid, error) {
	rev, err := f.BlkRevAt(ctx, blk, at)
	return rev.Above(f.head.objs.Packs().Newest, at).Tid, err
}

// changedAt returns the revision of a block at the newest view. Where damage hides it the
// block counts as changed there: every client pins it.
func (f *File) changedAt(ctx context.Context, blk int64, view zodb.Tid) (zodb.Tid, error) {
	rev, err := f.BlkRevAt(ctx, blk, view)
	if f.isDamaged(err, view) {
		return view, nil
	}
	return rev.Tid, err
}

// pinAt is pinRev for a client that watches view at. A block that is damaged there is
// pinned to the view itself: the client gets EIO if it looks, and nobody else does.
func (f *File) pinAt(ctx context.Context, blk int64, at zodb.Tid) (zodb.Tid, error) {
	rev, err := f.pinRev(ctx, blk, at)
	if f.isDamaged(err, at) {
		return at, nil
	}
	return rev, err
}
