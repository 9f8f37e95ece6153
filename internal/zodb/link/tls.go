package link

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"time"
)

// TLS says how a connection is encrypted. Files are read at each connection, since
// certificates are renewed while a server runs.
type TLS struct {
	CA         string // file with the certificates that are trusted; empty: those of the system
	Cert, Key  string // files of the client's own certificate; empty: none
	ServerName string // that the server's certificate must be for; empty: its host
	AnyName    bool   // the certificate may be for any name
}

// Encrypt encrypts a connection to addr. The error is a *SetupError if what this host was
// told to use cannot be used, and a *TLSError if the other side and it do not agree.
func (t *TLS) Encrypt(ctx context.Context, raw net.Conn, addr Addr, w Words) (net.Conn, error) {
	config, err := t.config(addr, w)
	if err != nil {
		return nil, err
	}
	encrypted := tls.Client(raw, config)
	if err := encrypted.HandshakeContext(ctx); err != nil {
		return nil, &TLSError{err}
	}
	return encrypted, nil
}

// config returns the configuration for a connection to addr. The error is one for the
// person who has set this up.
func (t *TLS) config(addr Addr, w Words) (*tls.Config, error) {
	c := &tls.Config{ServerName: t.ServerName, MinVersion: tls.VersionTLS12}
	if c.ServerName == "" && addr.Network == "tcp" {
		c.ServerName, _, _ = net.SplitHostPort(addr.Address)
	}
	var revoked []*x509.RevocationList
	if t.CA != "" {
		data, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, &SetupError{fmt.Sprintf("the certificates to trust (%s) cannot be read: %s", w.CA, cause(err)), err}
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(data) {
			return nil, &SetupError{fmt.Sprintf("the file of %s has no certificate in PEM form", w.CA), nil}
		}
		if revoked, err = revocations(data); err != nil {
			return nil, &SetupError{fmt.Sprintf("a list of revoked certificates in the file of %s cannot be understood: %s", w.CA, err), err}
		}
	}
	if t.Cert != "" {
		pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			return nil, &SetupError{fmt.Sprintf("the client's certificate (%s, %s) cannot be used: %s", w.Cert, w.Key, cause(err)), err}
		}
		c.Certificates = []tls.Certificate{pair}
	}
	anyName := t.AnyName || c.ServerName == ""
	c.InsecureSkipVerify = anyName // of the name; the rest is verified here
	roots := c.RootCAs
	c.VerifyConnection = func(state tls.ConnectionState) error {
		if anyName {
			if err := verifyChain(state, roots); err != nil {
				return err
			}
		}
		return checkRevoked(state.PeerCertificates[0], revoked)
	}
	return c, nil
}

// verifyChain checks the certificate of a server but for its name.
func verifyChain(state tls.ConnectionState, roots *x509.CertPool) error {
	opts := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool()}
	for _, cert := range state.PeerCertificates[1:] {
		opts.Intermediates.AddCert(cert)
	}
	_, err := state.PeerCertificates[0].Verify(opts)
	return err
}

// revocations returns the lists of revoked certificates that stand beside the
// certificates of their authority.
func revocations(data []byte) (lists []*x509.RevocationList, err error) {
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			return lists, nil
		}
		if block.Type != "X509 CRL" {
			continue
		}
		list, err := x509.ParseRevocationList(block.Bytes)
		if err != nil {
			return nil, err
		}
		lists = append(lists, list)
	}
}

// checkRevoked looks the certificate of a server up in the lists of its authority. The
// file that they come from is trusted, and so are they.
func checkRevoked(cert *x509.Certificate, lists []*x509.RevocationList) error {
	for _, list := range lists {
		if string(list.RawIssuer) != string(cert.RawIssuer) {
			continue
		}
		for _, entry := range list.RevokedCertificateEntries {
			if entry.SerialNumber.Cmp(cert.SerialNumber) == 0 {
				return &revokedError{entry.RevocationTime}
			}
		}
	}
	return nil
}

// revokedError says that a certificate was revoked.
type revokedError struct{ at time.Time }

func (e *revokedError) Error() string { return "it was revoked on " + e.at.Format(time.DateOnly) }

// SetupError says that what this host was told to use cannot be used.
type SetupError struct {
	Msg string
	Err error
}

func (e *SetupError) Error() string { return e.Msg }
func (e *SetupError) Unwrap() error { return e.Err }

// TLSError says that the connection could not be encrypted.
type TLSError struct{ Err error }

func (e *TLSError) Error() string { return e.Err.Error() }
func (e *TLSError) Unwrap() error { return e.Err }

// cause returns what the operating system said, without the path, which leads to a
// secret.
func cause(err error) string {
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err.Error()
	}
	return err.Error()
}
