package zeo

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/wcfs/wcfs/internal/zodb/fault"
	"github.com/wcfs/wcfs/internal/zodb/link"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// words are those of ZEO.
var words = link.Words{
	Server: "ZEO server", CA: "ssl_ca", Cert: "ssl_cert", Key: "ssl_key",
	Plain: "\x00\x00\x00\x02", NoTLS: "leave out the options that begin with ssl",
	OtherName: "use a name that it is for, or say which one it is: ssl_server_hostname=NAME; ssl_check_hostname=0 takes any",
}

// explainClosed says what a connection may mean that ends before anything was said.
func explainClosed(e *helloError, addr link.Addr, encrypted bool) *storage.OpenError {
	if link.IsAlert(e.err) { // TLS 1.3 tells what it thinks of certificates after the handshake
		return words.ExplainAlert(e.err, addr)
	}
	if encrypted { // servers of Python do not even tell
		return link.Wrong(fault.NotADatabase, e, fmt.Sprintf("the server at %s does not accept this client: it closes the encrypted connection without a word", addr),
			words.WantsCertificate())
	}
	return link.Wrong(fault.Unreachable, e, fmt.Sprintf("%s closes connections without a word", addr),
		"the server may be ending; or something stands in between, as a tunnel or a container, and there is no server behind it")
}

// diagnoseTime is how long a server gets to show what it is instead.
const diagnoseTime = time.Second

// diagnose finds out what it may be that accepts connections and says nothing: servers
// of TLS and HTTP do so until they are spoken to in their language.
func diagnose(cfg *Config, addr link.Addr) *storage.OpenError {
	if cfg.TLS == nil {
		if said := probeTLS(addr); said {
			return explainWantsTLS(errSilent, addr)
		}
		if said := probeHTTP(addr); said {
			return words.ExplainHTTP(errSilent, addr)
		}
	}
	return link.Wrong(fault.Unreachable, errSilent, fmt.Sprintf("%s accepts connections but says nothing for %s, and ZEO servers speak first", addr, cfg.ConnectTimeout),
		"the server may be stopped or hang; or something else listens there")
}

// probe has a connection for as long as a server gets.
func probe(addr link.Addr, ask func(conn net.Conn) bool) bool {
	conn, err := net.DialTimeout(addr.Network, addr.Address, diagnoseTime)
	if err != nil {
		return false
	}
	defer conn.Close()
	if conn.SetDeadline(time.Now().Add(diagnoseTime)) != nil {
		return false
	}
	return ask(conn)
}

// probeTLS reports whether addr speaks TLS. Whose certificate it has does not matter:
// nothing is said over the connection.
func probeTLS(addr link.Addr) bool {
	return probe(addr, func(conn net.Conn) bool {
		err := tls.Client(conn, &tls.Config{InsecureSkipVerify: true}).Handshake()
		return err == nil || link.IsAlert(err)
	})
}

func probeHTTP(addr link.Addr) bool {
	return probe(addr, func(conn net.Conn) bool {
		if _, err := io.WriteString(conn, "GET / HTTP/1.0\r\n\r\n"); err != nil {
			return false
		}
		var head [4]byte
		_, err := io.ReadFull(conn, head[:])
		return err == nil && string(head[:]) == "HTTP"
	})
}
