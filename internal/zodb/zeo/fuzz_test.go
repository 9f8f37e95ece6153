package zeo

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"runtime"
	"testing"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/link"
	"github.com/wcfs/wcfs/internal/zodb/pickle"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

func FuzzMessages(f *testing.F) {
	for _, c := range captured {
		data, err := hex.DecodeString(c.hex)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte("\x80\x03(K\x01K\x00X\x06\x00\x00\x00.reply}X\x01\x00\x00\x00a]q\x01h\x01ast."))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, c := range []codec{codecZ{}, codecM{}} {
			kept := bytes.Clone(data)
			m, err := c.decode(data)
			if !bytes.Equal(kept, data) {
				t.Fatal("decoding has changed the message")
			}
			var protocol *ProtocolError
			if err != nil && !errors.As(err, &protocol) {
				t.Fatalf("error of type %T: %s", err, err)
			}
			if err != nil {
				continue
			}
			look(t, m)
		}
	})
}

// look does with a message what a session may do with one.
func look(t *testing.T, m message) {
	s := newSession(nowhere{}, nowhere{}, nil, &Config{}, func(zodb.Tid, []zodb.Oid) {})
	if text := describe(m.value, 2); len(text) > 100*maxText {
		t.Fatalf("a description of %d bytes", len(text))
	}
	_, _ = exception(m.value)
	_, _, _ = s.revision(m.value)
	_, _ = s.transaction(m.value)
	if extension, ok := extensionOf(m.value); ok && len(extension) > 0 {
		if _, isDict := m.value.(*pickle.Dict); isDict {
			if _, err := pickle.Decode(extension); err != nil {
				t.Fatalf("an extension that cannot be decoded: %s", err)
			}
		}
	}
	_ = s.take(m, storage.NewBuf(1))
}

type nowhere struct{ net.Conn }

func (nowhere) Close() error { return nil }

func FuzzFrames(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x02Z5\x00\x00\x00\x01x"), uint16(1))
	f.Add([]byte("\xff\xff\xff\xffx"), uint16(100))
	f.Add([]byte("\x00\x00\x00\x00"), uint16(3))
	f.Fuzz(func(t *testing.T, data []byte, chunk uint16) {
		r := &pieces{data: data, n: 1 + int(chunk)}
		var again []byte
		for {
			frame, err := readFrame(r, 1<<30)
			if err != nil {
				break
			}
			again = appendFrame(again, func(b []byte) []byte { return append(b, frame.Data...) })
			frame.Release()
		}
		if !bytes.HasPrefix(data, again) {
			t.Fatalf("%q was read as %q", data, again)
		}
	})
}

// pieces is read a few bytes at a time.
type pieces struct {
	data []byte
	n    int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.data) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.data[:min(p.n, len(p.data))])
	p.data = p.data[n:]
	return n, nil
}

func TestFramesTakeMemoryAsTheyArrive(t *testing.T) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 10 {
		_, err := readFrame(bytes.NewReader(append([]byte("\x3f\xff\xff\xff"), make([]byte, 1000)...)), 1<<30)
		if err != io.ErrUnexpectedEOF {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 10*2*firstPart {
		t.Fatalf("%d bytes for 10 frames of 1000", n)
	}
	big := make([]byte, 3*firstPart+1)
	for i := range big {
		big[i] = byte(i * 7)
	}
	frame, err := readFrame(&pieces{appendFrame(nil, func(b []byte) []byte { return append(b, big...) }), 100_000}, 1<<30)
	if err != nil || !bytes.Equal(frame.Data, big) {
		t.Fatal("a frame that grows is not what was sent", err)
	}
}

func FuzzHello(f *testing.F) {
	for _, text := range []string{frame("Z5"), frame("M5"), frame("Z4"), "HTTP/1.1 400", "SSH-2.0", "\x15\x03\x01\x00\x02\x02\x28", "", "\x00", frame("")} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		_, err := hello(&script{r: bytes.NewReader(data)})
		var wrong *helloError
		switch {
		case err == nil:
			if string(data[:6]) != frame("Z5") && string(data[:6]) != frame("M5") {
				t.Fatalf("%q is taken for a server", data)
			}
		case !errors.As(err, &wrong):
			t.Fatalf("error of type %T: %s", err, err)
		default:
			if e := wrong.explain(link.TCP("h:1"), len(data)%2 == 1); e.Msg == "" || e.Hint == "" || len(e.Msg) > 1000 {
				t.Fatalf("%q is explained as %+v", data, e)
			}
		}
	})
}

// script is a connection that is read from.
type script struct {
	net.Conn
	r io.Reader
}

func (s *script) Read(b []byte) (int, error)  { return s.r.Read(b) }
func (s *script) Write(b []byte) (int, error) { return len(b), nil }
