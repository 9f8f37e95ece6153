package live

import (
	"bytes"
	encoding "encoding/binary"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/internal/zodb/record"
	"github.com/wcfs/wcfs/t/harness"
	"github.com/wcfs/wcfs/t/oracle"
	"golang.org/x/sys/unix"
	"lab.nexedi.com/kirr/neo/go/zodb"
)

// patch changes the file in place.
func patch(t testing.TB, path string, change func(data []byte) []byte) {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, change(data), 0o644))
}

// blockID is one block of one file.
type blockID struct {
	file string
	blk  int64
}

// readBlocks reads all blocks that a view is known to have, and two holes of
// every file. It returns the blocks that read wrong and those that cannot be
// read; any other failure fails the test.
func readBlocks(t testing.TB, s *harness.Server, db *oracle.DB, view string, txn oracle.Txn) (wrong, broken []blockID) {
	t.Helper()
	for name, file := range db.Files {
		state, exists := txn.Files[name]
		if !exists {
			continue
		}
		fd, err := harness.OpenFile(s.Path(view, "bigfile", file.Oid.String()), unix.O_RDONLY)
		if err != nil { // the file itself is damaged
			require.Contains(t, []error{unix.EIO, unix.EINVAL}, err, "open %s %s", view, name)
			broken = append(broken, blockID{name, -1})
			continue
		}
		require.NoError(t, unix.Fadvise(fd, 0, 0, unix.FADV_RANDOM))
		data := make([]byte, file.BlkSize)
		for blk, want := range state.Blk {
			n, err := unix.Pread(fd, data, blk*file.BlkSize)
			switch {
			case err != nil:
				require.Equal(t, unix.EIO, err, "read %s %s #%d", view, name, blk)
				broken = append(broken, blockID{name, blk})
			case oracle.SumBlock(data[:n], file.BlkSize) != want:
				wrong = append(wrong, blockID{name, blk})
			}
		}
		unix.Close(fd)
	}
	return wrong, broken
}

// place is a record of a database and where its data is in the file.
type place struct {
	oracle.Record
	Class record.Class
	Pos   int
}

func (p *place) has(pos int) bool { return p.Pos <= pos && pos < p.Pos+len(p.Data) }

// places returns all records of a database in the order of the file.
func places(t testing.TB, db *oracle.DB) (all []place) {
	t.Helper()
	whole := []byte(harness.Content(t, db.Path))
	from := 0
	for _, r := range db.Records(t) {
		const header = 42 // begins with oid and tid
		key := encoding.BigEndian.AppendUint64(nil, uint64(r.Oid))
		key = encoding.BigEndian.AppendUint64(key, uint64(r.Tid))
		pos := from + bytes.Index(whole[from:], key) + header
		require.True(t, bytes.HasPrefix(whole[pos:], r.Data))
		class, err := record.ClassOf(r.Data)
		require.NoError(t, err)
		all = append(all, place{r, class, pos})
		from = pos + len(r.Data)
	}
	return all
}

// errorLine finds the errors of a log, without time and place.
var errorLine = regexp.MustCompile(`(?m)^E[^]]*\] (.*)$`)

// TestDamagedBlockIsEIOAndNothingElseIs damages one record of each kind that a
// block is made of. Only that block cannot be read, and the log says why.
func TestDamagedBlockIsEIOAndNothingElseIs(t *testing.T) {
	t.Parallel()
	for _, class := range []record.Class{record.ZBlk0, record.ZBlk1, record.ZData} {
		for _, damage := range []struct {
			name   string
			change func(rec []byte)
		}{
			{"class", func(rec []byte) { rec[2] ^= 0xff }},
			{"begin of the state", func(rec []byte) { // behind the stop of the class pickle
				rec[bytes.Index(rec, []byte(".\x80\x03"))+1] = 0xff
			}},
			{"end", func(rec []byte) { rec[len(rec)-1] = 'x' }},
			{"all of it", func(rec []byte) { clear(rec) }},
		} {
			t.Run(class.Name+"/"+damage.name, func(t *testing.T) {
				t.Parallel()
				db := oracle.Load(t, "basic")
				size := 200
				if class == record.ZBlk1 {
					size = 0
				}
				rec := lastUsed(t, db, class, size)
				path := harness.CopyDatabase(t, "basic")
				patch(t, path, func(data []byte) []byte {
					damage.change(data[rec.Pos:][:len(rec.Data)])
					return data
				})
				s := harness.StartOn(t, path)
				last := db.Txns[len(db.Txns)-1]
				wrong, broken := readBlocks(t, s, db, "head", last)
				require.Empty(t, wrong)
				require.Len(t, broken, 1)
				require.GreaterOrEqual(t, broken[0].blk, int64(0))

				// The kernel asks again before it gives up: the same line twice.
				var lines []string
				for _, found := range errorLine.FindAllStringSubmatch(s.Log(), -1) {
					lines = append(lines, found[1])
				}
				lines = slices.Compact(lines)
				require.Len(t, lines, 1, "one thing said in the log")
				require.Contains(t, lines[0], fmt.Sprintf("object %s @%s", rec.Oid, rec.Tid))
				require.Contains(t, lines[0], fmt.Sprintf("readblk #%d", broken[0].blk))

				// Views before the damage are whole.
				at := "@" + (rec.Tid - 1).String()
				before := slices.IndexFunc(db.Txns, func(txn oracle.Txn) bool { return txn.Tid >= rec.Tid }) - 1
				wrong, broken = readBlocks(t, s, db, at, db.Txns[before])
				require.Empty(t, wrong)
				require.Empty(t, broken)
				s.Stop()
			})
		}
	}
}

