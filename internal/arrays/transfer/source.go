package transfer

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/wcfs/wcfs/internal/arrays/ndarray"
	"github.com/wcfs/wcfs/internal/zodb/fault"
)

// npyMagic is what every .npy file begins with.
const npyMagic = "\x93NUMPY"

// Layout says what bytes mean that do not say it themselves. A .npy file does, so
// that nothing may be given for it. Fields that are left out are those of the
// array that is appended to; for a new one they are given here.
type Layout struct {
	DType *ndarray.DType // nil: uint8
	Shape []int64        // nil: one axis, as long as there is data
	Order ndarray.Order  // 0: RowMajor
	Raw   bool           // it is plain data, even if neither type nor shape is given
}

func (l *Layout) empty() bool { return !l.Plain() && l.Order == 0 }

// Plain reports whether somebody said that it is plain data. It is never guessed:
// compressed numbers, or numbers as text, would become wrong ones without a word.
func (l *Layout) Plain() bool { return l.DType != nil || l.Shape != nil || l.Raw }

// Source is an array that comes from outside. It belongs to one goroutine.
type Source struct {
	Path   string // for messages
	layout Layout // complete for a .npy file, and after settle; the shape may be missing still
	size   int64  // bytes of data, -1 if only their end tells it
	done   int64  // bytes that were read
	data   io.Reader
	close  func() error
}

// OpenSource opens a .npy file, or one that has nothing but data. Where size and
// layout do not fit together it fails at once, if the size is known.
//
// The end of ctx ends reads that wait for data of a pipe. Errors: of kind fault.Input,
// also for what the operating system says.
func OpenSource(ctx context.Context, path string, layout Layout) (*Source, error) {
	f, err := openFile(ctx, path)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, badInput(path, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = f.SetReadDeadline(time.Unix(1, 0)) }) // plain files have none
	s, err := fileSource(f, layout)
	if err != nil {
		stop()
		_ = f.Close()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, err
	}
	s.close = func() error {
		stop()
		return f.Close()
	}
	return s, nil
}

func fileSource(f *os.File, layout Layout) (*Source, error) {
	fi, err := f.Stat()
	if err != nil {
		return nil, badInput(f.Name(), err)
	}
	if fi.IsDir() {
		return nil, &fault.Error{Kind: fault.Input, About: f.Name(), Msg: "is a directory", Hint: "give a .npy file, or one with plain data"}
	}
	if !fi.Mode().IsRegular() {
		return NewSource(f, f.Name(), -1, layout)
	}
	return NewSource(f, f.Name(), fi.Size(), layout)
}

// NewSource returns what r gives, header and data; size is the number of bytes in
// r, -1 if it is not known. path is for messages. The caller closes r.
func NewSource(r io.Reader, path string, size int64, layout Layout) (*Source, error) {
	s := &Source{Path: path, layout: layout, size: size, close: func() error { return nil }}
	counted := &counter{r: r}
	buffered := bufio.NewReaderSize(counted, peekSize) // reads of more than its buffer go around it
	s.data = buffered
	magic, err := buffered.Peek(len(npyMagic))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, badInput(path, err)
	}
	head, _ := buffered.Peek(buffered.Buffered()) // no more than is there: who writes a pipe may wait for us
	err = nil
	switch {
	case bytes.Equal(magic, []byte(npyMagic)):
		err = s.npy(buffered, head)
	case layout.Plain():
	case len(head) > 0 && bytes.HasPrefix([]byte(npyMagic), head):
		err = cutHeader(path, head, int64(len(head)))
	default:
		err = noArray(path, head)
	}
	if err != nil {
		return nil, err
	}
	if s.size >= 0 {
		s.size -= counted.n - int64(buffered.Buffered())
	}
	return s, s.checkShape()
}

// npy reads the header. head is what is known of it.
func (s *Source) npy(r io.Reader, head []byte) error {
	if !s.layout.empty() {
		return &fault.Error{Kind: fault.Input, About: s.Path, Msg: "is a .npy file, which says its dtype, shape and order itself",
			Hint: "leave --dtype, --shape, --order and --raw out"}
	}
	head = bytes.Clone(head[:min(len(head), npyPrefix)])
	all := &counter{r: r}
	h, err := ndarray.ReadHeader(all)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return cutHeader(s.Path, head, all.n)
	}
	if err != nil {
		return badInput(s.Path, err)
	}
	s.layout = Layout{DType: h.DType, Shape: append([]int64{}, h.Shape...), Order: h.Order}
	return nil
}

