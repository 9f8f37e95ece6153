package link

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/wcfs/wcfs/internal/zodb/fault"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// Words are those in which a driver speaks to whoever has typed a url.
type Words struct {
	Server        string // what there should be, as in "ZEO server"
	CA, Cert, Key string // names of the options of TLS
	Plain         string // what servers begin with that do not encrypt
	NoTLS         string // how to do without encryption
	OtherName     string // what to do if a certificate is for another name
}

// Wrong is an *storage.OpenError without its url.
func Wrong(reason fault.Kind, err error, msg, hint string) *storage.OpenError {
	return &storage.OpenError{Reason: reason, Msg: msg, Hint: hint, Err: err}
}

// Merge makes one error of those of all addresses. It helps to try again if it may help
// with one of them.
func Merge(failed []*storage.OpenError, url string) *storage.OpenError {
	out := *failed[0]
	if len(failed) > 1 {
		msgs, errs := make([]string, len(failed)), make([]error, len(failed))
		for i, e := range failed {
			msgs[i], errs[i] = e.Msg, e
			if e.Reason == fault.Unreachable {
				out.Reason, out.Hint = e.Reason, e.Hint
			}
		}
		out.Msg = "none of the servers can be used: " + strings.Join(msgs, "; ")
		out.Err = errors.Join(errs...)
	}
	out.URL = url
	return &out
}

// Explain says why a connection could not be made or encrypted: a *ConnectError, a
// *SetupError or a *TLSError. It returns nil for other errors. limit is how long it may
// take to connect.
func (w Words) Explain(err error, addr Addr, limit time.Duration) *storage.OpenError {
	var (
		connect *ConnectError
		ofTLS   *TLSError
		setup   *SetupError
	)
	switch {
	case errors.As(err, &connect):
		return w.explainConnect(connect.Err, addr, limit)
	case errors.As(err, &setup):
		return Wrong(fault.BadURL, err, setup.Msg, "correct the option, or the file")
	case errors.As(err, &ofTLS):
		return w.explainTLS(ofTLS.Err, addr)
	}
	return nil
}

func (w Words) explainConnect(err error, addr Addr, limit time.Duration) *storage.OpenError {
	var dns *net.DNSError
	var timeout net.Error
	unix := addr.Network == "unix"
	switch {
	case errors.As(err, &dns):
		return Wrong(fault.Unreachable, err, fmt.Sprintf("the host of %s cannot be found: %s", addr, dns.Err), "correct the name of the host")
	case errors.Is(err, syscall.ECONNREFUSED):
		return Wrong(fault.Unreachable, err, fmt.Sprintf("nobody listens at %s", addr), fmt.Sprintf("start the %s there, or correct the address", w.Server))
	case unix && errors.Is(err, fs.ErrNotExist):
		return Wrong(fault.Unreachable, err, fmt.Sprintf("there is no socket %s", addr), fmt.Sprintf("start the %s, or correct the path", w.Server))
	case errors.Is(err, fs.ErrPermission):
		return Wrong(fault.Unreachable, err, fmt.Sprintf("this user may not connect to %s", addr), "change who may, or who this runs as")
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, context.DeadlineExceeded):
		return Wrong(fault.Unreachable, err, fmt.Sprintf("%s does not answer within %s", addr, limit), "is the host up, and does every firewall let connections to the port pass?")
	}
	var sys syscall.Errno
	text := err.Error()
	if errors.As(err, &sys) {
		text = sys.Error()
	}
	return Wrong(fault.Unreachable, err, fmt.Sprintf("%s cannot be reached: %s", addr, text), "")
}

// WantsCertificate is what may help if a server closes an encrypted connection.
func (w Words) WantsCertificate() string {
	return fmt.Sprintf("it may want a certificate that it knows: %s=FILE and %s=FILE", w.Cert, w.Key)
}

// IsAlert reports whether the other side has said so by TLS.
func IsAlert(err error) bool {
	var alert tls.AlertError
	var op *net.OpError
	return errors.As(err, &alert) || errors.As(err, &op) && op.Op == "remote error"
}

func (w Words) explainTLS(err error, addr Addr) *storage.OpenError {
	var (
		record    tls.RecordHeaderError
		authority x509.UnknownAuthorityError
		name      x509.HostnameError
		invalid   x509.CertificateInvalidError
		revoked   *revokedError
	)
	switch {
	case errors.As(err, &record):
		return w.explainPlain(record, err, addr)
	case errors.As(err, &authority):
		return Wrong(fault.NotADatabase, err, fmt.Sprintf("nobody whom this host trusts vouches for the certificate of the server at %s", addr),
			fmt.Sprintf("name the file with the certificate to trust, as in %s=FILE", w.CA))
	case errors.As(err, &name):
		return Wrong(fault.NotADatabase, err, fmt.Sprintf("the certificate of the server at %s is for another name: %s", addr, name.Error()),
			w.OtherName)
	case errors.As(err, &invalid):
		return Wrong(fault.NotADatabase, err, fmt.Sprintf("the certificate of the server at %s cannot be used: %s", addr, invalid.Error()), "renew it")
	case errors.As(err, &revoked):
		return Wrong(fault.NotADatabase, err, fmt.Sprintf("the certificate of the server at %s cannot be used: %s", addr, revoked), "give the server another one")
	case IsAlert(err):
		return w.ExplainAlert(err, addr)
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return Wrong(fault.Unreachable, err, fmt.Sprintf("%s closes the connection instead of encrypting it", addr),
			fmt.Sprintf("it may not be meant to: %s; or %s; or its log says why", w.NoTLS, w.WantsCertificate()))
	}
	return Wrong(fault.NotADatabase, err, fmt.Sprintf("the connection to %s cannot be encrypted: %s", addr, err), "the log of the server may say why")
}

// ExplainAlert says what it means that IsAlert holds of err.
func (w Words) ExplainAlert(err error, addr Addr) *storage.OpenError {
	return Wrong(fault.NotADatabase, err, fmt.Sprintf("the server at %s does not accept this client: %s", addr, err), w.WantsCertificate())
}

// explainPlain says what was met that does not encrypt.
func (w Words) explainPlain(record tls.RecordHeaderError, err error, addr Addr) *storage.OpenError {
	head := string(record.RecordHeader[:])
	switch {
	case head[:4] == "HTTP":
		return w.ExplainHTTP(err, addr)
	case strings.HasPrefix(head, w.Plain):
		return Wrong(fault.NotADatabase, err, fmt.Sprintf("the server at %s speaks without encryption", addr), w.NoTLS)
	}
	return Wrong(fault.NotADatabase, err, fmt.Sprintf("what answers at %s does not encrypt: it begins with %q", addr, head), "correct the address or the port, or "+w.NoTLS)
}

// ExplainHTTP says that it is a web server.
func (w Words) ExplainHTTP(err error, addr Addr) *storage.OpenError {
	return Wrong(fault.NotADatabase, err, fmt.Sprintf("what answers at %s is a web server (HTTP), no %s", addr, w.Server), "correct the port")
}
