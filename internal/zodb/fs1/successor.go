package fs1

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/fault"
	"github.com/wcfs/wcfs/internal/zodb/fsformat"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// fileState tells a file, and roughly its content, apart from others.
type fileState struct {
	id    fileID
	size  int64
	mtime time.Time
}

func stateOf(fi os.FileInfo) fileState { return fileState{idOf(fi), fi.Size(), fi.ModTime()} }

// switchFile goes on with the file that has taken the place of the open one.
// It reports false when that is not possible yet. A refusal of the operating
// system says nothing about the file, and the call is tried again for as long
// as it takes.
func (fo *follower) switchFile(fi os.FileInfo) (bool, error) {
	df, err := fo.openSuccessor(fi)
	if fo.ctx.Err() != nil {
		if df != nil {
			_ = df.f.Close()
		}
		return false, fo.ctx.Err()
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil // it is between two renames
	case err != nil && !isJudgement(err):
		return false, fmt.Errorf("go on with the file that replaced the open one: %w", err)
	case err != nil:
		what := fmt.Sprintf("%v %s", stateOf(fi), err)
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

// isJudgement reports whether err, with which a file could not be gone on with, is
// about what is in it.
func isJudgement(err error) bool {
	var (
		file    *fileError
		lost    *storage.HistoryLostError
		back    *storage.WentBackError
		another *storage.AnotherDatabaseError
	)
	return fsformat.IsDamage(err) || errors.As(err, &lost) || errors.As(err, &back) || errors.As(err, &another) ||
		errors.As(err, &file) && file.reason == fault.NotADatabase
}

// openSuccessor opens the file under the path, and indexes it up to the head,
// if it continues the history of the open one. A file that was judged is not
// looked at again as long as it stays as it is.
func (fo *follower) openSuccessor(fi os.FileInfo) (*dataFile, error) {
	if fo.refusedErr != nil && stateOf(fi) == fo.refused {
		return nil, fo.refusedErr
	}
	df, err := openSuccessor(fo.ctx, fo.path, fo.df, fo.Head())
	fo.refusedErr = nil
	if err != nil && isJudgement(err) {
		fo.refused, fo.refusedErr = stateOf(fi), err
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
			_ = f.Close()
		}
	}()
	df := newDataFile(f, fi)
	if err := df.extend(ctx, head, nil, nil); err != nil {
		return nil, err
	}
	if head == 0 {
		return df, nil // nothing that was served can be missing
	}
	if err := checkContinues(ctx, prev, df, fi.Size(), head); err != nil {
		return nil, err
	}
	return df, nil
}

// checkContinues checks that df, of size bytes, has what was served up to head, and
// that all that comes after it is there.
func checkContinues(ctx context.Context, prev, df *dataFile, size int64, head zodb.Tid) error {
	common, err := lastCommon(ctx, prev, df)
	if err != nil {
		return err
	}
	t, tl, err := fsformat.NewScanner(df.f, size).Next(df.end(), head)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	more := err == nil && tl == fsformat.NoTail
	switch {
	case common == nil && more:
		return &storage.AnotherDatabaseError{Head: head,
			Why: fmt.Sprintf("it has transactions @%s and @%s, and between them nothing of @%s", df.last, t.Tid, head)}
	case common == nil:
		return &storage.WentBackError{Head: head, Last: df.last}
	// The next transaction was committed after the pack, unless there was
	// another.
	case more && t.Status == fsformat.StatusPacked:
		return &storage.HistoryLostError{Head: head, Why: "the database was packed twice before this was noticed"}
	}
	return compareTxn(ctx, prev, df, common, head)
}

// lastCommon returns the last transaction of prev that is in df too, with which df
// must end. It is nil if there are others after it that df should have. A pack leaves
// the last transactions out if all that they wrote was unreachable: then df does not
// know any of these objects, and has what is in front of them as a pack wrote it.
func lastCommon(ctx context.Context, prev, df *dataFile) (*fsformat.Txn, error) {
	end := prev.end()
	s := fsformat.NewScanner(prev.f, end)
	for end > fsformat.FirstTxnPos {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		t, err := s.Before(end)
		switch {
		case err != nil:
			return nil, err
		case t.Tid == df.last:
			return &t, nil
		case t.Tid < df.last || df.packed != df.last:
			return nil, nil
		}
		entries, err := s.Records(&t)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if df.has(e.Oid) {
				return nil, nil
			}
		}
		end = t.Pos
	}
	return nil, nil
}

