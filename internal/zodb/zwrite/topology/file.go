package topology

import (
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/btree"
	"github.com/wcfs/wcfs/internal/zodb/record"
)

// File is a ZBigFile whose block table is stored by a Writer. The values are
// ZBlk0 objects with names of one letter.
type File struct {
	Writer
	Oid     zodb.Oid
	BlkSize int64 // bytes

	blocks map[string]btree.Ref
}

// NewFile makes a file with an empty table, and an empty ZBlk0 for each letter
// of names.
func NewFile(txn Txn, blksize int64, names string) *File {
	f := &File{Oid: txn.New(), BlkSize: blksize, blocks: make(map[string]btree.Ref)}
	f.Root = txn.New()
	f.Values = func(name string) btree.Ref { return f.blocks[name] }
	txn.Store(f.Root, btree.EncodeEmpty(btree.LO))
	f.Create(txn)
	for _, name := range names {
		f.blocks[string(name)] = btree.Ref{Oid: txn.New(), Class: record.ZBlk0}
		f.SetData(txn, string(name), nil)
	}
	return f
}

// Block returns the oid of the ZBlk0 with that name, which must exist.
func (f *File) Block(name string) zodb.Oid { return f.blocks[name].Oid }

// SetData makes data, followed by zeros, the content of the ZBlk0 with that
// name, which must exist. It is stored even if it is the same.
func (f *File) SetData(txn Txn, name string, data []byte) {
	txn.Store(f.Block(name), bigfile.EncodeBlock(data))
}

// Create stores the ZBigFile object itself, anew after Delete.
func (f *File) Create(txn Txn) {
	txn.Store(f.Oid, bigfile.EncodeFile(&bigfile.File{BlkSize: f.BlkSize, Table: f.Root}))
}

// Delete deletes the ZBigFile object. The table and the blocks stay.
func (f *File) Delete(txn Txn) { txn.Delete(f.Oid) }
