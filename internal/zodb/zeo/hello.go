package zeo

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"

	"github.com/wcfs/wcfs/internal/zodb/fault"
	"github.com/wcfs/wcfs/internal/zodb/link"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// version of the protocol: that of ZEO 5 and 6, which accept no other one.
const version = "5"

// maxHello bounds what a server may say first, in bytes.
const maxHello = 64

// helloPattern is what servers of all times begin with: the letter of an encoding, and
// a version.
var helloPattern = regexp.MustCompile(`^[A-Z][0-9]{1,8}$`)

// errSilent says that a server accepts connections and says nothing.
var errSilent = errors.New("nothing is said")

// helloError says that something else than a server of this protocol was met.
type helloError struct {
	said []byte // first bytes of what came
	err  error  // of reading, nil: what came is wrong
}

func (e *helloError) Error() string {
	if e.err != nil {
		return fmt.Sprintf("read the greeting: %s", e.err)
	}
	return fmt.Sprintf("a greeting %.40q", e.said)
}

func (e *helloError) Unwrap() error { return e.err }

// hello reads what the server says first, and answers with the encoding that it prefers.
// It reads nothing behind that.
func hello(conn net.Conn) (codec, error) {
	said := make([]byte, headerLen, headerLen+maxHello)
	if n, err := io.ReadFull(conn, said); err != nil {
		return nil, &helloError{said[:n], err}
	}
	n := binary.BigEndian.Uint32(said)
	if n == 0 || n > maxHello {
		// Four bytes tell what it is. The rest may never come.
		return nil, &helloError{said: said}
	}
	greeting := said[headerLen:][:n]
	if n, err := io.ReadFull(conn, greeting); err != nil {
		return nil, &helloError{said[:headerLen+n], err}
	}
	c, ok := map[string]codec{"Z" + version: codecZ{}, "M" + version: codecM{}}[string(greeting)]
	if !ok {
		return nil, &helloError{said: said[:headerLen+n]}
	}
	_, err := conn.Write(appendFrame(nil, func(b []byte) []byte { return append(b, greeting...) }))
	if err != nil {
		return nil, fmt.Errorf("answer the greeting: %w", err)
	}
	return c, nil
}

// explain says what was met instead of a server of this protocol.
func (e *helloError) explain(addr link.Addr, encrypted bool) *storage.OpenError {
	text := string(e.said)
	framed := ""
	if len(text) > headerLen {
		framed = text[headerLen:]
	}
	switch {
	case e.err != nil && len(text) == 0:
		return explainClosed(e, addr, encrypted)
	case e.err == nil && helloPattern.MatchString(framed):
		return link.Wrong(fault.NotADatabase, e, fmt.Sprintf("the server at %s speaks version %s of the protocol, and not %s", addr, framed[1:], version),
			"servers of ZEO 5 and 6 can be used; upgrade that one")
	case strings.HasPrefix(text, "HTTP"):
		return words.ExplainHTTP(e, addr)
	case isTLS(text):
		return explainWantsTLS(e, addr)
	}
	kind := ""
	if strings.HasPrefix(text, "SSH-") {
		kind = " (but one of SSH)"
	}
	return link.Wrong(fault.NotADatabase, e, fmt.Sprintf("what answers at %s is no ZEO server%s: it begins with %q", addr, kind, text), "correct the address or the port")
}

// isTLS recognizes the header of a TLS record: an alert or a handshake, version 3.x.
func isTLS(text string) bool {
	return len(text) >= 2 && (text[0] == 0x15 || text[0] == 0x16) && text[1] == 3
}

func explainWantsTLS(err error, addr link.Addr) *storage.OpenError {
	return link.Wrong(fault.NotADatabase, err, fmt.Sprintf("the server at %s wants encrypted connections (TLS)", addr),
		"add ssl=1 to the options, and ssl_ca=FILE if its certificate is not from an authority that this host knows")
}
