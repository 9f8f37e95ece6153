package fs1

import (
	"context"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/fsformat"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// rebuild is the one replacement of a saved index that turned out wrong.
type rebuild struct {
	done chan struct{} // closed when it is over
	err  error         // its result, valid after done
}

// reindex replaces the index of df by one made from the data. Any number of
// callers share one scan, which goes on when they leave.
func (s *Storage) reindex(ctx context.Context, df *dataFile, why error) error {
	r, first := df.startRebuild()
	if first {
		started := s.start(func() {
			defer close(r.done)
			s.opt.Warn("%s: the saved index is wrong (%s); scanning the file for a new one", s.url, why)
			r.err = df.rebuildIndex(s.ctx)
			if s.ctx.Err() != nil {
				r.err = storage.ErrClosed
			}
		})
		if !started {
			r.err = storage.ErrClosed
			close(r.done)
		}
	}
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (df *dataFile) startRebuild() (r *rebuild, first bool) {
	df.mu.Lock()
	defer df.mu.Unlock()
	if df.rebuild == nil {
		df.rebuild = &rebuild{done: make(chan struct{})}
		first = true
	}
	return df.rebuild, first
}

// rebuildIndex scans up to where df is, again and again while the follower
// moves on, and swaps the index when it has caught up. For damaged objects the
// index that there was is asked.
func (df *dataFile) rebuildIndex(ctx context.Context) error {
	b := builder{index: fsformat.NewIndex(), max: zodb.TidMax}
	for !df.swapIndex(&b) {
		end := df.end()
		s := fsformat.NewScanner(df.f, end)
		for done := false; !done; {
			var err error
			if done, err = b.step(ctx, s); err != nil {
				return err
			}
		}
		if b.index.TopPos < end {
			return fsformat.DamagedTxn(b.index.TopPos, "it was finished, and is not any more")
		}
	}
	return nil
}

// swapIndex makes what b has that of df if it covers as much.
func (df *dataFile) swapIndex(b *builder) bool {
	df.mu.Lock()
	defer df.mu.Unlock()
	if b.index.TopPos != df.index.TopPos {
		return false
	}
	b.resolve(b.index, df.index)
	df.index, df.damage, df.scanned = b.index, b.damages, true
	return true
}
