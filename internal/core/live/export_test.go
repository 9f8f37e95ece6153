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
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.reads), len(f.stores), f.loads.Len()
}

// Parked returns how many bytes count as kept by READs that wait for clients.
func (h *Head) Parked() int64 { return h.counts.parked.Load() }

// Floor returns from when on revisions are told exactly.
func (h *Head) Floor() zodb.Tid { return h.revs.Floor() }

// Waiters returns how many wait for a view.
func (h *Head) Waiters() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.waiters)
}

// MapsPast reports whether the client maps a block from a past view.
func (w *Watch) MapsPast(blk int64) bool {
	w.file.mu.Lock()
	defer w.file.mu.Unlock()
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

// Shown returns the size that the kernel is told.
func (f *File) Shown() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.shown
}

// View returns what f is a view of.
func (f *File) View() zodb.Tid {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.served().View
}

// Served returns how many blocks are served.
func (f *File) Served() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.served().Len()
}

// IsServed reports whether a block is served.
func (f *File) IsServed(blk int64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.served().Has(blk)
}

// FirstSeed is the flag of all random tests.
var FirstSeed = firstSeed
