package fs1

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/storage"
)

// follower looks at the file in passes and publishes what was committed. It is
// one goroutine, and everything here belongs to it.
type follower struct {
	*Storage
	df     *dataFile // the same as Storage.cur
	notify *notifier

	// What is wrong at present.
	tail    trouble // bytes at the end that are not a transaction
	damage  trouble // a transaction that cannot be right
	gone    trouble // nothing under the path
	failing trouble // the operating system reports errors
	swap    trouble // a file under the path that cannot be gone on with

	refused    fileID // that file
	refusedLen int64
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
	s := newScanner(fo.df.f, size)
	for {
		if err := fo.ctx.Err(); err != nil {
			return err
		}
		t, tl, err := s.next(fo.df.end(), max(fo.df.last, fo.Head()))
		switch {
		case errors.Is(err, io.EOF):
			fo.tail.clear()
			fo.damage.clear()
			return nil
		case err == nil && tl == tailNone:
			err = fo.take(s, &t)
		}
		if err != nil {
			return fo.doubt(err, s.size)
		}
		if tl != tailNone {
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
	if err := fo.df.checkUnchanged(fi.Size()); err != nil {
		return 0, &storage.DownError{Err: fmt.Errorf("%s: %w", fo.url, err)}
	}
	return fi.Size(), nil
}

// take publishes a finished transaction.
func (fo *follower) take(s *scanner, t *txn) error {
	entries, err := s.records(t)
	if err != nil {
		return err
	}
	fo.tail.clear()
	fo.damage.clear()
	fo.df.add(t, entries)
	fo.publish(t.tid, oidsOf(entries))
	return nil
}

// oidsOf returns the objects of entries, ascending and unique.
func oidsOf(entries []entry) []zodb.Oid {
	oids := make([]zodb.Oid, len(entries))
	for i, e := range entries {
		oids[i] = e.oid
	}
	slices.Sort(oids)
	return slices.Clip(slices.Compact(oids))
}

// wait handles a tail that is not a finished transaction, at least not yet. A
// voted one may stay for as long as it likes.
func (fo *follower) wait(tl tail, s *scanner) error {
	fo.damage.clear()
	if tl == tailVoted {
		fo.tail.clear()
		return nil
	}
	end := fo.df.end()
	if fo.tail.lasts(fo.cfg.now(), fo.cfg.patience, fmt.Sprintf("%d %d", end, s.size)) {
		fo.opt.Warn("%s: the %d bytes behind position %d are not a transaction: serving what is in front of them, up to @%s",
			fo.url, s.size-end, end, fo.Head())
	}
	return nil
}

// doubt handles an error of the scanner. Damage must last before it is
// believed, because some file systems show changes late and in parts.
func (fo *follower) doubt(err error, size int64) error {
	var damage *damageError
	if !errors.As(err, &damage) {
		return err
	}
	if !fo.damage.lasts(fo.cfg.now(), fo.cfg.patience, fmt.Sprintf("%s %d", err, size)) {
		return nil
	}
	return &storage.DownError{Err: fmt.Errorf("%s: damaged: %w", fo.url, err)}
}

// switchFile goes on with the file that has taken the place of the open one.
// It reports false when that is not possible yet.
func (fo *follower) switchFile(fi os.FileInfo) (bool, error) {
	df, err := fo.openSuccessor(fi)
	if fo.ctx.Err() != nil {
		if df != nil {
			df.f.Close()
		}
		return false, fo.ctx.Err()
	}
	if err != nil {
		what := fmt.Sprintf("%v %d %s", idOf(fi), fi.Size(), err)
		if fo.swap.lasts(fo.cfg.now(), fo.cfg.patience, what) {
			return false, &storage.DownError{Err: fmt.Errorf("%s: the file was replaced: %w", fo.url, err)}
		}
		return false, nil
	}
	fo.swap.clear()
	fo.replace(df)
	fo.notify.renew()
	return true, nil
}

// replace makes df the file to serve and keeps the previous one for old views.
func (fo *follower) replace(df *dataFile) {
	fo.df = df
	fo.mu.Lock()
	retired := fo.old
	if retired != nil {
		fo.packedAt = fo.switchAt
	}
	fo.old, fo.cur, fo.switchAt = fo.cur, df, fo.head
	fo.mu.Unlock()
	if retired != nil {
		retired.f.Close() // loads that use it find out and start again
	}
}

// openSuccessor opens the file under the path, and indexes it up to the head,
// if it continues the history of the open one.
func (fo *follower) openSuccessor(fi os.FileInfo) (*dataFile, error) {
	if idOf(fi) == fo.refused && fi.Size() == fo.refusedLen {
		return nil, fo.refusedErr
	}
	df, err := openSuccessor(fo.ctx, fo.path, fo.df, fo.Head())
	if err != nil {
		fo.refused, fo.refusedLen, fo.refusedErr = idOf(fi), fi.Size(), err
	}
	return df, err
}

func openSuccessor(ctx context.Context, path string, prev *dataFile, head zodb.Tid) (_ *dataFile, err error) {
	f, fi, err := openFile(path)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	df := newDataFile(f, fi)
	if err := df.extend(ctx, head, nil); err != nil {
		return nil, err
	}
	if df.last != head && !droppedByPack(ctx, prev, df) {
		return nil, fmt.Errorf("the database went back: the new file has nothing of @%s, which was served; before that it ends @%s", head, df.last)
	}
	if head == 0 {
		return df, nil // nothing that was served can be missing
	}
	// What comes next was committed after the pack, unless there was another.
	if t, _, err := newScanner(f, fi.Size()).next(df.end(), head); err == nil && t.status == statusPacked {
		return nil, fmt.Errorf("history was lost: the database was packed twice before this was noticed, and transactions after @%s may be gone", head)
	}
	return df, nil
}

// droppedByPack reports whether it was a pack that left the last transactions
// of prev out of df. A pack does so if all that they wrote was unreachable: then
// df does not know any of these objects, and has what is in front of them.
func droppedByPack(ctx context.Context, prev, df *dataFile) bool {
	end := prev.end()
	s := newScanner(prev.f, end)
	for end > firstTxnPos && ctx.Err() == nil {
		t, err := s.before(end)
		if err != nil || t.tid <= df.last {
			return err == nil && t.tid == df.last
		}
		entries, err := s.records(&t)
		if err != nil {
			return false
		}
		for _, e := range entries {
			if _, _, ok := df.lookup(e.oid); ok {
				return false
			}
		}
		end = t.pos
	}
	return false
}
