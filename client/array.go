package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Array is what is known of an array (ZBigArray) as of a view. Its items stand one after
// another in a file, from its first byte on; items that the file does not have are zeros.
type Array struct {
	Oid      Oid             // of the ZBigArray
	File     Oid             // of the file that has the items
	DType    json.RawMessage // as NumPy describes it: a string, as "<f8", or a list of fields
	Shape    []int64
	Order    string  // "C": the last index moves fastest, or "F": the first
	Strides  []int64 // by how many bytes the next item in each dimension is away
	ItemSize int64   // bytes
	Bytes    int64   // of all items
	Revision Tid     // the transaction that has changed shape or type last
}

// ErrNoArray says that there is no array of that name, or none that NumPy could load.
var ErrNoArray = errors.New("no such array")

// maxArrayFacts bounds what a server can say about an array. A type may have many fields.
const maxArrayFacts = 16 << 20

// Array returns what is known of an array as of the view. Its name is that of the mount, as
// wcfs ls prints it, without arrays/ and the ending: "temperature", or "a/b".
//
// Errors: ErrNoArray, ErrClosed, that of ctx, and those of the operating system.
func (c *Conn) Array(ctx context.Context, name string) (*Array, error) {
	_, done, err := c.use(ctx)
	if err != nil {
		return nil, c.wrap(err, "array %q", name)
	}
	defer done()
	a, err := c.w.array(c.at, name)
	return a, c.wrap(err, "array %q", name)
}

// OpenArray opens the file of an array. After Resync the array may be another one: see
// Array.
func (c *Conn) OpenArray(ctx context.Context, name string) (*File, *Array, error) {
	a, err := c.Array(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	f, err := c.Open(ctx, a.File)
	if err != nil {
		return nil, nil, err
	}
	return f, a, nil
}

// Array returns what is known of an array: see Conn.Array.
func (s *Snapshot) Array(ctx context.Context, name string) (*Array, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	a, err := s.w.array(s.at, name)
	if err != nil {
		return nil, fmt.Errorf("wcfs %s: snapshot @%s: array %q: %w", s.w.point, s.at, name, err)
	}
	return a, nil
}

// OpenArray opens the file of an array.
func (s *Snapshot) OpenArray(ctx context.Context, name string) (*SnapshotFile, *Array, error) {
	a, err := s.Array(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	f, err := s.Open(ctx, a.File)
	if err != nil {
		return nil, nil, err
	}
	return f, a, nil
}

// array reads what the server says of an array.
func (w *WCFS) array(at Tid, name string) (*Array, error) {
	text, err := w.readSmall(fmt.Sprintf("@%s/arrays/%s.json", at, name), maxArrayFacts)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return nil, fmt.Errorf("%w: %w", ErrNoArray, err)
	}
	if err != nil {
		return nil, err
	}
	return decodeArray(text)
}

// decodeArray decodes NAME.json.
func decodeArray(text []byte) (*Array, error) {
	var said struct {
		NPY                 bool
		Reason              string
		Oid, File, Revision string
		DType               json.RawMessage
		Shape, Strides      []int64
		Order               string
		ItemSize, NBytes    int64
	}
	if err := json.Unmarshal(text, &said); err != nil {
		return nil, fmt.Errorf("%w: what is said about the array: %w", ErrProtocol, err)
	}
	if !said.NPY {
		return nil, fmt.Errorf("%w: %s", ErrNoArray, said.Reason)
	}
	a := &Array{DType: said.DType, Shape: said.Shape, Order: said.Order, Strides: said.Strides, ItemSize: said.ItemSize, Bytes: said.NBytes}
	var errs [3]error
	a.Oid, errs[0] = ParseOid(said.Oid)
	a.File, errs[1] = ParseOid(said.File)
	a.Revision, errs[2] = ParseTid(said.Revision)
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("%w: what is said about the array: %w", ErrProtocol, err)
	}
	return a, nil
}

// readSmall reads a file of the mount that has up to most bytes.
func (w *WCFS) readSmall(path string, most int) ([]byte, error) {
	fd, err := w.open(path, unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	var text []byte
	for {
		piece := make([]byte, 64<<10)
		n, err := pread(fd, piece, int64(len(text)))
		switch {
		case err != nil:
			return nil, failed("read "+path, err)
		case n == 0:
			return text, nil
		case len(text)+n > most:
			return nil, fmt.Errorf("%w: %s has more than %d bytes", ErrProtocol, path, most)
		}
		text = append(text, piece[:n]...)
	}
}
