package fs1

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/fsformat"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// follower looks at the file in passes and publishes what was committed. It is
// one goroutine, and everything here belongs to it.
type follower struct {
	*Storage
	df     *dataFile // the same as Storage.cur
	notify *notifier

	// Troubles at present.
	tail    trouble // bytes at the end that are not a transaction
	damage  trouble // a transaction that cannot be right
	gone    trouble // nothing under the path
	failing trouble // the operating system reports errors
	swap    trouble // a file under the path that cannot be gone on with

	refused    fileState // of that file
	refusedErr error
}

// trouble is something that may pass by itself. It is told when it has lasted.
type trouble struct {
	what  string
	since time.Time
	told  bool
}

// lasts notes that the trouble is there. It returns true once, when the same
// has been there for longer than patience.
func (tr *trouble) lasts(now time.Time, patience time.Duration, what string) bool {
	if tr.what != what {
		*tr = trouble{what: what, since: now}
	}
	if tr.told || now.Sub(tr.since) <= patience {
		return false
	}
	tr.told = true
	return true
}

func (tr *trouble) clear() { *tr = trouble{} }

// run runs a pass at each wake-up, until Close or until the storage is down.
func (fo *follower) run() {
	defer close(fo.followed)
	defer fo.notify.close()
	ticker := time.NewTicker(fo.cfg.tick)
	defer ticker.Stop()
	// The first pass is for what was committed during the scan of Open.
	for down := fo.look(nil); !down; {
		select {
		case <-fo.ctx.Done():
			return
		case <-ticker.C:
			down = fo.look(nil)
		case ev := <-fo.notify.events:
			if fo.notify.concerns(ev) {
				down = fo.look(nil)
			}
		case <-fo.notify.errors: // events were lost
			down = fo.look(nil)
		case reply := <-fo.requests:
			down = fo.look(reply)
		}
	}
}

// look runs a pass and tells its result to those who asked for one, the first
// of whom may be given. It reports whether it was the last pass.
func (fo *follower) look(first chan error) (down bool) {
	waiters := fo.moreRequests(first)
	err := fo.pass()
	if fo.ctx.Err() != nil {
		err = storage.ErrClosed
	}
	down = fo.judge(err)
	for _, reply := range waiters {
		reply <- err
	}
	return down
}

// moreRequests returns first and those who already wait for a pass.
func (fo *follower) moreRequests(first chan error) (waiters []chan error) {
	if first != nil {
		waiters = append(waiters, first)
	}
	for {
		select {
		case reply := <-fo.requests:
			waiters = append(waiters, reply)
		default:
			return waiters
		}
	}
}

// judge reports whether err, the result of a pass, ended the storage.
func (fo *follower) judge(err error) (down bool) {
	var final *storage.DownError
	switch {
	case err == nil:
		fo.failing.clear()
		return false
	case errors.Is(err, storage.ErrClosed):
		return true
	case !errors.As(err, &final):
		if fo.failing.lasts(fo.cfg.now(), fo.cfg.patience, "fails") {
			fo.opt.Warn("%s: cannot follow: %s", fo.url, err)
		}
		return false
	}
	fo.mu.Lock()
	fo.down = final
	fo.mu.Unlock()
	fo.queue.End(final)
	return true
}

// pass makes everything visible that was committed before it. Its error is a
// *storage.DownError, or it may go away.
func (fo *follower) pass() error {
	// The path is looked at first: if it names another file, then the old one
	// has got all that it will ever get.
	fi, statErr := os.Stat(fo.path)
	if err := fo.drain(); err != nil {
		return err
	}
	if statErr != nil && !errors.Is(statErr, fs.ErrNotExist) {
		return fmt.Errorf("look for the file: %w", statErr)
	}
	if statErr != nil {
		if fo.gone.lasts(fo.cfg.now(), fo.cfg.patience, "gone") {
			fo.opt.Warn("%s: the file is gone from its place (%s): serving what it had", fo.url, statErr)
		}
		return nil
	}
	fo.gone.clear()
	if idOf(fi) == fo.df.id {
		fo.swap.clear()
		return nil
	}
	switched, err := fo.switchFile(fi)
	if err != nil || !switched {
		return err
	}
	return fo.drain()
}

