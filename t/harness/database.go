package harness

import (
	encoding "encoding/binary"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/wcfs/wcfs/internal/zodb/record"
	"github.com/wcfs/wcfs/internal/zodb/storage/storagetest"
	"lab.nexedi.com/kirr/neo/go/zodb"
)

// BuiltOid is the array in a database made by BuildDatabase.
const BuiltOid zodb.Oid = 1

// BuildDatabase writes a database with one array of nblk full ZBlk0 blocks and
// returns its path and what the array must read as. With distinct false all
// blocks are the same, which saves memory; content then is one block.
func BuildDatabase(t testing.TB, nblk int, blksize int64, distinct bool) (path string, content []byte) {
	t.Helper()
	const table, firstBlk zodb.Oid = 2, 100
	path = filepath.Join(t.TempDir(), "built.fs")
	w := storagetest.NewFSWriter(path)
	defer w.Close()

	var e record.Encoder
	e.Reset(record.ZBigFile)
	e.BeginTuple(2)
	e.Int(blksize)
	e.Ref(table, record.LOBTree)
	e.EndTuple(2)
	file := e.Record()

	// One bucket, embedded in the tree: ((((k, v, ...),),),).
	e.Reset(record.LOBTree)
	for range 3 {
		e.BeginTuple(1)
	}
	e.BeginTuple(2 * nblk)
	for blk := range nblk {
		e.Int(int64(blk))
		e.Ref(firstBlk+zodb.Oid(blk), record.ZBlk0)
	}
	e.EndTuple(2 * nblk)
	for range 3 {
		e.EndTuple(1)
	}
	tid := zodb.Tid(0x0400000000000000)
	w.Commit(storagetest.Txn{Tid: tid, Records: []storagetest.Record{{Oid: BuiltOid, Data: file}, {Oid: table, Data: e.Record()}}})

	var data, block []byte
	for blk := range nblk {
		if blk == 0 || distinct {
			block = RandomBlock(uint64(blk), blksize)
			content = append(content, block...)
			e.Reset(record.ZBlk0)
			e.Bytes(block)
			data = e.Record()
		}
		tid += 1 << 20
		w.Commit(storagetest.Txn{Tid: tid, Records: []storagetest.Record{{Oid: firstBlk + zodb.Oid(blk), Data: data}}})
	}
	w.SaveIndex(nil)
	return path, content
}

// RandomBlock returns a block without zeros at its end, always the same for
// one seed.
func RandomBlock(seed uint64, blksize int64) []byte {
	block := make([]byte, 0, blksize)
	for rnd := rand.NewPCG(seed, 0); int64(len(block)) < blksize; {
		block = encoding.LittleEndian.AppendUint64(block, rnd.Uint64()|1<<56)
	}
	return block[:blksize]
}
