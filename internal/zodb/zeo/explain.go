package zeo

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"syscall"
	"time"

	"github.com/wcfs/wcfs/internal/zodb/fault"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// explainConnect says why nothing could be said to a server.
func explainConnect(err error, cfg *Config, addr Addr) *storage.OpenError {
	var dns *net.DNSError
	var timeout net.Error
	unix := addr.Network == "unix"
	switch {
	case errors.As(err, &dns):
		return wrong(fault.Unreachable, err, fmt.Sprintf("the host of %s cannot be found: %s", addr, dns.Err), "correct the name of the host")
	case errors.Is(err, syscall.ECONNREFUSED):
		return wrong(fault.Unreachable, err, fmt.Sprintf("nobody listens at %s", addr), "start the ZEO server there, or correct the address")
	case unix && errors.Is(err, fs.ErrNotExist):
		return wrong(fault.Unreachable, err, fmt.Sprintf("there is no socket %s", addr), "start the ZEO server, or correct the path")
	case errors.Is(err, fs.ErrPermission):
		return wrong(fault.Unreachable, err, fmt.Sprintf("this user may not connect to %s", addr), "change who may, or who this runs as")
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, context.DeadlineExceeded):
		return wrong(fault.Unreachable, err, fmt.Sprintf("%s does not answer within %s", addr, cfg.ConnectTimeout), "is the host up, and does every firewall let connections to the port pass?")
	}
	var sys syscall.Errno
	text := err.Error()
	if errors.As(err, &sys) {
		text = sys.Error()
	}
	return wrong(fault.Unreachable, err, fmt.Sprintf("%s cannot be reached: %s", addr, text), "")
}

// explainClosed says what a connection may mean that ends before anything was said.
func explainClosed(e *helloError, addr Addr, encrypted bool) *storage.OpenError {
	if isAlert(e.err) { // TLS 1.3 tells what it thinks of certificates after the handshake
		return explainTLS(e.err, addr)
	}
	if encrypted { // servers of Python do not even tell
		return wrong(fault.NotADatabase, e, fmt.Sprintf("the server at %s does not accept this client: it closes the encrypted connection without a word", addr),
			wantsCertificate)
	}
	return wrong(fault.Unreachable, e, fmt.Sprintf("%s closes connections without a word", addr),
		"the server may be ending; or something stands in between, as a tunnel or a container, and there is no server behind it")
}

const wantsCertificate = "it may want a certificate that it knows: ssl_cert=FILE and ssl_key=FILE"

func isAlert(err error) bool {
	var alert tls.AlertError
	var op *net.OpError
	return errors.As(err, &alert) || errors.As(err, &op) && op.Op == "remote error"
}

// explainTLS says why a connection could not be encrypted.
func explainTLS(err error, addr Addr) *storage.OpenError {
	var (
		record    tls.RecordHeaderError
		authority x509.UnknownAuthorityError
		name      x509.HostnameError
		invalid   x509.CertificateInvalidError
	)
	switch {
	case errors.As(err, &record):
		return explainPlain(record, err, addr)
	case errors.As(err, &authority):
		return wrong(fault.NotADatabase, err, fmt.Sprintf("nobody whom this host trusts vouches for the certificate of the server at %s", addr),
			"name the file with the certificate to trust, as in ssl_ca=FILE")
	case errors.As(err, &name):
		return wrong(fault.NotADatabase, err, fmt.Sprintf("the certificate of the server at %s is for another name: %s", addr, name.Error()),
			"use a name that it is for, or say which one it is: ssl_server_hostname=NAME; ssl_check_hostname=0 takes any")
	case errors.As(err, &invalid):
		return wrong(fault.NotADatabase, err, fmt.Sprintf("the certificate of the server at %s cannot be used: %s", addr, invalid.Error()), "renew it")
	case isAlert(err):
		return wrong(fault.NotADatabase, err, fmt.Sprintf("the server at %s does not accept this client: %s", addr, err),
			wantsCertificate)
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return wrong(fault.Unreachable, err, fmt.Sprintf("%s closes the connection instead of encrypting it", addr), "it may not be meant to: leave out ssl; or its log says why")
	}
	return wrong(fault.NotADatabase, err, fmt.Sprintf("the connection to %s cannot be encrypted: %s", addr, err), "the log of the server may say why")
}

// explainPlain says what was met that does not encrypt.
func explainPlain(record tls.RecordHeaderError, err error, addr Addr) *storage.OpenError {
	head := string(record.RecordHeader[:])
	switch {
	case head[:4] == "HTTP":
		return explainHTTP(err, addr)
	case head[:4] == "\x00\x00\x00\x02":
		return wrong(fault.NotADatabase, err, fmt.Sprintf("the server at %s speaks without encryption", addr), "leave out the options that begin with ssl")
	}
	return wrong(fault.NotADatabase, err, fmt.Sprintf("what answers at %s does not encrypt: it begins with %q", addr, head), "correct the address or the port, or leave out the options that begin with ssl")
}

// diagnoseTime is how long a server gets to show what it is instead.
const diagnoseTime = time.Second

// diagnose finds out what it may be that accepts connections and says nothing: servers
// of TLS and HTTP do so until they are spoken to in their language.
func diagnose(cfg *Config, addr Addr) *storage.OpenError {
	if cfg.TLS == nil {
		if said := probeTLS(addr); said {
			return explainWantsTLS(errSilent, addr)
		}
		if said := probeHTTP(addr); said {
			return explainHTTP(errSilent, addr)
		}
	}
	return wrong(fault.Unreachable, errSilent, fmt.Sprintf("%s accepts connections but says nothing for %s, and ZEO servers speak first", addr, cfg.ConnectTimeout),
		"the server may be stopped or hang; or something else listens there")
}

// probe has a connection for as long as a server gets.
func probe(addr Addr, ask func(conn net.Conn) bool) bool {
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
func probeTLS(addr Addr) bool {
	return probe(addr, func(conn net.Conn) bool {
		err := tls.Client(conn, &tls.Config{InsecureSkipVerify: true}).Handshake()
		return err == nil || isAlert(err)
	})
}

func probeHTTP(addr Addr) bool {
	return probe(addr, func(conn net.Conn) bool {
		if _, err := io.WriteString(conn, "GET / HTTP/1.0\r\n\r\n"); err != nil {
			return false
		}
		var head [4]byte
		_, err := io.ReadFull(conn, head[:])
		return err == nil && string(head[:]) == "HTTP"
	})
}
