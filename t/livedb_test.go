package t

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/btree"
	"github.com/wcfs/wcfs/internal/zodb/record"
	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/internal/zodb/zeo"
	"github.com/wcfs/wcfs/internal/zodb/zwrite"
)

// Live is a database that is written to while it is served, together with a
// model of what every object was at every transaction.
type Live struct {
	t    testing.TB
	DB   zwrite.Store
	ZURL string
	Tids []zodb.Tid // of all transactions

	objects map[zodb.Oid][]liveRev
}

// liveRev is an object since a transaction: a liveFile, liveTable or liveBlk,
// or nil if it was deleted.
type liveRev struct {
	tid   zodb.Tid
	value any
}

type (
	liveFile struct {
		blksize int64
		table   zodb.Oid
	}
	liveTable map[int64]zodb.Oid
	liveBlk   string // without the zeros at its end
)

// liveOn says where databases are that are written to while they are served: the tests
// that make no difference between them hold for each.
var liveOn = flag.String("on", "file", "where live databases are: in a file, or behind a server of zeo")

// NewLive makes an empty database. It is not synced to disk: that would only
// take time.
func NewLive(t testing.TB) *Live {
	t.Helper()
	l := &Live{t: t}
	switch *liveOn {
	case "file":
		l.inFile()
	case "zeo":
		l.onServer(startZEO(t, "6", "msgpack true", ""))
	default:
		t.Fatalf("-on %s: it is file or zeo", *liveOn)
	}
	l.begin()
	return l
}

// NewLiveOn makes an empty database behind a server.
func NewLiveOn(z *zeod) *Live {
	z.t.Helper()
	l := &Live{t: z.t}
	l.onServer(z)
	l.begin()
	return l
}

// begin commits the first transaction.
func (l *Live) begin() {
	l.t.Helper()
	l.objects = make(map[zodb.Oid][]liveRev)
	l.Commit(func(tx *LiveTx) {
		tx.txn.Store(zwrite.RootOid, []byte("\x80\x03cpersistent.mapping\nPersistentMapping\n.\x80\x03}."))
	})
}

func (l *Live) inFile() {
	l.t.Helper()
	path := filepath.Join(l.t.TempDir(), "live.fs")
	db, err := zwrite.Create(context.Background(), path, zwrite.Options{NoSync: true})
	require.NoError(l.t, err)
	l.t.Cleanup(func() { require.NoError(l.t, db.Close()) })
	l.DB, l.ZURL = db, "file://"+path
}

func (l *Live) onServer(z *zeod) {
	l.t.Helper()
	l.ZURL = z.url("")
	u, err := storage.ParseURL(l.ZURL)
	require.NoError(l.t, err)
	cfg, err := zeo.ParseForWriting(u)
	require.NoError(l.t, err)
	db, err := zwrite.Connect(context.Background(), zeo.DialWriter(cfg), zwrite.ClientOptions{})
	require.NoError(l.t, err)
	l.t.Cleanup(func() { require.NoError(l.t, db.Close()) })
	l.DB = db
}

// File returns the path of the database. The test is about files.
func (l *Live) File() string {
	l.t.Helper()
	path, ok := strings.CutPrefix(l.ZURL, "file://")
	if !ok {
		l.t.Skip("this is about a file")
	}
	return path
}

// Start serves the database, with .wcfs/debug/.
func (l *Live) Start(options ...string) *Server {
	l.t.Helper()
	return Launch(l.t, Config{Options: append([]string{"-debug"}, options...), ZURL: l.ZURL})
}

// Head returns the last transaction.
func (l *Live) Head() zodb.Tid { return l.Tids[len(l.Tids)-1] }

// forget makes the model forget all but the last of everything.
func (l *Live) forget() {
	for oid, revs := range l.objects {
		l.objects[oid] = revs[len(revs)-1:]
	}
	l.Tids = l.Tids[len(l.Tids)-1:]
}

// at returns an object as of a view, nil if it does not exist.
func (l *Live) at(oid zodb.Oid, at zodb.Tid) any {
	for _, r := range slices.Backward(l.objects[oid]) {
		if r.tid <= at {
			return r.value
		}
	}
	return nil
}

// LiveTx is a transaction on a Live.
type LiveTx struct {
	l       *Live
	txn     *zwrite.Txn
	tables  map[zodb.Oid]*btree.Editor
	changes map[zodb.Oid]any
}

// Commit commits what change does.
func (l *Live) Commit(change func(tx *LiveTx)) zodb.Tid {
	l.t.Helper()
	return l.CommitAs(0, change)
}