// lastUsed returns the newest record of a class that the head shows: one that
// was neither replaced nor undone, of an object that something refers to.
func lastUsed(t testing.TB, db *oracle.DB, class record.Class, minSize int) place {
	t.Helper()
	whole := []byte(harness.Content(t, db.Path))
	newest := make(map[zodb.Oid]zodb.Tid)
	for _, txn := range db.Txns {
		for _, oid := range txn.Oids {
			newest[oid] = txn.Tid
		}
	}
	for _, p := range slices.Backward(places(t, db)) {
		reference := encoding.BigEndian.AppendUint64([]byte("C\x08"), uint64(p.Oid)) // SHORT_BINBYTES
		if p.Class == class && p.Tid == newest[p.Oid] && len(p.Data) >= minSize && bytes.Contains(whole, reference) {
			return p
		}
	}
	t.Fatalf("%s has no %s", db.Name, class)
	return place{}
}

// TestIndexFileIsNotTrusted: a saved index that is damaged, or belongs to
// another database or another time, changes nothing.
func TestIndexFileIsNotTrusted(t *testing.T) {
	t.Parallel()
	db := oracle.Load(t, "basic")
	for name, change := range map[string]func(index []byte) []byte{
		"empty":     func([]byte) []byte { return nil },
		"cut":       func(index []byte) []byte { return index[:len(index)/2] },
		"garbage":   func(index []byte) []byte { return bytes.Repeat([]byte("\xff\x80("), 1000) },
		"bit":       func(index []byte) []byte { index[len(index)/3] ^= 0x10; return index },
		"of topo":   func([]byte) []byte { return []byte(harness.Content(t, harness.Repo("t/testdata/topo.fs.index"))) },
		"of packed": func([]byte) []byte { return []byte(harness.Content(t, harness.Repo("t/testdata/packed.fs.index"))) },
	} {
		path := harness.CopyDatabase(t, "basic")
		patch(t, path+".index", change)
		s := harness.StartOn(t, path)
		wrong, broken := readBlocks(t, s, db, "head", db.Txns[len(db.Txns)-1])
		require.Empty(t, wrong, name)
		require.Empty(t, broken, name)
		s.Stop()
	}
}

// TestIndexOfABigDatabaseIsNotTrustedEither: with more than 256 MiB the saved
// index is used, if it is right.
func TestIndexOfABigDatabaseIsNotTrustedEither(t *testing.T) {
	const nblk, blksize = 130, 2 << 20
	path, block := harness.BuildDatabase(t, nblk, blksize, false)
	index := []byte(harness.Content(t, path+".index"))
	for name, change := range map[string]func() []byte{
		"right":   func() []byte { return index },
		"cut":     func() []byte { return index[:len(index)/2] },
		"shifted": func() []byte { b := slices.Clone(index); b[len(b)-20] ^= 1; return b },
		"other":   func() []byte { return []byte(harness.Content(t, harness.Repo("t/testdata/bigtree.fs.index"))) },
	} {
		require.NoError(t, os.WriteFile(path+".index", change(), 0o644))
		s := harness.StartOn(t, path)
		for _, blk := range []int64{0, 1, nblk / 2, nblk - 1} {
			data := harness.ReadAt(t, s.Path("head/bigfile", harness.BuiltOid.String()), blk*blksize, blksize)
			require.True(t, bytes.Equal(block, data), "%s: block %d", name, blk)
		}
		require.Equal(t, name != "right", strings.Contains(s.Log(), "saved index is not used"), "%s\n%s", name, s.Log())
		s.Stop()
	}
}

// TestUnfinishedTransactionAtTheEndIsIgnored: a writer that died, or one that
// is about to finish, leaves a part of a transaction.
func TestUnfinishedTransactionAtTheEndIsIgnored(t *testing.T) {
	t.Parallel()
	db := oracle.Load(t, "topo")
	whole := []byte(harness.Content(t, db.Path))
	// The last transaction, once more: its header, and it with status "c".
	length := int(encoding.BigEndian.Uint64(whole[len(whole)-8:]))
	txn := slices.Clone(whole[len(whole)-8-length:])
	txn[7]++ // a later tid
	voted := slices.Clone(txn)
	voted[16] = 'c'
	for name, tail := range map[string][]byte{
		"3 bytes":             txn[:3],
		"a header":            txn[:23],
		"half a transaction":  txn[:len(txn)/2],
		"all but a byte":      txn[:len(txn)-1],
		"not finished":        voted,
		"half and unfinished": voted[:len(voted)/2],
	} {
		path := harness.CopyDatabase(t, "topo")
		patch(t, path, func(data []byte) []byte { return append(data, tail...) })
		s := harness.StartOn(t, path)
		require.Equal(t, db.Head.String(), harness.Content(t, s.Path("head/at")), name)
		wrong, broken := readBlocks(t, s, db, "head", db.Txns[len(db.Txns)-1])
		require.Empty(t, wrong, name)
		require.Empty(t, broken, name)
		s.Stop()
	}
}

