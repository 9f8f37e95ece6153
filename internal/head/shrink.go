package head

import (
	"context"
	"errors"
	"fmt"
	"time"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/bigfile"
	"github.com/wcfs/wcfs/internal/storage"
)

// A file becomes shorter when the append of somebody is undone. Clients that watch
// an older view still have data there: what they map from head/ behind the new end
// would give SIGBUS, without a READ that could pin it. So they pin all of what the
// file loses: those that watch it when it happens are told before the switch, others
// in the setup of their watch.

const (
	// cutPatience is how long a commit waits for clients to pin what the file
	// loses. A client that is slower may get SIGBUS where it touches that first.
	cutPatience = 500 * time.Millisecond

	// maxCut bounds the blocks that a commit has pinned for that reason. Of a larger
	// part it is those that somebody has read.
	maxCut = 1 << 12

	// maxCutSetup is the same bound for the setup of a watch, which waits longer.
	// Without all of them the client would see zeros there.
	maxCutSetup = 1 << 16
)

// TooLongError refuses a watch at a view at which the file was much longer.
type TooLongError struct {
	At   zodb.Tid
	Lost int64 // blocks
}

func (e *TooLongError) Error() string {
	return fmt.Sprintf("the array was longer by %d blocks then, and at most %d can be pinned; read @%s/ without a watch", e.Lost, maxCutSetup, e.At)
}

// endAt returns the size of f as of a view, in blocks. A file that cannot be read
// there has none.
func (f *File) endAt(ctx context.Context, at zodb.Tid) (int64, error) {
	obj, _, err := f.head.objs.File(ctx, zodb.Xid{At: at, Oid: f.Oid})
	if storage.IsNoData(err) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("look at @%s: %w", at, err)
	}
	size, _, err := bigfile.Size(ctx, f.head.objs, obj, at)
	if err != nil {
		return 0, fmt.Errorf("size @%s: %w", at, err)
	}
	return size / obj.BlkSize, nil
}

// cut is the blocks that a file loses, as watched at some view.
type cut struct {
	watch *Watch
	at    zodb.Tid
	blk   int64
}

// pinCut has watchers pin what files lose, and waits for that a little: for all of
// them together not longer than cutPatience.
func (t *transaction) pinCut(ctx context.Context, changes []*change) {
	cuts := make(map[*File][]cut)
	for _, c := range changes {
		if lost := c.cuts(); len(lost) > 0 {
			t.pinCuts(ctx, c.file, lost)
			cuts[c.file] = lost
		}
	}
	waiting, cancel := context.WithTimeout(ctx, cutPatience)
	defer cancel()
	for f, lost := range cuts {
		_ = f.await(waiting, func() bool { return f.areCut(lost) })
	}
}

// cuts lists what has to be pinned. From here until the switch no watch is set up.
func (c *change) cuts() (all []cut) {
	f := c.file
	f.Lock()
	defer f.Unlock()
	if c.delta == nil || c.whole || c.delta.Size >= f.Size() {
		return nil
	}
	f.cutting = true
	if len(f.watches) == 0 {
		return nil
	}
	for _, blk := range f.lost(c.delta.Size) {
		for w := range f.watches {
			if w.mayMapHead(blk) {
				all = append(all, cut{w, w.at, blk})
			}
		}
	}
	return all
}

// lost returns the blocks from a new end on. Requires: lock.
func (f *File) lost(size int64) (blks []int64) {
	blksize := f.Obj().BlkSize
	from, to := size/blksize, f.Size()/blksize
	if to-from > maxCut {
		return f.ServedFrom(from, maxCut)
	}
	for blk := from; blk < to; blk++ {
		blks = append(blks, blk)
	}
	return blks
}

// pinCuts makes the revisions of the views of watches what their clients should map.
// A watch of a view that was packed away is lost. A block whose revision cannot be
// found for another reason cannot be read by the client anyway.
func (t *transaction) pinCuts(ctx context.Context, f *File, cuts []cut) {
	for _, c := range cuts {
		rev, err := f.PinRev(ctx, c.blk, c.at)
		if ctx.Err() != nil {
			return
		}
		if packed := (*storage.PackedError)(nil); errors.As(err, &packed) {
			c.watch.lose(c.blk, c.at, err)
			continue
		}
		if err != nil {
			t.head.cfg.Warnf("transaction @%s: pin block #%d of %s, which the file loses: %s", t.tid, c.blk, f.Oid, err)
			continue
		}
		f.Lock()
		if !c.watch.removed && c.watch.at == c.at {
			c.watch.need(c.blk, rev)
		}
		f.Unlock()
	}
}

// areCut reports whether no client maps what the file loses. Requires: lock.
func (f *File) areCut(cuts []cut) bool {
	for _, c := range cuts {
		if !c.watch.removed && c.watch.established && c.watch.at == c.at && c.watch.mayMapHead(c.blk) {
			return false
		}
	}
	return true
}