// CommitAs is Commit with a given tid, which is made from the clock if it is 0.
func (l *Live) CommitAs(tid zodb.Tid, change func(tx *LiveTx)) zodb.Tid {
	l.t.Helper()
	if tid != 0 {
		l.File() // servers choose tids
	}
	txn, err := l.DB.Begin(context.Background(), zwrite.Meta{Tid: tid})
	require.NoError(l.t, err)
	defer txn.Abort()
	tx := &LiveTx{l: l, txn: txn, tables: make(map[zodb.Oid]*btree.Editor), changes: make(map[zodb.Oid]any)}
	change(tx)
	for _, oid := range slices.Sorted(maps.Keys(tx.tables)) {
		tx.tables[oid].Flush()
	}
	tid, err = txn.Commit()
	require.NoError(l.t, err)
	for oid, value := range tx.changes {
		l.objects[oid] = append(l.objects[oid], liveRev{tid, value})
	}
	l.Tids = append(l.Tids, tid)
	return tid
}

// store stores a record, whatever it was before.
func (tx *LiveTx) store(oid zodb.Oid, data []byte) {
	tx.load(oid)
	tx.txn.Store(oid, data)
}

// load loads an object if it exists.
func (tx *LiveTx) load(oid zodb.Oid) {
	if _, _, err := tx.txn.Load(oid); err != nil && !storage.IsNoData(err) {
		require.NoError(tx.l.t, err)
	}
}

// object returns an object as the transaction sees it.
func (tx *LiveTx) object(oid zodb.Oid) any {
	if value, ok := tx.changes[oid]; ok {
		return value
	}
	return tx.l.at(oid, zodb.TidMax)
}

// LiveFile is a ZBigFile of a Live.
type LiveFile struct {
	l       *Live
	Oid     zodb.Oid
	BlkSize int64 // when it was made
}

// NewFile makes a file without blocks.
func (tx *LiveTx) NewFile(blksize int64) *LiveFile {
	tx.l.t.Helper()
	f := &LiveFile{l: tx.l, Oid: tx.txn.New(), BlkSize: blksize}
	tx.SetFile(f, blksize, tx.NewTable())
	return f
}

// NewTable makes an empty block table.
func (tx *LiveTx) NewTable() zodb.Oid {
	table := btree.NewTree(tx.txn, btree.LO)
	tx.tables[table.Oid()] = table
	tx.changes[table.Oid()] = liveTable{}
	return table.Oid()
}

// SetFile stores the ZBigFile object.
func (tx *LiveTx) SetFile(f *LiveFile, blksize int64, table zodb.Oid) {
	if revs := tx.l.objects[f.Oid]; len(revs) > 0 && revs[len(revs)-1].value == nil {
		tx.l.File() // servers take nothing in the place of what was deleted
	}
	tx.store(f.Oid, bigfile.EncodeFile(&bigfile.File{BlkSize: blksize, Table: table}))
	tx.changes[f.Oid] = liveFile{blksize, table}
}

// DeleteFile deletes the ZBigFile object.
func (tx *LiveTx) DeleteFile(f *LiveFile) {
	tx.load(f.Oid)
	tx.txn.Delete(f.Oid)
	tx.changes[f.Oid] = nil
}

// Table returns the block table of f.
func (tx *LiveTx) Table(f *LiveFile) zodb.Oid { return tx.object(f.Oid).(liveFile).table }

// edit returns the block table of f to be changed, and its model.
func (tx *LiveTx) edit(f *LiveFile) (*btree.Editor, liveTable) {
	tx.l.t.Helper()
	oid := tx.Table(f)
	if tx.tables[oid] == nil {
		table, err := btree.Edit(tx.txn, btree.LO, oid)
		require.NoError(tx.l.t, err)
		tx.tables[oid] = table
	}
	if _, ok := tx.changes[oid]; !ok {
		tx.changes[oid] = maps.Clone(tx.object(oid).(liveTable))
	}
	return tx.tables[oid], tx.changes[oid].(liveTable)
}

// Blk returns the object of a block, 0 for a hole.
func (tx *LiveTx) Blk(f *LiveFile, blk int64) zodb.Oid {
	return tx.object(tx.Table(f)).(liveTable)[blk]
}

// Write makes data the content of a block: of its ZBlk0 if it has one.
func (tx *LiveTx) Write(f *LiveFile, blk int64, data string) {
	tx.l.t.Helper()
	zblk := tx.Blk(f, blk)
	if zblk == 0 {
		zblk = tx.txn.New()
		tx.Link(f, blk, zblk)
	}
	tx.store(zblk, bigfile.EncodeBlock([]byte(data)))
	tx.changes[zblk] = liveBlk(strings.TrimRight(data, "\x00"))
}

// Link makes zblk the object of a block.
func (tx *LiveTx) Link(f *LiveFile, blk int64, zblk zodb.Oid) {
	tx.l.t.Helper()
	table, model := tx.edit(f)
	require.NoError(tx.l.t, table.Set(blk, btree.Ref{Oid: zblk, Class: record.ZBlk0}))
	model[blk] = zblk
}

