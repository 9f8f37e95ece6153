package neoproto

import (
	"errors"
	"fmt"
	"io"

	"github.com/tinylib/msgp/msgp"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// ProtocolError says that what came over a connection is not what a node may send.
type ProtocolError struct{ Msg string }

func (e *ProtocolError) Error() string { return "not the protocol of NEO: " + e.Msg }

func protocolErrorf(format string, args ...any) error {
	return &ProtocolError{fmt.Sprintf(format, args...)}
}

// readRoom is how much is read at once of small packets, in bytes.
const readRoom = 64 << 10

// Reader takes packets from a stream. It is for one goroutine.
type Reader struct {
	in    bounded
	r     *msgp.Reader
	limit int64
	err   error // of the packet that is being read
}

// NewReader returns a reader of packets that are at most limit bytes long; it may let
// some pass that are a bit longer.
func NewReader(in io.Reader, limit int64) *Reader {
	r := &Reader{in: bounded{r: in}, limit: limit}
	r.r = msgp.NewReaderSize(&r.in, readRoom)
	return r
}

// bounded counts down what may be read.
type bounded struct {
	r    io.Reader
	left int64
}

var errTooLong = errors.New("too long")

func (b *bounded) Read(p []byte) (n int, err error) {
	if b.left <= 0 {
		return 0, errTooLong
	}
	n, err = b.r.Read(p)
	b.left -= int64(n)
	return n, err
}

// Next returns the next packet. The error is io.EOF if there is none any more, a
// *ProtocolError, or the one of the stream. Then the reader is of no use any more.
func (r *Reader) Next() (Packet, error) {
	r.in.left = r.limit + readRoom
	if _, err := r.r.R.Peek(1); err != nil {
		return Packet{}, err
	}
	r.exactly(3, "a packet")
	p := Packet{ID: uint32(r.uint(1<<32 - 1))}
	code := Code(r.uint(1<<16 - 1))
	if r.err == nil {
		p.Msg = r.message(code)
	}
	if r.err != nil {
		if o, ok := p.Msg.(*Object); ok && o.Data != nil {
			o.Data.Release()
		}
		return Packet{}, r.failure(code)
	}
	return p, nil
}

// failure says why a packet could not be read.
func (r *Reader) failure(code Code) error {
	var wrong msgp.Error
	switch {
	case errors.Is(r.err, errTooLong):
		return protocolErrorf("a packet of code 0x%04x that is longer than %d bytes", uint16(code), r.limit)
	case r.err == io.EOF:
		return io.ErrUnexpectedEOF // a packet has begun
	case errors.As(r.err, &wrong):
		return protocolErrorf("in a packet of code 0x%04x: %s", uint16(code), wrong)
	}
	return r.err
}

// ---- values ----

// All of them return nothing of value once something was wrong.

func (r *Reader) fail(err error) {
	if r.err == nil && err != nil {
		r.err = err
	}
}

func (r *Reader) wrongf(format string, args ...any) { r.fail(protocolErrorf(format, args...)) }

// array returns the length of a list.
func (r *Reader) array() int {
	if r.err != nil {
		return 0
	}
	n, err := r.r.ReadArrayHeader()
	r.fail(err)
	return int(n)
}

// exactly reads the beginning of a list that has n items.
func (r *Reader) exactly(n int, what string) {
	if got := r.array(); r.err == nil && got != n {
		r.wrongf("%s has %d parts, and %d are expected", what, got, n)
	}
}

// list calls item for each item of a list.
func (r *Reader) list(item func()) {
	for range r.array() {
		if r.err != nil {
			return
		}
		item()
	}
}

// none reports whether a value is absent, and goes past it then.
func (r *Reader) none() bool {
	if r.err != nil || !r.r.IsNil() {
		return false
	}
	r.fail(r.r.ReadNil())
	return r.err == nil
}

func (r *Reader) uint(limit uint64) uint64 {
	if r.err != nil {
		return 0
	}
	n, err := r.r.ReadUint64()
	r.fail(err)
	if n > limit {
		r.wrongf("%d, where at most %d is expected", n, limit)
		return 0
	}
	return n
}

func (r *Reader) nodeID() NodeID {
	if r.err != nil {
		return 0
	}
	n, err := r.r.ReadInt32()
	r.fail(err)
	if n == 0 {
		r.wrongf("a node of number 0")
	}
	return NodeID(n)
}

func (r *Reader) bool() bool {
	if r.err != nil {
		return false
	}
	yes, err := r.r.ReadBool()
	r.fail(err)
	return yes
}

func (r *Reader) float() float64 {
	if r.err != nil {
		return 0
	}
	x, err := r.r.ReadFloat64()
	r.fail(err)
	return x
}

// enum reads a value of the enumeration that has this extension type.
func (r *Reader) enum(extension, values byte) byte {
	if r.err != nil {
		return 0
	}
	b, err := r.r.R.Next(3)
	r.fail(err)
	if r.err != nil {
		return 0
	}
	if b[0] != fixExt1 || b[1] != extension || b[2] >= values {
		r.wrongf("% x, where a value of enumeration %d is expected", b, extension)
		return 0
	}
	return b[2]
}

// size returns the length of a byte string.
func (r *Reader) size() int {
	if r.err != nil {
		return 0
	}
	n, err := r.r.ReadBytesHeader()
	r.fail(err)
	if int64(n) > r.limit {
		r.fail(errTooLong)
		return 0
	}
	return int(n)
}

// full reads what a byte string of that length has.
func (r *Reader) full(b []byte, what string) {
	n := r.size()
	if r.err == nil && n != len(b) {
		r.wrongf("%s of %d bytes, and %d are expected", what, n, len(b))
	}
	if r.err == nil {
		_, err := r.r.ReadFull(b)
		r.fail(err)
	}
}

// id reads eight bytes as a number, 0 if they are absent.
func (r *Reader) id(what string) (n uint64) {
	if r.none() {
		return 0
	}
	var b [8]byte
	r.full(b[:], what)
	for _, c := range b {
		n = n<<8 | uint64(c)
	}
	return n
}

func (r *Reader) tid() zodb.Tid { return zodb.Tid(r.id("a tid")) }
func (r *Reader) oid() zodb.Oid { return zodb.Oid(r.id("an oid")) }

// buffer reads a byte string into a buffer.
func (r *Reader) buffer() *storage.Buf {
	n := r.size()
	if r.err != nil {
		return nil
	}
	buf := storage.NewBuf(min(n, firstPart))
	for have := 0; ; {
		m, err := r.r.ReadFull(buf.Data[have:])
		if err != nil {
			buf.Release()
			r.fail(err)
			return nil
		}
		if have += m; have == n {
			return buf
		}
		more := storage.NewBuf(min(n, 2*have))
		copy(more.Data, buf.Data)
		buf.Release()
		buf = more
	}
}

// firstPart is how much of a byte string has memory at once, whatever its header says.
// It holds the usual block.
const firstPart = 4 << 20

// bytes reads a byte string, nil if it is absent.
func (r *Reader) bytes() []byte {
	if r.none() {
		return nil
	}
	buf := r.buffer()
	if buf == nil {
		return nil
	}
	defer buf.Release()
	return append([]byte{}, buf.Data...)
}
