package transfer

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/wcfs/wcfs/internal/zodb/btree"
	"github.com/wcfs/wcfs/internal/zodb/fault"
	"github.com/wcfs/wcfs/internal/zodb/record"
	"github.com/wcfs/wcfs/internal/zodb/zwrite"
)

const zipMagic = "PK\x03\x04"

// Archive is an .npz file: a zip archive of .npy files. It belongs to one goroutine.
type Archive struct {
	Path    string // for messages
	file    *os.File
	members []member
}

// member is one array of an archive.
type member struct {
	key  string // name without .npy, as numpy has it
	file *zip.File
}

// OpenArchive opens a file if it is a zip archive, and returns nil if it is none. One
// that has anything but .npy files is refused. The caller closes it.
//
// Errors are of kind fault.Input.
func OpenArchive(path string) (*Archive, error) {
	if fi, err := os.Stat(path); err != nil || !fi.Mode().IsRegular() {
		return nil, nil // who opens it as a Source tells why
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, nil
	}
	magic := make([]byte, len(zipMagic))
	if _, err := f.ReadAt(magic, 0); err != nil || !bytes.Equal(magic, []byte(zipMagic)) {
		_ = f.Close()
		return nil, nil
	}
	a := &Archive{Path: path, file: f}
	if err := a.list(); err != nil {
		_ = f.Close()
		return nil, err
	}
	return a, nil
}

// list finds the members.
func (a *Archive) list() error {
	fi, err := a.file.Stat()
	if err != nil {
		return badInput(a.Path, err)
	}
	r, err := zip.NewReader(a.file, fi.Size())
	if err != nil {
		return &fault.Error{Kind: fault.Input, About: a.Path, Msg: "is a zip archive, as an .npz is, that is damaged or cut off", Hint: "get a whole one", Err: err}
	}
	seen := make(map[string]bool)
	for _, f := range r.File {
		key, ok := strings.CutSuffix(f.Name, ".npy")
		switch {
		case strings.HasSuffix(f.Name, "/"):
			continue
		case !ok:
			return &fault.Error{Kind: fault.Input, About: a.Path, Msg: fmt.Sprintf("is a zip archive with %.100q in it, and no .npz, which has .npy files only", f.Name), Hint: "unpack it, and import what is an array"}
		case f.Flags&1 != 0:
			return &fault.Error{Kind: fault.Input, About: a.Path, Msg: fmt.Sprintf("has %.100q encrypted", f.Name), Hint: "unpack it first"}
		case seen[key]:
			return &fault.Error{Kind: fault.Input, About: a.Path, Msg: fmt.Sprintf("has %.100q twice", f.Name), Hint: "unpack it, and import what is wanted"}
		}
		if err := checkKey(key); err != nil {
			return &fault.Error{Kind: fault.Input, About: a.Path, Msg: fmt.Sprintf("has %.100q, which gives no name: %s", f.Name, err), Hint: "unpack it, and import it by another name"}
		}
		seen[key] = true
		a.members = append(a.members, member{key, f})
	}
	if len(a.members) == 0 {
		return &fault.Error{Kind: fault.Input, About: a.Path, Msg: "is a zip archive without arrays in it"}
	}
	return nil
}

// Size returns the number of bytes of all files in it.
func (a *Archive) Size() int64 {
	size := uint64(0)
	for _, m := range a.members {
		size += m.file.UncompressedSize64
	}
	return int64(min(size, 1<<62))
}

// Close closes the file.
func (a *Archive) Close() error { return a.file.Close() }

// source opens one member.
func (m *member) source(archive string) (*Source, error) {
	path := archive + ": " + m.file.Name
	r, err := m.file.Open()
	if errors.Is(err, zip.ErrAlgorithm) {
		return nil, &fault.Error{Kind: fault.Input, About: path, Msg: fmt.Sprintf("is compressed by method %d, which is not known", m.file.Method), Hint: "unpack it first", Err: err}
	}
	if err != nil {
		return nil, badInput(path, err)
	}
	size := int64(min(m.file.UncompressedSize64, 1<<62))
	src, err := NewSource(io.NopCloser(r), path, size, Layout{})
	if err != nil {
		_ = r.Close()
		return nil, err
	}
	src.close = r.Close
	return src, nil
}

// Member is what became of one array of an archive.
type Member struct {
	Name string // path
	Result
}

// ImportArchive writes all arrays of an archive in one transaction: as a folder, which
// is a mapping that the root object refers to by name, of which each array is an item.
// One is read after another, in pieces. Errors are those of Import.
func ImportArchive(ctx context.Context, db zwrite.Store, a *Archive, name string, opt Options) (all []Member, err error) {
	defer failed(&err, "import", name)
	opt = opt.withDefaults(importMessage+"%s as %s", a.Path, name)
	if opt.BlkSize < 1 || opt.BlkSize > MaxBlkSize {
		return nil, errBlkSize
	}
	txn, err := db.Begin(ctx, zwrite.Meta{Description: []byte(opt.Message)})
	if err != nil {
		return nil, err
	}
	defer txn.Abort()
	at, err := newPlace(ctx, txn, name, opt.Replace, true)
	if err != nil {
		return nil, err
	}
	if err := a.checkPaths(ctx, txn, at, name); err != nil {
		return nil, err
	}
	folder := zwrite.NewFolder(txn)
	for i := range a.members {
		m := &a.members[i]
		done := Member{Name: name + "/" + m.key}
		if err := done.take(ctx, txn, m, a.Path, opt); err != nil {
			return nil, err
		}
		if err := folder.Set(m.key, btree.Ref{Oid: done.Oid, Class: record.ZBigArray}); err != nil {
			return nil, err
		}
		all = append(all, done)
	}
	folder.Flush()
	if err := at.set(folder.Ref()); err != nil {
		return nil, err
	}
	tid, err := txn.Commit()
	for i := range all {
		all[i].Tid = tid
	}
	return all, err
}

// checkPaths checks that no other object has one of the paths already: a name may have
// slashes. Names in a folder that is replaced do not count.
func (a *Archive) checkPaths(ctx context.Context, txn *zwrite.Txn, at *place, name string) error {
	t := newTree(ctx, txn)
	for _, m := range a.members {
		path := name + "/" + m.key
		s := search{tree: t, tried: make(map[string]bool)}
		p, err := s.find(nil, zwrite.RootOid, path)
		if err != nil {
			return err
		}
		if p != nil && (at.ref == (btree.Ref{}) || !slices.Contains(p.above, at.ref.Oid)) {
			return exists(path)
		}
	}
	return nil
}

// take writes one member.
func (done *Member) take(ctx context.Context, txn *zwrite.Txn, m *member, archive string, opt Options) error {
	src, err := m.source(archive)
	if err != nil {
		return err
	}
	defer src.Close()
	return done.create(ctx, txn, src, opt)
}