// Delete makes a hole of a block.
func (tx *LiveTx) Delete(f *LiveFile, blk int64) {
	tx.l.t.Helper()
	table, model := tx.edit(f)
	_, err := table.Delete(blk)
	require.NoError(tx.l.t, err)
	delete(model, blk)
}

// NewFile commits a file without blocks.
func (l *Live) NewFile(blksize int64) (f *LiveFile) {
	l.t.Helper()
	l.Commit(func(tx *LiveTx) { f = tx.NewFile(blksize) })
	return f
}

// Blocks is what to write to a file.
type Blocks map[int64]string

// Commit commits new content of blocks.
func (f *LiveFile) Commit(blocks Blocks) zodb.Tid {
	f.l.t.Helper()
	return f.l.Commit(func(tx *LiveTx) {
		for _, blk := range slices.Sorted(maps.Keys(blocks)) {
			tx.Write(f, blk, blocks[blk])
		}
	})
}

// CommitChunks commits new content of one block in format ZBlk1.
func (f *LiveFile) CommitChunks(blk int64, data string) zodb.Tid {
	f.l.t.Helper()
	return f.l.Commit(func(tx *LiveTx) {
		w, err := bigfile.NewWriter(tx.txn, f.Oid, bigfile.FormatZBlk1)
		require.NoError(f.l.t, err)
		require.NoError(f.l.t, w.WriteBlock(context.Background(), blk, []byte(data)))
		w.Flush()
		table, model := tx.edit(f)
		ref, _, err := table.Get(blk)
		require.NoError(f.l.t, err)
		model[blk] = ref.Oid
		tx.changes[ref.Oid] = liveBlk(strings.TrimRight(data, "\x00"))
	})
}

// Path returns the file in a view, "head" or "@...".
func (f *LiveFile) Path(s *Server, view string) string {
	return s.Path(view, "bigfile", f.Oid.String())
}

// Size returns how many bytes the file has at a view, -1 if it does not exist.
func (f *LiveFile) Size(at zodb.Tid) (size int64) {
	obj, ok := f.l.at(f.Oid, at).(liveFile)
	if !ok {
		return -1
	}
	for blk := range f.l.at(obj.table, at).(liveTable) {
		size = max(size, (blk+1)*obj.blksize)
	}
	return size
}

// Text returns a block at a view, without the zeros at its end.
func (f *LiveFile) Text(blk int64, at zodb.Tid) string {
	obj := f.l.at(f.Oid, at).(liveFile)
	text, _ := f.l.at(f.l.at(obj.table, at).(liveTable)[blk], at).(liveBlk)
	return string(text)
}

// Check compares the file at a view with the model: size and all blocks.
func (f *LiveFile) Check(s *Server, view string, at zodb.Tid) {
	f.l.t.Helper()
	if f.Size(at) < 0 {
		var st unix.Stat_t
		err := uninterrupted(func() error { return unix.Lstat(f.Path(s, view), &st) })
		require.ErrorIs(f.l.t, err, unix.EINVAL, "%s does not exist @%s", f.Oid, at)
		return
	}
	fd, err := openFile(f.Path(s, view), unix.O_RDONLY)
	require.NoError(f.l.t, err)
	defer unix.Close(fd)
	f.CheckFd(fd, at)
}

// CheckFd is Check of an open descriptor.
func (f *LiveFile) CheckFd(fd int, at zodb.Tid) {
	f.l.t.Helper()
	require.Equal(f.l.t, f.Size(at), sizeOf(f.l.t, fd), "size of %s @%s", f.Oid, at)
	blksize := f.l.at(f.Oid, at).(liveFile).blksize
	data := make([]byte, blksize)
	for blk := range f.Size(at) / blksize {
		n, err := unix.Pread(fd, data, blk*blksize)
		require.NoError(f.l.t, err)
		want := f.Text(blk, at)
		if n != len(data) || strings.TrimRight(string(data), "\x00") != want {
			f.l.t.Fatalf("%s #%d @%s: %d bytes %.40q; want %.40q", f.Oid, blk, at, n, data, want)
		}
	}
}

func sizeOf(t testing.TB, fd int) int64 {
	t.Helper()
	var st unix.Stat_t
	require.NoError(t, unix.Fstat(fd, &st))
	return st.Size
}

// WaitAt waits until head/at shows tid.
func (s *Server) WaitAt(tid zodb.Tid) {
	s.t.Helper()
	until(s.t, fmt.Sprintf("head/at shows %s", tid), func() bool {
		at := content(s.t, s.Path("head/at"))
		require.LessOrEqual(s.t, at, tid.String(), "head/at shows what was not committed")
		return at == tid.String()
	})
}
