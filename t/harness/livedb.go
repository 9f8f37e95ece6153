package harness

import (
	"context"
	"flag"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/btree"
	"github.com/wcfs/wcfs/internal/zodb/neo/neotest"
	"github.com/wcfs/wcfs/internal/zodb/record"
	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/internal/zodb/zeo"
	"github.com/wcfs/wcfs/internal/zodb/zwrite"
	"lab.nexedi.com/kirr/neo/go/zodb"
)

// BlkSize is the size of blocks that everybody uses.
const BlkSize = 2 << 20

// Live is a database that is written to while it is served, together with a
// model of what every object was at every transaction.
type Live struct {
	T    testing.TB
	DB   zwrite.Store
	ZURL string
	Tids []zodb.Tid // of all transactions

	objects map[zodb.Oid][]liveRev
	mirror  *mirror // nil: the database is where it is written to
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

// LiveOn says where databases are that are written to while they are served: the tests
// that make no difference between them hold for each.
var LiveOn = flag.String("on", "file", "where live databases are: in a file, behind a server of zeo, in a cluster of neo, or on a server of postgresql")

// NewLive makes an empty database. It is not synced to disk: that would only
// take time.
func NewLive(t testing.TB) *Live {
	t.Helper()
	l := &Live{T: t}
	switch *LiveOn {
	case "file":
		l.inFile()
	case "zeo":
		l.onServer(StartZEO(t, "6", "msgpack true", ""))
	case "neo":
		l.inCluster(neotest.Options{Partitions: 5, Replicas: 1, Storages: 3})
	case "postgresql":
		l.inPostgreSQL(newPostgreSQL(t, ground(t).Shared(t)))
	default:
		t.Fatalf("-on %s: it is file, zeo, neo or postgresql", *LiveOn)
	}
	l.begin()
	return l
}

// NewLiveOn makes an empty database behind a server.
func NewLiveOn(z *ZEO) *Live {
	z.T.Helper()
	l := &Live{T: z.T}
	l.onServer(z)
	l.begin()
	return l
}

// begin commits the first transaction.
func (l *Live) begin() {
	l.T.Helper()
	l.objects = make(map[zodb.Oid][]liveRev)
	l.Commit(func(tx *LiveTx) {
		tx.Txn.Store(zwrite.RootOid, []byte("\x80\x03cpersistent.mapping\nPersistentMapping\n.\x80\x03}."))
	})
}

func (l *Live) inFile() {
	l.T.Helper()
	path := filepath.Join(l.T.TempDir(), "live.fs")
	db, err := zwrite.Create(context.Background(), path, zwrite.Options{NoSync: true})
	require.NoError(l.T, err)
	l.T.Cleanup(func() { require.NoError(l.T, db.Close()) })
	l.DB, l.ZURL = db, "file://"+path
}

func (l *Live) onServer(z *ZEO) {
	l.T.Helper()
	l.ZURL = z.URL("")
	u, err := storage.ParseURL(l.ZURL)
	require.NoError(l.T, err)
	cfg, err := zeo.ParseForWriting(u)
	require.NoError(l.T, err)
	db, err := zwrite.Connect(context.Background(), zeo.DialWriter(cfg), zwrite.ClientOptions{})
	require.NoError(l.T, err)
	l.T.Cleanup(func() { require.NoError(l.T, db.Close()) })
	l.DB = db
}

// File returns the path of the database. The test is about files.
func (l *Live) File() string {
	l.T.Helper()
	path, ok := strings.CutPrefix(l.ZURL, "file://")
	if !ok {
		l.T.Skip("this is about a file")
	}
	return path
}

// needWriterOfFiles ends a test of something that cannot be written to a server. A mirror
// can have it, since it is written to a file.
func (l *Live) needWriterOfFiles() {
	l.T.Helper()
	if l.mirror == nil {
		l.File()
	}
}

// Start serves the database, with .wcfs/debug/.
func (l *Live) Start(options ...string) *Server {
	l.T.Helper()
	return Launch(l.T, Config{Options: append([]string{"-debug"}, options...), ZURL: l.ZURL})
}

// Head returns the last transaction.
func (l *Live) Head() zodb.Tid { return l.Tids[len(l.Tids)-1] }

// Forget makes the model forget all but the last of everything.
func (l *Live) Forget() {
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
	L       *Live
	Txn     *zwrite.Txn
	tables  map[zodb.Oid]*btree.Editor
	changes map[zodb.Oid]any
}

// Commit commits what change does.
func (l *Live) Commit(change func(tx *LiveTx)) zodb.Tid {
	l.T.Helper()
	return l.CommitAs(0, change)
}

// CommitAs is Commit with a given tid, which is made from the clock if it is 0.
func (l *Live) CommitAs(tid zodb.Tid, change func(tx *LiveTx)) zodb.Tid {
	l.T.Helper()
	if tid != 0 {
		l.needWriterOfFiles() // servers choose tids
	}
	txn, err := l.DB.Begin(context.Background(), zwrite.Meta{Tid: tid})
	require.NoError(l.T, err)
	defer txn.Abort()
	tx := &LiveTx{L: l, Txn: txn, tables: make(map[zodb.Oid]*btree.Editor), changes: make(map[zodb.Oid]any)}
	change(tx)
	for _, oid := range slices.Sorted(maps.Keys(tx.tables)) {
		tx.tables[oid].Flush()
	}
	tid, err = txn.Commit()
	require.NoError(l.T, err)
	if l.mirror != nil {
		l.mirror.catchUp()
	}
	for oid, value := range tx.changes {
		l.objects[oid] = append(l.objects[oid], liveRev{tid, value})
	}
	l.Tids = append(l.Tids, tid)
	return tid
}

// Store stores a record, whatever it was before.
func (tx *LiveTx) Store(oid zodb.Oid, data []byte) {
	tx.load(oid)
	tx.Txn.Store(oid, data)
}

// load loads an object if it exists.
func (tx *LiveTx) load(oid zodb.Oid) {
	if _, _, err := tx.Txn.Load(oid); err != nil && !storage.IsNoData(err) {
		require.NoError(tx.L.T, err)
	}
}

// object returns an object as the transaction sees it.
func (tx *LiveTx) object(oid zodb.Oid) any {
	if value, ok := tx.changes[oid]; ok {
		return value
	}
	return tx.L.at(oid, zodb.TidMax)
}

// NewFile makes a file without blocks.
func (tx *LiveTx) NewFile(blksize int64) *LiveFile {
	tx.L.T.Helper()
	f := &LiveFile{L: tx.L, Oid: tx.Txn.New(), BlkSize: blksize}
	tx.SetFile(f, blksize, tx.NewTable())
	return f
}

// NewTable makes an empty block table.
func (tx *LiveTx) NewTable() zodb.Oid {
	table := btree.NewTree(tx.Txn, btree.LO)
	tx.tables[table.Oid()] = table
	tx.changes[table.Oid()] = liveTable{}
	return table.Oid()
}

// SetFile stores the ZBigFile object.
func (tx *LiveTx) SetFile(f *LiveFile, blksize int64, table zodb.Oid) {
	if revs := tx.L.objects[f.Oid]; len(revs) > 0 && revs[len(revs)-1].value == nil {
		tx.L.needWriterOfFiles() // servers take nothing in the place of what was deleted
	}
	tx.Store(f.Oid, bigfile.EncodeFile(&bigfile.File{BlkSize: blksize, Table: table}))
	tx.changes[f.Oid] = liveFile{blksize, table}
}

// DeleteFile deletes the ZBigFile object.
func (tx *LiveTx) DeleteFile(f *LiveFile) {
	tx.load(f.Oid)
	tx.Txn.Delete(f.Oid)
	tx.changes[f.Oid] = nil
}

// Table returns the block table of f.
func (tx *LiveTx) Table(f *LiveFile) zodb.Oid { return tx.object(f.Oid).(liveFile).table }

// edit returns the block table of f to be changed, and its model.
func (tx *LiveTx) edit(f *LiveFile) (*btree.Editor, liveTable) {
	tx.L.T.Helper()
	oid := tx.Table(f)
	if tx.tables[oid] == nil {
		table, err := btree.Edit(tx.Txn, btree.LO, oid)
		require.NoError(tx.L.T, err)
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
	tx.L.T.Helper()
	zblk := tx.Blk(f, blk)
	if zblk == 0 {
		zblk = tx.Txn.New()
		tx.Link(f, blk, zblk)
	}
	tx.Store(zblk, bigfile.EncodeBlock([]byte(data)))
	tx.changes[zblk] = liveBlk(strings.TrimRight(data, "\x00"))
}

// Link makes zblk the object of a block.
func (tx *LiveTx) Link(f *LiveFile, blk int64, zblk zodb.Oid) {
	tx.L.T.Helper()
	table, model := tx.edit(f)
	require.NoError(tx.L.T, table.Set(blk, btree.Ref{Oid: zblk, Class: record.ZBlk0}))
	model[blk] = zblk
}

// Delete makes a hole of a block.
func (tx *LiveTx) Delete(f *LiveFile, blk int64) {
	tx.L.T.Helper()
	table, model := tx.edit(f)
	_, err := table.Delete(blk)
	require.NoError(tx.L.T, err)
	delete(model, blk)
}

// NewFile commits a file without blocks.
func (l *Live) NewFile(blksize int64) (f *LiveFile) {
	l.T.Helper()
	l.Commit(func(tx *LiveTx) { f = tx.NewFile(blksize) })
	return f
}