// array returns what is known of the array: the shape is nil while it is not. The
// layout must be settled.
func (s *Source) array() *ndarray.Array {
	return &ndarray.Array{DType: s.layout.DType, Shape: s.layout.Shape, Order: s.layout.Order}
}

// Size returns the number of bytes of data, -1 if it is not known.
func (s *Source) Size() int64 { return s.size }

// checkShape compares the size of the data with the shape, if both are known, and
// gives the size if only the shape is.
func (s *Source) checkShape() error {
	if s.layout.Shape == nil || s.layout.DType == nil {
		return nil
	}
	want, err := s.array().Bytes()
	if err != nil {
		return badInput(s.Path, err)
	}
	if s.size >= 0 && s.size != want {
		return s.wrongSize(want, s.size, "")
	}
	s.size = want
	return nil
}

// settle completes the layout from that of the array that is appended to. The
// shape remains open while the size is.
func (s *Source) settle(like *ndarray.Array) error {
	if s.layout.DType == nil {
		s.layout.DType = like.DType
	}
	if s.layout.Order == 0 {
		s.layout.Order = like.Order
	}
	if s.layout.Shape == nil && s.size >= 0 {
		return s.ends(like)
	}
	return s.checkShape()
}

// ends gives the shape of data whose size is known: that of like but for the
// major axis.
func (s *Source) ends(like *ndarray.Array) error {
	like = &ndarray.Array{DType: s.layout.DType, Shape: like.Shape, Order: like.Order}
	row, err := rowBytes(like)
	if err != nil {
		return badInput(s.Path, err)
	}
	if row == 0 && s.size > 0 || row > 0 && s.size%row != 0 {
		return &fault.Error{Kind: fault.Input, About: s.Path, Msg: fmt.Sprintf("has %d bytes of data, which is no multiple of %d bytes for %s", s.size, row, like.DType),
			Hint: "are --dtype and --shape right?"}
	}
	rows := int64(0)
	if row > 0 {
		rows = s.size / row
	}
	s.layout.Shape = slices.Clone(like.Shape)
	s.layout.Shape[majorAxis(like)] = rows
	return nil
}

// wrongSize says that the data has another size than shape and dtype say.
func (s *Source) wrongSize(want, got int64, atLeast string) error {
	hint := fmt.Sprintf("it is cut off: %d bytes are missing; get a whole one", want-got)
	if got > want {
		hint = "it is longer than its array; is it the right one?"
	}
	return &fault.Error{Kind: fault.Input, About: s.Path, Hint: hint, Msg: fmt.Sprintf("has %s%d bytes of data instead of the %d of %s", atLeast, got, want, Describe(s.array()))}
}

// next fills buf. It fills less at the end of the data, which is then known to
// have the right size.
func (s *Source) next(ctx context.Context, buf []byte) (n int, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	want := buf
	if s.size >= 0 {
		want = buf[:min(int64(len(buf)), s.size-s.done)]
	}
	n, err = io.ReadFull(s.data, want)
	s.done += int64(n)
	if err == nil && len(want) < len(buf) {
		err = s.checkEnd()
	}
	ended := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
	switch {
	case err == nil || fault.Is(err, fault.Input):
		return n, err
	case ctx.Err() != nil: // that is why reading failed
		return n, ctx.Err()
	case !ended:
		return n, badInput(s.Path, err)
	case s.size >= 0:
		return n, s.wrongSize(s.size, s.done, "")
	}
	s.size = s.done
	return n, nil
}

// checkEnd checks that there is no more data.
func (s *Source) checkEnd() error {
	n, err := io.ReadFull(s.data, make([]byte, 1))
	if n > 0 {
		return s.wrongSize(s.size, s.size+1, "at least ")
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// Close closes the file that OpenSource opened.
func (s *Source) Close() error { return s.close() }

// badInput returns err as trouble with the input.
func badInput(path string, err error) error {
	var pathErr *os.PathError
	msg := err.Error()
	if errors.As(err, &pathErr) {
		msg = pathErr.Err.Error()
	}
	return &fault.Error{Kind: fault.Input, About: path, Msg: msg, Err: err}
}

// counter counts what is read through it.
type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}
