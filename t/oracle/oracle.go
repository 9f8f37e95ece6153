// Package oracle tells what test databases contain, so that what was read from
// them can be checked.
//
// # Nouns
//
// A test database NAME is a FileStorage NAME.fs, written by ZODB on Python, and
// NAME.json with what every block of every file must read as after every
// transaction. A DB is the content of NAME.json.
//
// Databases are in t/testdata of the repository. More of them, which cannot be
// part of it, are looked for beside the repository in ../shared/testdata.
//
// # Ownership
//
// A DB is the caller's. The database files must not be written: copy them.
package oracle

import (
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"lab.nexedi.com/kirr/neo/go/zodb"
)

// DB is the expected content of one database.
type DB struct {
	Name  string
	Path  string          // of NAME.fs
	Files map[string]File // by name in the root object
	Head  zodb.Tid
	Txns  []Txn // ascending; for a packed database, only those that can be read
}

// File is one array.
type File struct {
	Oid     zodb.Oid
	BlkSize int64 // bytes
}

// Txn is one transaction and what the files are after it.
type Txn struct {
	Tid   zodb.Tid
	Note  string
	Oids  []zodb.Oid           // changed objects, ascending
	Files map[string]FileState // of the files that exist
}

// FileState is a file at a view.
type FileState struct {
	Size int64 // bytes, as told by stat

	// Blk has the sha1 of each block that is no hole. It is nil if the blocks
	// of the file are not known.
	Blk map[int64]Sum
}

// Sum is the sha1 of a whole block.
type Sum [sha1.Size]byte

// SumBlock returns the sha1 of a block of blksize bytes that begins with data
// and continues with zeros.
func SumBlock(data []byte, blksize int64) (sum Sum) {
	h := sha1.New()
	h.Write(data)
	var zeros [4096]byte
	for rest := blksize - int64(len(data)); rest > 0; rest -= int64(len(zeros)) {
		h.Write(zeros[:min(rest, int64(len(zeros)))])
	}
	h.Sum(sum[:0])
	return sum
}

// All returns the names of the databases that are present, sorted.
func All(t testing.TB) (names []string) {
	t.Helper()
	for _, dir := range dirs(t) {
		paths, _ := filepath.Glob(filepath.Join(dir, "*.json"))
		for _, path := range paths {
			name := strings.TrimSuffix(filepath.Base(path), ".json")
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return names
}

// Load returns what database name contains. It skips the test if the database
// is not present, and fails it if its description cannot be read.
func Load(t testing.TB, name string) *DB {
	t.Helper()
	for _, dir := range dirs(t) {
		data, err := os.ReadFile(filepath.Join(dir, name+".json"))
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		db, err := parse(data)
		if err != nil {
			t.Fatalf("%s/%s.json: %s", dir, name, err)
		}
		db.Name, db.Path = name, filepath.Join(dir, name+".fs")
		return db
	}
	t.Skipf("database %q is not present", name)
	return nil
}

// dirs returns the directories that have databases.
func dirs(t testing.TB) []string {
	t.Helper()
	root, err := os.Getwd()
	for err == nil {
		if _, err := os.Stat(filepath.Join(root, "go.mod")); err == nil {
			break
		}
		if root == filepath.Dir(root) {
			t.Fatal("test does not run inside the repository")
		}
		root = filepath.Dir(root)
	}
	if err != nil {
		t.Fatal(err)
	}
	return []string{
		filepath.Join(root, "t", "testdata"),
		filepath.Join(root, "..", "shared", "testdata"),
	}
}

// parse reads the format of NAME.json: tids and oids are hex, block numbers are
// the keys of objects.
func parse(data []byte) (*DB, error) {
	var in struct {
		Head  string
		Files map[string]struct {
			Oid     string
			BlkSize int64
		}
		Txns []struct {
			Tid, Note string
			Oids      []string
			Files     map[string]struct {
				Size int64
				Blk  map[string]string
			}
		}
	}
	if err := json.Unmarshal(data, &in); err != nil {
		return nil, err
	}
	p := parser{}
	db := &DB{Head: p.tid(in.Head), Files: make(map[string]File)}
	for name, f := range in.Files {
		db.Files[name] = File{p.oid(f.Oid), f.BlkSize}
	}
	for _, t := range in.Txns {
		txn := Txn{Tid: p.tid(t.Tid), Note: t.Note, Files: make(map[string]FileState)}
		for _, oid := range t.Oids {
			txn.Oids = append(txn.Oids, p.oid(oid))
		}
		for name, f := range t.Files {
			txn.Files[name] = FileState{f.Size, p.blocks(f.Blk)}
		}
		db.Txns = append(db.Txns, txn)
	}
	return db, p.err
}

// parser keeps the first error.
type parser struct{ err error }

func (p *parser) fail(err error) {
	if err != nil && p.err == nil {
		p.err = err
	}
}

func (p *parser) tid(s string) zodb.Tid {
	tid, err := zodb.ParseTid(s)
	p.fail(err)
	return tid
}

func (p *parser) oid(s string) zodb.Oid {
	oid, err := zodb.ParseOid(s)
	p.fail(err)
	return oid
}

func (p *parser) blocks(in map[string]string) map[int64]Sum {
	if in == nil {
		return nil
	}
	blocks := make(map[int64]Sum, len(in))
	for key, sha := range in {
		blk, err := strconv.ParseInt(key, 10, 64)
		p.fail(err)
		sum, err := hex.DecodeString(sha)
		if err == nil && len(sum) != sha1.Size {
			err = fmt.Errorf("block %s: not a sha1: %q", key, sha)
		}
		p.fail(err)
		var s Sum
		copy(s[:], sum)
		blocks[blk] = s
	}
	return blocks
}