// TestAnyDamagedByteIsSurvived changes one byte of a database, anywhere. The
// server refuses to start and says so, or it serves, and never dies or hangs.
// Data that reads wrong without an error is tolerated only where the format has
// nothing to notice it by: in the one block whose bytes were changed, and
// behind records that say which block is where.
func TestAnyDamagedByteIsSurvived(t *testing.T) {
	rnd := harness.NewRand(t)
	for _, name := range []string{"basic", "topo"} {
		db := oracle.Load(t, name)
		whole, all := []byte(harness.Content(t, db.Path)), places(t, db)
		for range 100 {
			pos, bits := rnd.IntN(len(whole)), byte(1+rnd.IntN(255))
			if rnd.IntN(2) == 0 { // half of them not in the data that is most of the file
				pos = nextHeader(whole, pos)
			}
			t.Run(fmt.Sprintf("%s/%d^%#x", name, pos, bits), func(t *testing.T) {
				t.Parallel()
				surviveByte(t, db, all, whole, pos, bits)
			})
		}
	}
}

// nextHeader returns a position near pos where there is more structure than
// data: up to 100 bytes before the next record of array code.
func nextHeader(whole []byte, pos int) int {
	if i := bytes.Index(whole[pos:], []byte("\x80\x03c")); i >= 0 {
		return max(0, pos+i-pos%100+50)
	}
	return pos
}

func surviveByte(t *testing.T, db *oracle.DB, all []place, whole []byte, pos int, bits byte) {
	path := harness.CopyDatabase(t, db.Path)
	data := slices.Clone(whole)
	pos = min(pos, len(data)-1)
	data[pos] ^= bits
	require.NoError(t, os.WriteFile(path, data, 0o644))
	s, code, words := harness.TryStart(t, path)
	if s == nil {
		require.Equal(t, 7, code, words)
		require.Contains(t, words, "wcfs: open file://")
		return
	}
	for _, i := range []int{len(db.Txns) - 1, len(db.Txns) / 2, 0} {
		txn := db.Txns[i]
		if _, err := os.Stat(s.Path("@" + txn.Tid.String())); err != nil {
			require.ErrorIs(t, err, unix.ENOENT, "the damaged transaction is behind the end now")
			continue
		}
		wrong, broken := readBlocks(t, s, db, "@"+txn.Tid.String(), txn)
		if inBlockData(all, pos) {
			require.LessOrEqual(t, len(wrong)+len(broken), 1, "wrong: %v, broken: %v", wrong, broken)
		}
	}
	require.True(t, s.Running())
	require.Equal(t, s.ZURL, harness.Content(t, s.Path(".wcfs/zurl")))
	s.Stop()
}

// inBlockData reports whether pos is inside a record that is nothing but data
// of one block.
func inBlockData(all []place, pos int) bool {
	return slices.ContainsFunc(all, func(p place) bool {
		return p.has(pos) && (p.Class == record.ZBlk0 || p.Class == record.ZData)
	})
}

// TestReaderOfADamagedBlockDoesNotFillTheLog: what it is told in a loop is said now
// and then.
func TestReaderOfADamagedBlockDoesNotFillTheLog(t *testing.T) {
	t.Parallel()
	db := oracle.Load(t, "basic")
	rec := lastUsed(t, db, record.ZBlk0, 200)
	path := harness.CopyDatabase(t, "basic")
	patch(t, path, func(data []byte) []byte {
		clear(data[rec.Pos:][:len(rec.Data)])
		return data
	})
	s := harness.StartOn(t, path)
	_, broken := readBlocks(t, s, db, "head", db.Txns[len(db.Txns)-1])
	require.Len(t, broken, 1)
	file := db.Files[broken[0].file]
	fd, err := harness.OpenFile(s.Path("head/bigfile", file.Oid.String()), unix.O_RDONLY)
	require.NoError(t, err)
	defer unix.Close(fd)
	start := time.Now()
	for range 1000 {
		_, err := unix.Pread(fd, make([]byte, 100), broken[0].blk*file.BlkSize)
		require.ErrorIs(t, err, unix.EIO)
	}
	lines := strings.Count(s.Log(), fmt.Sprintf("readblk #%d", broken[0].blk))
	require.Positive(t, lines)
	require.LessOrEqual(t, lines, 2+int(time.Since(start)/(5*time.Second)), "lines about it in the log")
	s.Stop()
}