// drain reads the open file to its end.
func (fo *follower) drain() error {
	size, err := fo.sizeUnchanged()
	if err != nil {
		return err
	}
	s := fsformat.NewScanner(fo.df.f, size)
	for {
		if err := fo.ctx.Err(); err != nil {
			return err
		}
		t, tl, err := s.Next(fo.df.end(), max(fo.df.last, fo.Head()))
		switch {
		case errors.Is(err, io.EOF):
			fo.tail.clear()
			fo.damage.clear()
			return nil
		case err == nil && tl == fsformat.NoTail:
			err = fo.take(s, &t)
		}
		if err != nil {
			return fo.doubt(err, s.Size)
		}
		if tl != fsformat.NoTail {
			return fo.wait(tl, s)
		}
	}
}

// sizeUnchanged returns the size of the open file, after a check that it still
// has what was served.
func (fo *follower) sizeUnchanged() (int64, error) {
	fi, err := fo.df.f.Stat()
	if err != nil {
		return 0, err
	}
	why, err := fo.df.checkUnchanged(fi.Size(), fo.Head())
	if err != nil {
		return 0, err
	}
	if why == nil {
		return fi.Size(), nil
	}
	down := &storage.DownError{Err: fmt.Errorf("%s: the file was rewritten in place: %w", fo.url, why)}
	cut := fi.Size() < fo.df.end()
	if cut {
		fo.df.truncate(fi.Size())
	}
	fo.mu.Lock()
	fo.df.lost, fo.df.cut = down, cut
	fo.mu.Unlock()
	return 0, down
}

// take publishes a finished transaction.
func (fo *follower) take(s *fsformat.Scanner, t *fsformat.Txn) error {
	entries, err := s.Records(t)
	if err != nil {
		return err
	}
	fo.tail.clear()
	fo.damage.clear()
	if err := fo.df.add(s, t, entries); err != nil {
		return &storage.DownError{Err: fmt.Errorf("%s: damaged: %w", fo.url, err)}
	}
	fo.publish(t.Tid, oidsOf(entries))
	return nil
}

// oidsOf returns the objects of entries, ascending and unique.
func oidsOf(entries []fsformat.Entry) []zodb.Oid {
	oids := make([]zodb.Oid, len(entries))
	for i, e := range entries {
		oids[i] = e.Oid
	}
	slices.Sort(oids)
	return slices.Clip(slices.Compact(oids))
}

// wait handles a tail that is not a finished transaction, at least not yet. A
// voted one may stay for as long as it likes.
func (fo *follower) wait(tl fsformat.Tail, s *fsformat.Scanner) error {
	fo.damage.clear()
	if tl == fsformat.VotedTail {
		fo.tail.clear()
		return nil
	}
	end := fo.df.end()
	if fo.tail.lasts(fo.cfg.now(), fo.cfg.patience, fmt.Sprintf("%d %d", end, s.Size)) {
		fo.opt.Warn("%s: the %d bytes behind position %d are not a transaction: serving what is in front of them, up to @%s",
			fo.url, s.Size-end, end, fo.Head())
	}
	return nil
}

// doubt handles an error of the scanner. Damage must last before it is
// believed, because some file systems show changes late and in parts.
func (fo *follower) doubt(err error, size int64) error {
	if !fsformat.IsDamage(err) {
		return err
	}
	if !fo.damage.lasts(fo.cfg.now(), fo.cfg.patience, fmt.Sprintf("%s %d", err, size)) {
		return nil
	}
	return &storage.DownError{Err: fmt.Errorf("%s: damaged: %w", fo.url, err)}
}
