package neoproto

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzPackets: whatever comes, the error is one of the protocol or the end of the stream,
// and what was understood is understood again when it is written.
func FuzzPackets(f *testing.F) {
	for _, c := range captured {
		data, err := hex.DecodeString(c.hex)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte("\x93\x00\x05\x92\xc0\x91\xc0"))
	f.Add([]byte("\x93\x00\x06\x92\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00\x90"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := NewReader(bytes.NewReader(data), 1<<16)
		for {
			p, err := r.Next()
			if err != nil {
				var protocol *ProtocolError
				if err != io.EOF && err != io.ErrUnexpectedEOF && !errors.As(err, &protocol) {
					t.Fatalf("error of type %T: %s", err, err)
				}
				return
			}
			sameAgain(t, p)
			if o, ok := p.Msg.(*Object); ok {
				o.Data.Release()
			}
		}
	})
}

// sameAgain writes and reads what was read.
func sameAgain(t *testing.T, p Packet) {
	written := Append(nil, p)
	again, err := NewReader(bytes.NewReader(written), 1<<17).Next()
	if err != nil {
		t.Fatalf("%#v is written as %x, which is not understood: %s", p.Msg, written, err)
	}
	if second := Append(nil, again); !bytes.Equal(written, second) {
		t.Fatalf("%#v is written as %x, and then as %x", p.Msg, written, second)
	}
	if o, ok := again.Msg.(*Object); ok {
		o.Data.Release()
	}
}

func TestWhatIsNoPacketIsRefused(t *testing.T) {
	list := func(n int, item string) string { return strings.Repeat(item, n) }
	for name, tt := range map[string]struct{ packet, text string }{
		"no list":                 {"\xc0", "code 0x0000"},
		"two parts":               {"\x92\x00\x02", "a packet has 2 parts, and 3 are expected"},
		"a negative number":       {"\x93\xff\x02\x90", "code 0x0000"},
		"a number of 33 bits":     {"\x93\xcf\x00\x00\x00\x01\x00\x00\x00\x00\x02\x90", "4294967296, where at most 4294967295 is expected"},
		"a code of 17 bits":       {"\x93\x00\xce\x00\x01\x00\x00\x90", "65536, where at most 65535 is expected"},
		"an unknown code":         {"\x93\x00\x7f\x90", "a packet of code 0x007f, which is none for a client"},
		"arguments of a ping":     {"\x93\x00\x02\x91\x00", "a sign has 1 parts, and 0 are expected"},
		"text instead of bytes":   {"\x93\x00\xcd\x80\x00\x92\x06\xa1x", "in a packet of code 0x8000"},
		"a tid of 7 bytes":        {"\x93\x00\xcd\x80\x3c\x91\xc4\x07abcdefg", "a tid of 7 bytes, and 8 are expected"},
		"another enumeration":     {"\x93\x00\xcd\x80\x01\x93\xd4\x03\x00\x01\x01", "d4 03 00, where a value of enumeration 4 is expected"},
		"a value too much":        {"\x93\x00\x2d\x91\xd4\x01\x07", "d4 01 07, where a value of enumeration 1 is expected"},
		"a checksum of 19 bytes":  {"\x93\x00\xcd\x80\x20\x97" + list(2, "\xc4\x0812345678") + "\xc0\x00\xc4\x13", "a checksum of 19 bytes, and 20 are expected"},
		"a port of 17 bits":       {"\x93\x00\x05\x92\xc0\x91\x92\xc4\x01h\xce\x00\x01\x00\x00", "65536, where at most 65535 is expected"},
		"a primary that is none":  {"\x93\x00\x05\x92\x01\x91\xc0", "the primary master is number 1 of 1"},
		"data longer than may be": {"\x93\x00\xcd\x80\x20\x97" + list(2, "\xc4\x0812345678") + "\xc0\x00\xc4\x14" + list(20, "c") + "\xc6\x00\x10\x00\x00", "longer than 1000 bytes"},
		"a list without end":      {"\x93\x00\xcd\x80\x30\x91\xdd\xff\xff\xff\xff" + list(10_000, "\xc4\x0812345678"), "longer than 1000 bytes"},
		"a list of nothing":       {"\x93\x00\xcd\x80\x30\x91\xdd\xff\xff\xff\xff" + list(100_000, "\xc0"), "longer than 1000 bytes"},
		"lists in lists":          {"\x93\x00\x0a\x93\x01\x00\xdd\xff\xff\xff\xff" + list(100_000, "\x90"), "longer than 1000 bytes"},
		"a map without end":       {"\x93\x00\x01\x96\xd4\x04\x02\xc0\xc0\xc4\x01x\xc0\xdf\xff\xff\xff\xff" + list(100_000, "\xc4\x00\xc3"), "longer than 1000 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := NewReader(strings.NewReader(tt.packet), 1000).Next()
			var protocol *ProtocolError
			require.ErrorAs(t, err, &protocol)
			require.ErrorContains(t, err, tt.text)
		})
	}
}

// Memory is taken for what has arrived, whatever a header promises.
func TestPacketsTakeMemoryAsTheyArrive(t *testing.T) {
	const limit = 1 << 30
	head := "\x93\x00\xcd\x80\x20\x97" + strings.Repeat("\xc4\x0812345678", 2) + "\xc0\x00\xc4\x14" + strings.Repeat("c", 20)
	for name, packet := range map[string]string{
		"data":         head + "\xc6\x3f\xff\xff\xff" + strings.Repeat("d", 1000),
		"transactions": "\x93\x00\xcd\x80\x30\x91\xdd\xff\xff\xff\xff" + strings.Repeat("\xc4\x0812345678", 1000),
		"nodes":        "\x93\x00\x06\x92\xcb\x00\x00\x00\x00\x00\x00\x00\x00\xdd\xff\xff\xff\xff",
		"a table":      "\x93\x00\x0a\x93\x01\x00\xdd\xff\xff\xff\xff",
		"text":         "\x93\x00\xcd\x80\x00\x92\x06\xc6\x3f\xff\xff\xff",
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for range 3 {
				_, err := NewReader(strings.NewReader(packet), limit).Next()
				require.Equal(t, io.ErrUnexpectedEOF, err)
			}
			runtime.ReadMemStats(&after)
			require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(3*2*firstPart))
		})
	}
}

// Big data grows as it arrives, and is what was sent.
func TestBigDataIsWhatWasSent(t *testing.T) {
	for _, size := range []int{0, 1, 255, 256, 65535, 65536, firstPart, firstPart + 1} {
		sent := object(1, tid1, 0, Plain, "", strings.Repeat("0123456", size/7+1)[:size])
		packet := Append(nil, Packet{7, sent})
		for _, step := range []int{100_000, len(packet)} {
			got, err := NewReader(&pieces{packet, step}, 64<<20).Next()
			require.NoError(t, err)
			require.True(t, bytes.Equal(sent.Data.Data, got.Msg.(*Object).Data.Data), "%d bytes", size)
		}
	}
}

// A packet that is too long is refused before its end.
func TestLimitHolds(t *testing.T) {
	packet := Append(nil, Packet{7, object(1, tid1, 0, Plain, "", strings.Repeat("x", 300_000))})
	in := bytes.NewReader(packet)
	_, err := NewReader(in, 100_000).Next()
	var protocol *ProtocolError
	require.ErrorAs(t, err, &protocol)
	require.Positive(t, in.Len())
	_, err = NewReader(bytes.NewReader(packet), 300_100).Next()
	require.NoError(t, err)
}
