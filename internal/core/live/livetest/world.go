package livetest

import (
	"bytes"
	"context"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"time"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/core/form"
	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/btree"
	"github.com/wcfs/wcfs/internal/zodb/record"
	"github.com/wcfs/wcfs/internal/zodb/storage/mem"
)

// The files of a World, which read the same at every view; the array, which has the items of
// File; and the blocks that they have at most.
const (
	File  zodb.Oid = 1
	Twin  zodb.Oid = 5
	Array zodb.Oid = 6
	Blks           = 6

	tableOid zodb.Oid = 2
	leftOid  zodb.Oid = 3
	rightOid zodb.Oid = 4
	firstZ   zodb.Oid = 100
	zblks             = 5
)

// World is a database with two files, of one block table, that change at random:
// data, what blocks show, holes that become data and the other way around, a ZBlk in
// several blocks, appends and their undoing. Its methods may be called from any
// goroutine, except Transact.
type World struct {
	DB      *mem.Storage
	BlkSize int64

	rndMu sync.Mutex
	rnd   *rand.Rand

	mu      sync.Mutex
	shapes  *rand.Rand            // of the array
	content map[zodb.Tid][][]byte // of every view: what each block reads as
	end     map[zodb.Tid]int      // of every view: the size in blocks
	forms   map[zodb.Tid]*form.Form
	tids    []zodb.Tid
	table   map[int64]zodb.Oid
	data    map[zodb.Oid][]byte
}

// NewWorld returns the world of a seed. Its first transaction is committed, and
// was taken out of the events.
func NewWorld(seed uint64) *World {
	w := &World{DB: mem.New(), rnd: rand.New(rand.NewPCG(seed, 2)), shapes: rand.New(rand.NewPCG(seed, 3)), content: make(map[zodb.Tid][][]byte), end: make(map[zodb.Tid]int), forms: make(map[zodb.Tid]*form.Form),
		table: make(map[int64]zodb.Oid), data: make(map[zodb.Oid][]byte)}
	w.DB.AnswerMany(seed%2 == 0)
	w.BlkSize = int64(os.Getpagesize()) * int64(1+w.Intn(3))
	for z := range zodb.Oid(zblks) {
		w.data[firstZ+z] = w.block(1, firstZ+z)
	}
	for blk := range int64(Blks - 2) {
		if w.Intn(5) > 0 {
			w.table[blk] = firstZ + zodb.Oid(w.Intn(zblks))
		}
	}
	w.table[Blks-1] = firstZ
	records := w.tableRecords()
	records[File] = bigfile.EncodeFile(&bigfile.File{BlkSize: w.BlkSize, Table: tableOid})
	records[Twin] = records[File]
	records[Array] = w.reshape(1)
	for oid, data := range w.data {
		records[oid] = bigfile.EncodeBlock(data)
	}
	w.commit(1, records)
	return w
}

// reshape gives the array another size from transaction tid on, and returns its record.
func (w *World) reshape(tid zodb.Tid) []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.reshapeTo(tid, w.shapes.Int64N(Blks*w.BlkSize))
}

// reshapeTo is reshape with a size.
// Requires: w.mu.
func (w *World) reshapeTo(tid zodb.Tid, size int64) []byte {
	page := make([]byte, os.Getpagesize())
	binary.BigEndian.PutUint64(page, uint64(tid))
	w.forms[tid] = &form.Form{File: File, Rev: tid, Header: page, Items: size}
	return page[:8]
}

func (w *World) isReshaped() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.shapes.IntN(3) == 0
}

// Reshape makes a transaction that gives the array another size, and changes nothing else.
func (w *World) Reshape() {
	tid := w.tids[len(w.tids)-1] + 1
	w.commit(tid, map[zodb.Oid][]byte{Array: w.reshape(tid)})
}

// ReshapeTo is Reshape with a size.
func (w *World) ReshapeTo(size int64) {
	tid := w.tids[len(w.tids)-1] + 1
	w.mu.Lock()
	record := w.reshapeTo(tid, size)
	w.mu.Unlock()
	w.commit(tid, map[zodb.Oid][]byte{Array: record})
}

// Form implements live.Forms.
func (w *World) Form(ctx context.Context, at zodb.Tid, array zodb.Oid) (*form.Form, error) {
	buf, serial, err := w.DB.Load(ctx, zodb.Xid{At: at, Oid: array})
	if err != nil {
		return nil, err
	}
	buf.Release()
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.forms[serial], nil
}

// ArrayPage returns what page i of the array reads as at a view: -1 is its header.
func (w *World) ArrayPage(at zodb.Tid, i int64) []byte {
	size := w.ArraySize(at)
	if i < 0 {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.forms[w.shapedAt(at)].Header
	}
	page := bytes.Clone(w.Page(at, i))
	clear(page[min(max(size-i*int64(len(page)), 0), int64(len(page))):])
	return page
}

// ArraySize returns how many bytes of items the array has at a view.
func (w *World) ArraySize(at zodb.Tid) int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.forms[w.shapedAt(at)].Items
}

// shapedAt returns the transaction since which the array has been what it is at a view.
// Requires: w.mu.
func (w *World) shapedAt(at zodb.Tid) (tid zodb.Tid) {
	for shaped := range w.forms {
		if shaped <= at {
			tid = max(tid, shaped)
		}
	}
	return tid
}

// Intn returns a random number below n.
func (w *World) Intn(n int) int {
	w.rndMu.Lock()
	defer w.rndMu.Unlock()
	return w.rnd.IntN(n)
}

