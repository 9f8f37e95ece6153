package zeo

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"strings"
	"time"

	"github.com/wcfs/wcfs/internal/zodb/fault"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// Defaults.
const (
	DefaultStorage        = "1"
	DefaultConnectTimeout = 10 * time.Second
	DefaultMaxMessage     = 1 << 30

	// DefaultPort is that of zodburi. Servers have none of their own.
	DefaultPort = "9991"
)

// Config says which server to talk to, and how. Parse makes one of a url.
type Config struct {
	Addrs   []Addr // of the server, to be tried in this order
	Storage string // which of the storages of the server
	TLS     *TLS   // nil: without

	// ConnectTimeout is how long each address may take to connect, to encrypt and to
	// say hello; and then once more to say what its last transaction is.
	ConnectTimeout time.Duration

	// Wait is how long whoever opens the database should go on trying to connect for
	// the first time. Dial does not: it tries once.
	Wait time.Duration

	// MaxMessage is how big a message may be, in bytes.
	MaxMessage int64

	tick time.Duration // of the watchdog, 0: the usual one
}

// Addr is an address as package net has it: network tcp or unix.
type Addr struct{ Network, Address string }

func (a Addr) String() string { return a.Address }

// URL returns the identity of the database, as Python makes urls: without anything that
// only says how to get there.
func (c *Config) URL() string {
	var b strings.Builder
	b.WriteString("zeo://")
	for i, addr := range c.Addrs {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(addr.Address)
	}
	if c.Storage != DefaultStorage {
		b.WriteString("?storage=" + escape(c.Storage))
	}
	return b.String()
}

// TLS says how a connection is encrypted. Files are read at each connection, since
// certificates are renewed while a server runs.
type TLS struct {
	CA         string // file with the certificates that are trusted; empty: those of the system
	Cert, Key  string // files of the client's own certificate; empty: none
	ServerName string // that the server's certificate must be for; empty: its host
	AnyName    bool   // the certificate may be for any name
}

// config returns the configuration for a connection to addr. The error is one for the
// person who has set this up.
func (t *TLS) config(addr Addr) (*tls.Config, error) {
	c := &tls.Config{ServerName: t.ServerName, MinVersion: tls.VersionTLS12}
	if c.ServerName == "" && addr.Network == "tcp" {
		c.ServerName, _, _ = net.SplitHostPort(addr.Address)
	}
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, &setupError{"the certificates to trust (ssl_ca) cannot be read: " + cause(err), err}
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, &setupError{"the file of ssl_ca has no certificate in PEM form", nil}
		}
	}
	if t.Cert != "" {
		pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			return nil, &setupError{"the client's certificate (ssl_cert, ssl_key) cannot be used: " + cause(err), err}
		}
		c.Certificates = []tls.Certificate{pair}
	}
	if t.AnyName || c.ServerName == "" {
		c.InsecureSkipVerify = true // of the name; the rest is verified here
		roots := c.RootCAs
		c.VerifyConnection = func(state tls.ConnectionState) error { return verifyChain(state, roots) }
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

// setupError says that what this host was told to use cannot be used.
type setupError struct {
	msg string
	err error
}

func (e *setupError) Error() string { return e.msg }
func (e *setupError) Unwrap() error { return e.err }

// cause returns what the operating system said, without the path, which leads to a
// secret.
func cause(err error) string {
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err.Error()
	}
	return err.Error()
}

// wrong is an *storage.OpenError without its url.
func wrong(reason fault.Kind, err error, msg, hint string) *storage.OpenError {
	return &storage.OpenError{Reason: reason, Msg: msg, Hint: hint, Err: err}
}
