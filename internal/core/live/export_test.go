package live

import (
	"context"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// Evict drops one block, as the evictor does when too many are served.
func (f *File) Evict(blk int64) bool { return f.evict(blk) }

// EvictSome drops what the evictor finds coldest in one round.
func (h *Head) EvictSome() bool { return h.evictor.evictOnce() }

// Busy returns how much is registered or in memory.
func (f *File) Busy() (reads, stores, loads int) {
	f.Lock()
	defer f.Unlock()
	return len(f.reads), len(f.stores), f.loads.Len()
}

// Parked returns how many bytes count as kept by READs that wait for clients.
func (h *Head) Parked() int64 { return h.counts.parked.Load() }

// Floor returns from when on revisions are told exactly.
func (h *Head) Floor() zodb.Tid { return h.history.Floor() }

// Waiters returns how many wait for a view.
func (h *Head) Waiters() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.waiters)
}

// MapsPast reports whether the client maps a block from a past view.
func (w *Watch) MapsPast(blk int64) bool {
	w.file.Lock()
	defer w.file.Unlock()
	return !w.mayMapHead(blk)
}

// PreservedFor returns all that is preserved and has the revision of a view.
func (h *Head) PreservedFor(ctx context.Context, oid zodb.Oid, at zodb.Tid) map[int64]*storage.Buf {
	blocks := make(map[int64]*storage.Buf)
	if h.preserved.Settle(ctx, oid, at) != nil {
		return nil
	}
	for seq := uint64(0); ; {
		blk, buf, next := h.preserved.Next(oid, at, seq)
		if buf == nil {
			return blocks
		}
		blocks[blk], seq = buf, next
	}
}

// Shown returns the size that the kernel is told. Requires: lock of the file.
func (f *File) Shown() int64 { return f.shown }
