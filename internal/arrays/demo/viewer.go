package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/client"
)

// followWait is how long the server may take to show what was committed.
const followWait = 20 * time.Second

// viewer looks at the array in the mount. It owns the WCFS.
type viewer struct {
	w    *client.WCFS
	file zodb.Oid
	head *arrayFile // head/bigfile/<oid>

	conn *client.Conn // of the snapshot
	mem  *client.Mapping

	pins int // that READs of head/ made the snapshot need
}

// open begins to look at commit 1. Also after an error the viewer must be closed.
func (v *viewer) open(ctx context.Context, tid zodb.Tid) (err error) {
	if err := v.waitHead(ctx, tid); err != nil {
		return err
	}
	if v.head, err = openArray(v.path("head")); err != nil {
		return err
	}
	if v.conn, err = v.w.Connect(ctx, client.Tid(tid)); err != nil {
		return err
	}
	array, err := v.conn.Open(ctx, client.Oid(v.file))
	if err != nil {
		return err
	}
	v.mem, err = array.Mmap(ctx, 0, nblk)
	return err
}

// path returns where the array is in a view: head, or @tid.
func (v *viewer) path(view string) string {
	return filepath.Join(v.w.Mountpoint(), view, "bigfile", v.file.String())
}

// close leaves the mount, with what was opened of it.
func (v *viewer) close() error {
	if v.head != nil {
		v.head.close()
	}
	err := v.w.Close()
	if v.mem != nil {
		err = errors.Join(err, v.mem.Unmap())
	}
	return err
}

// waitHead waits until head/ shows a commit.
func (v *viewer) waitHead(ctx context.Context, tid zodb.Tid) error {
	late := fmt.Errorf("head/ does not show transaction %s within %s", tid, followWait)
	ctx, cancel := context.WithTimeoutCause(ctx, followWait, late)
	defer cancel()
	_, err := v.w.Snapshot(ctx, client.Tid(tid))
	return err
}

// look is what was seen after a commit.
type look struct {
	followed time.Duration // since the commit, until head/ showed it
	dropped  []int64       // blocks of head/ that were not in the page cache then
	missing  int64         // bytes of head/ that were not
	head     state
	snapshot state
}

// warm reads what the kernel has taken out of the page cache since the last look,
// for other uses of the memory: only then is what is missing after a commit what
// left because of that. It returns how many bytes these were.
func (v *viewer) warm(head state) (missing int64, err error) {
	if missing, _, err = v.head.missing(); err != nil || missing == 0 {
		return 0, err
	}
	_, err = v.readHead(head)
	return missing, err
}

// look looks at everything after commit tid, and requires that the array is as
// head and snapshot say.
func (v *viewer) look(ctx context.Context, tid zodb.Tid, head, snapshot state) (l look, err error) {
	begin := time.Now()
	if err := v.waitHead(ctx, tid); err != nil {
		return l, err
	}
	l.followed = time.Since(begin)
	if l.missing, l.dropped, err = v.head.missing(); err != nil {
		return l, err
	}
	if l.head, err = v.readHead(head); err != nil {
		return l, err
	}
	l.snapshot, err = v.readSnapshot(ctx, snapshot)
	return l, err
}

// readHead looks at head/ as any program that reads a file does. For what it
// shows anew, the client is told by pins to map its snapshot from the past.
func (v *viewer) readHead(want state) (seen state, err error) {
	before, err := v.pinCount()
	if err != nil {
		return seen, err
	}
	data, err := v.head.read()
	if err != nil {
		return seen, err
	}
	after, err := v.pinCount()
	if err != nil {
		return seen, err
	}
	v.pins += after - before
	return want.check("head/", data)
}

// readSnapshot looks at the memory of the client.
func (v *viewer) readSnapshot(ctx context.Context, want state) (seen state, err error) {
	if err := v.mem.Load(ctx, 0, nblk); err != nil {
		return seen, err
	}
	err = v.mem.View(func(data []byte) (err error) {
		seen, err = want.check(fmt.Sprintf("the snapshot of @%s", v.conn.At()), data)
		return err
	})
	return seen, err
}

// move moves the snapshot to the newest state, and tells how long that took and
// how much of it is not in the page cache.
func (v *viewer) move(ctx context.Context) (took time.Duration, missing int64, err error) {
	begin := time.Now()
	if err := v.conn.Resync(ctx, client.Head); err != nil {
		return 0, 0, err
	}
	took = time.Since(begin)
	missing, _, err = v.head.missing()
	return took, missing, err
}

// past looks at the file of a past view.
func (v *viewer) past(tid zodb.Tid, want state) (seen state, err error) {
	f, err := openArray(v.path("@" + tid.String()))
	if err != nil {
		return seen, err
	}
	defer f.close()
	data, err := f.read()
	if err != nil {
		return seen, err
	}
	return want.check("@"+tid.String()+"/", data)
}

// pinCount returns how many pins the server has sent so far.
func (v *viewer) pinCount() (int, error) {
	path := filepath.Join(v.w.Mountpoint(), ".wcfs/stats")
	fd, err := openFile(path)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	stats, err := readFile(fd, path, 4096)
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(stats) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		if string(bytes.TrimSpace(name)) == "pin" {
			return strconv.Atoi(string(bytes.TrimSpace(value)))
		}
	}
	return 0, fmt.Errorf("%s has no line \"pin\"", path)
}