// compareTxn checks that transaction t of prev is what the last one of df is. A pack
// may have left out some records, and has data where there was a reference to other
// data.
func compareTxn(ctx context.Context, prev, df *dataFile, t *fsformat.Txn, head zodb.Tid) error {
	s := fsformat.NewScanner(df.f, df.end())
	u, err := s.NextFinished(df.lastPos, 0)
	if err != nil {
		return err
	}
	what := "the header"
	same, err := sameStrings(prev.f, t, df.f, &u)
	if same && err == nil {
		what, same, err = sameRecords(ctx, prev, t, df, &u)
	}
	if err == nil && !same {
		err = &storage.AnotherDatabaseError{Head: head, Why: fmt.Sprintf("%s of transaction @%s is not what it was", what, t.Tid)}
	}
	return err
}

// sameStrings compares user, description and extension.
func sameStrings(f io.ReaderAt, t *fsformat.Txn, g io.ReaderAt, u *fsformat.Txn) (bool, error) {
	if t.User != u.User || t.Desc != u.Desc || t.Ext != u.Ext {
		return false, nil
	}
	a, err1 := t.Strings(f, nil)
	b, err2 := u.Strings(g, nil)
	return bytes.Equal(a, b), errors.Join(err1, err2)
}

// compareBytes is how much data of a transaction is compared.
const compareBytes = 64 << 20

// sameRecords compares the objects of transaction u of df, all of which transaction t
// of prev must have. It returns which one is not the same.
func sameRecords(ctx context.Context, prev *dataFile, t *fsformat.Txn, df *dataFile, u *fsformat.Txn) (what string, same bool, err error) {
	before, err := recordsOf(prev, t)
	if err != nil {
		return "", false, err
	}
	after, err := recordsOf(df, u)
	if err != nil {
		return "", false, err
	}
	left := compareBytes
	for oid, pos := range after {
		was, ok := before[oid]
		if !ok {
			return "object " + oid.String(), false, nil
		}
		xid := zodb.Xid{At: t.Tid, Oid: oid}
		a, err := prev.load(ctx, xid, was)
		if err != nil {
			return "", false, err
		}
		b, err := df.load(ctx, xid, pos)
		if err != nil {
			return "", false, err
		}
		if !bytes.Equal(a, b) {
			return "object " + oid.String(), false, nil
		}
		if left -= len(a); left <= 0 {
			break
		}
	}
	return "", true, nil
}

// recordsOf returns where the records of transaction t are: of an object that is there
// twice, the later one.
func recordsOf(df *dataFile, t *fsformat.Txn) (map[zodb.Oid]int64, error) {
	entries, err := fsformat.NewScanner(df.f, df.end()).Records(t)
	if err != nil {
		return nil, err
	}
	at := make(map[zodb.Oid]int64, len(entries))
	for _, e := range entries {
		at[e.Oid] = e.Pos
	}
	return at, nil
}

// load reads the record at pos, whatever the index says. Of a deleted object there is
// no data.
func (df *dataFile) load(ctx context.Context, xid zodb.Xid, pos int64) ([]byte, error) {
	buf, _, err := new(loader).load(ctx, df, xid, place{pos: pos, end: df.end(), damaged: true}, (*loader).data)
	if storage.IsNoData(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return buf.Data, nil // the garbage collector gets the buffer
}

// replace makes df the file to serve and keeps the previous one for old views.
func (fo *follower) replace(df *dataFile) {
	fo.df = df
	fo.mu.Lock()
	if fo.old != nil {
		fo.past = append(fo.past, generation{fo.old, fo.oldFrom, fo.switchAt})
	}
	fo.old, fo.oldFrom = fo.cur, fo.curFrom
	fo.cur, fo.curFrom, fo.switchAt = df, df.packed, fo.head
	fo.newest = max(fo.newest, df.packed)
	retired := fo.retire()
	kept := len(fo.past)
	fo.mu.Unlock()
	closeAll(retired)
	if kept > 0 {
		fo.opt.Warn("%s: the database was packed again: %d more of the replaced files stay open for views that are in use, and keep their disk space", fo.url, kept)
	}
}

// closeAll closes files that nobody is led to any more. Loads that use one find out
// and start again.
func closeAll(files []*dataFile) {
	for _, df := range files {
		_ = df.f.Close()
	}
}