// Nap sleeps for a random time up to most, often not at all.
func (w *World) Nap(most time.Duration) {
	if most <= 0 {
		return
	}
	if d := time.Duration(w.Intn(3)-1) * time.Duration(w.Intn(int(most))); d > 0 {
		time.Sleep(d)
	}
}

// Tids returns the transactions so far.
func (w *World) Tids() []zodb.Tid {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.tids)
}

// Page returns what page i of the file reads as at a view, which must be a
// transaction or later than one.
func (w *World) Page(at zodb.Tid, i int64) []byte {
	off := i * int64(os.Getpagesize())
	return w.Block(at, off/w.BlkSize)[off%w.BlkSize:][:os.Getpagesize()]
}

// PageID returns the ID of a page as of a view.
func (w *World) PageID(at zodb.Tid, i int64) ID {
	off := i * int64(os.Getpagesize())
	w.mu.Lock()
	defer w.mu.Unlock()
	return IDOf(w.content[w.last(at)][off/w.BlkSize][off%w.BlkSize:])
}

// last returns the last transaction of view at. It is called with w.mu held.
func (w *World) last(at zodb.Tid) zodb.Tid {
	for i := len(w.tids) - 1; i > 0; i-- {
		if w.tids[i] <= at {
			return w.tids[i]
		}
	}
	return w.tids[0]
}

// EndAt returns how many blocks the files have at a view.
func (w *World) EndAt(at zodb.Tid) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.end[w.last(at)]
}

// Block returns what block blk reads as at a view.
func (w *World) Block(at zodb.Tid, blk int64) []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.content[w.last(at)][blk]
}

// Content returns what the file reads as at a view, and how many of its blocks have data.
func (w *World) Content(at zodb.Tid) (content []byte, data int) {
	for blk := range w.EndAt(at) {
		block := w.Block(at, int64(blk))
		content = append(content, block...)
		if len(bytes.Trim(block, "\x00")) > 0 {
			data++
		}
	}
	return content, data
}

// block is data that tells in every page which object and revision it is of.
func (w *World) block(tid zodb.Tid, oid zodb.Oid) []byte {
	data := make([]byte, w.BlkSize-int64(w.Intn(2)*w.Intn(int(w.BlkSize)/2)))
	for i := 0; i+16 <= len(data); i += 512 {
		binary.BigEndian.PutUint64(data[i:], uint64(tid))
		binary.BigEndian.PutUint64(data[i+8:], uint64(oid))
	}
	return data
}

// tableRecords are the nodes of the block table: two buckets below a root.
func (w *World) tableRecords() map[zodb.Oid][]byte {
	keys := map[zodb.Oid][]int64{}
	refs := map[zodb.Oid][]btree.Ref{}
	for blk := range int64(Blks) {
		if z, ok := w.table[blk]; ok {
			bucket := leftOid
			if blk >= 3 {
				bucket = rightOid
			}
			keys[bucket] = append(keys[bucket], blk)
			refs[bucket] = append(refs[bucket], btree.Ref{Oid: z, Class: record.ZBlk0})
		}
	}
	return map[zodb.Oid][]byte{
		tableOid: btree.EncodeTree(btree.LO, false, []zodb.Oid{leftOid, rightOid}, []int64{3}, leftOid),
		leftOid:  btree.EncodeBucket(btree.LO, keys[leftOid], refs[leftOid], rightOid),
		rightOid: btree.EncodeBucket(btree.LO, keys[rightOid], refs[rightOid], 0),
	}
}

// commit commits and remembers what every block reads as from now on.
func (w *World) commit(tid zodb.Tid, records map[zodb.Oid][]byte) {
	content := make([][]byte, Blks)
	for blk := range content {
		content[blk] = make([]byte, w.BlkSize)
		if z, ok := w.table[int64(blk)]; ok {
			copy(content[blk], w.data[z])
		}
	}
	end := 0
	for blk := range w.table {
		end = max(end, int(blk)+1)
	}
	w.mu.Lock()
	w.content[tid], w.end[tid] = content, end
	w.tids = append(w.tids, tid)
	w.mu.Unlock()
	w.DB.Commit(tid, records)
}

// resize makes the files end with block end-1, or with the last one before it that
// is no hole.
func (w *World) resize(end int64) {
	for blk := end; blk < Blks; blk++ {
		delete(w.table, blk)
	}
	if end > 0 && w.Intn(2) == 0 {
		w.table[end-1] = firstZ + zodb.Oid(w.Intn(zblks))
	}
}

// Transact makes a random transaction.
func (w *World) Transact() {
	tid := w.tids[len(w.tids)-1] + 1 + zodb.Tid(w.Intn(2))
	before := w.tableRecords()
	records := make(map[zodb.Oid][]byte)
	for range w.Intn(3) {
		z := firstZ + zodb.Oid(w.Intn(zblks))
		w.data[z] = w.block(tid, z)
		records[z] = bigfile.EncodeBlock(w.data[z])
	}
	for range w.Intn(3) {
		blk := int64(w.Intn(Blks - 1))
		if w.Intn(4) == 0 {
			delete(w.table, blk)
		} else {
			w.table[blk] = firstZ + zodb.Oid(w.Intn(zblks))
		}
	}
	if w.Intn(3) == 0 {
		w.resize(int64(w.Intn(Blks + 1)))
	}
	if w.isReshaped() {
		records[Array] = w.reshape(tid)
	}
	for oid, data := range w.tableRecords() {
		if !bytes.Equal(data, before[oid]) || w.Intn(10) == 0 {
			records[oid] = data
		}
	}
	w.commit(tid, records)
}
