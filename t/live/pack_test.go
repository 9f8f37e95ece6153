package live

import (
	"fmt"
	"maps"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/btree"
	"github.com/wcfs/wcfs/internal/zodb/record"
	"github.com/wcfs/wcfs/internal/zodb/storage/storagetest"
	"github.com/wcfs/wcfs/t/harness"
	"golang.org/x/sys/unix"
	"lab.nexedi.com/kirr/neo/go/zodb"
)

// packed is a database that is packed while it is served: an array of nblk small
// blocks.
type packed struct {
	w    *storagetest.FSWriter
	tid  zodb.Tid
	text map[zodb.Tid][]string // of all blocks, at every transaction
}

const (
	packedTable zodb.Oid = 2
	packedBlk   zodb.Oid = 100
	packedSize           = 64 << 10
)

func newPacked(t *testing.T, nblk int) *packed {
	t.Helper()
	p := &packed{w: storagetest.NewFSWriter(filepath.Join(t.TempDir(), "packed.fs")), tid: 0x0400000000000000, text: make(map[zodb.Tid][]string)}
	t.Cleanup(func() { p.w.Close() })
	var keys []int64
	var refs []btree.Ref
	for blk := range nblk {
		keys = append(keys, int64(blk))
		refs = append(refs, btree.Ref{Oid: packedBlk + zodb.Oid(blk), Class: record.ZBlk0})
	}
	p.text[p.tid] = make([]string, nblk)
	p.commit(
		storagetest.Record{Oid: harness.BuiltOid, Data: bigfile.EncodeFile(&bigfile.File{BlkSize: packedSize, Table: packedTable})},
		storagetest.Record{Oid: packedTable, Data: btree.EncodeInline(btree.LO, keys, refs)})
	for blk := range nblk {
		p.write(blk, fmt.Sprint("first ", blk))
	}
	return p
}

func (p *packed) commit(records ...storagetest.Record) zodb.Tid {
	texts := append([]string(nil), p.text[p.tid]...)
	p.tid += 1 << 20
	p.text[p.tid] = texts
	p.w.Commit(storagetest.Txn{Tid: p.tid, Records: records})
	return p.tid
}

func (p *packed) write(blk int, text string) zodb.Tid {
	tid := p.commit(storagetest.Record{Oid: packedBlk + zodb.Oid(blk), Data: bigfile.EncodeBlock([]byte(text))})
	p.text[tid][blk] = text
	return tid
}

// pack replaces the file as a pack up to tid does.
func (p *packed) pack(tid zodb.Tid) { p.w.Pack(tid, func(zodb.Oid) bool { return true }) }

// read reads all blocks of a view. Blocks that are packed away may be EIO.
func (p *packed) read(t *testing.T, s *harness.Server, at zodb.Tid) (broken int) {
	t.Helper()
	fd, err := harness.OpenFile(s.Path("@"+at.String(), "bigfile", harness.BuiltOid.String()), unix.O_RDONLY)
	if err != nil {
		require.ErrorIs(t, err, unix.EIO)
		return len(p.text[at])
	}
	defer unix.Close(fd)
	data := make([]byte, packedSize)
	for blk, want := range p.text[at] {
		n, err := unix.Pread(fd, data, int64(blk)*packedSize)
		if err != nil {
			require.ErrorIs(t, err, unix.EIO)
			broken++
			continue
		}
		require.Equal(t, len(data), n)
		require.Equal(t, want, strings.TrimRight(string(data), "\x00"), "@%s #%d", at, blk)
	}
	return broken
}

// TestPackIsNotNoticedByHead packs the database again and again while it is
// served. Cached blocks stay, commits are followed, past views either show
// what they did or are EIO.
func TestPackIsNotNoticedByHead(t *testing.T) {
	t.Parallel()
	const nblk = 8
	p := newPacked(t, nblk)
	s := harness.StartOn(t, p.w.Path, "-debug")
	zhead := harness.OpenZHead(s)
	defer zhead.Close()
	m := harness.Map(t, s.Path("head/bigfile", harness.BuiltOid.String()), packedSize, nblk)
	require.Equal(t, p.text[p.tid], m.Blocks(nblk))
	var before, tids []zodb.Tid
	for round := range 4 {
		tids = append(tids, p.tid)
		for blk := range 3 {
			tids = append(tids, p.write(blk, fmt.Sprint("round ", round, " block ", blk)))
		}
		zhead.Wait(p.tid)
		require.Equal(t, "00011111", m.Cache())
		require.Equal(t, p.text[p.tid], m.Blocks(nblk))
		at := p.tid
		p.pack(at)
		require.Equal(t, strings.Repeat("1", nblk), m.Cache())
		zhead.Wait(p.write(5, fmt.Sprint("after pack ", round)))
		require.Equal(t, "11111011", m.Cache())
		require.Equal(t, p.text[p.tid], m.Blocks(nblk))
		require.Equal(t, p.tid.String(), harness.Content(t, s.Path("head/at")))
		require.Zero(t, p.read(t, s, p.tid))
		require.Zero(t, p.read(t, s, at), "the view that was packed to")
		for _, tid := range tids[len(before):] {
			require.Zero(t, p.read(t, s, tid), "views of before the last pack: the old file is still open")
		}
		for _, tid := range before {
			p.read(t, s, tid) // gone or not, it is never wrong
		}
		before = append(before, tids[len(before):]...)
	}
	m.Close()
	s.Stop()
}

// TestPacksDoNotTouchWatches packs several times within the time that history is
// kept, while somebody watches a view of before. READs of others go on, all blocks that
// change are pinned, and what they are pinned to can be read.
func TestPacksDoNotTouchWatches(t *testing.T) {
	t.Parallel()
	const nblk = 6
	p := newPacked(t, nblk)
	s := harness.StartOn(t, p.w.Path, "-debug")
	zhead := harness.OpenZHead(s)
	defer zhead.Close()
	m := harness.Map(t, s.Path("head/bigfile", harness.BuiltOid.String()), packedSize, nblk)
	require.Equal(t, p.text[p.tid], m.Blocks(nblk))
	at := p.write(0, "of the watched view")
	zhead.Wait(at)
	w := s.Watcher()
	require.Equal(t, "ok", w.Ask(harness.WatchRequest(harness.BuiltOid, at)))
	for round := range 3 {
		for blk := range 3 {
			p.write(blk, fmt.Sprint("round ", round, " block ", blk))
		}
		p.pack(p.tid)
		zhead.Wait(p.write(3+round, fmt.Sprint("after pack ", round)))
		require.Equal(t, p.text[p.tid], m.Blocks(nblk))
	}
	w.Barrier()
	w.Mu.Lock()
	pinned := maps.Clone(w.Held[harness.BuiltOid])
	w.Mu.Unlock()
	require.Len(t, pinned, nblk)
	data := make([]byte, packedSize)
	for blk, rev := range pinned {
		require.LessOrEqual(t, rev, at)
		fd, err := harness.OpenFile(s.Path("@"+rev.String(), "bigfile", harness.BuiltOid.String()), unix.O_RDONLY)
		require.NoError(t, err, "#%d @%s", blk, rev)
		_, err = unix.Pread(fd, data, blk*packedSize)
		require.NoError(t, err, "#%d @%s", blk, rev)
		require.NoError(t, unix.Close(fd))
		require.Equal(t, p.text[at][blk], strings.TrimRight(string(data), "\x00"), "#%d @%s", blk, rev)
	}
	require.Equal(t, "ok", w.Ask(harness.WatchRequest(harness.BuiltOid, p.tid)))
	w.Close()
	m.Close()
	s.Stop()
}
