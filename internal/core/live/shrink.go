package live

import (
	"context"
	"fmt"
	"math"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// A file becomes shorter when the append of somebody is undone. Clients that watch
// an older view still have data there: what they map from head/ behind the new end
// would give SIGBUS, without a READ that could pin it. So they pin all of what the
// file loses: those that watch it when it happens are told before the switch, others
// in the setup of their watch.

const (
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

// lost returns the blocks from a new end on.
func (f *File) lost(size int64) (blks []int64) {
	f.mu.MustHold()
	blksize := f.served().Obj.BlkSize
	from, to := size/blksize, f.served().Size/blksize
	if to-from > maxCut {
		return f.served().In(from, math.MaxInt64, maxCut)
	}
	for blk := from; blk < to; blk++ {
		blks = append(blks, blk)
	}
	return blks
}
