package zeo

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/fault"
	"github.com/wcfs/wcfs/internal/zodb/link"
	"github.com/wcfs/wcfs/internal/zodb/pickle"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

func quick(addrs ...link.Addr) Config {
	return Config{Addrs: addrs, Storage: "1", ConnectTimeout: 300 * time.Millisecond, MaxMessage: 1 << 20}
}

func requireRefused(t *testing.T, cfg Config, reason fault.Kind, text string) {
	t.Helper()
	_, _, err := Dial(cfg)(t.Context(), ignore)
	requireOpenError(t, err, reason, text)
	require.ErrorContains(t, err, cfg.URL())
}

func TestWhatIsNoServerIsToldByWhatItSays(t *testing.T) {
	for name, tt := range map[string]struct {
		script func(net.Conn)
		reason fault.Kind
		text   string
	}{
		"ZEO 4":           {says(frame("Z4")), fault.NotADatabase, "speaks version 4 of the protocol, and not 5"},
		"ZODB 3":          {says(frame("Z3101")), fault.NotADatabase, "speaks version 3101"},
		"a later version": {says(frame("M6")), fault.NotADatabase, "speaks version 6"},
		"garbage":         {says("garbage\n"), fault.NotADatabase, `is no ZEO server: it begins with "garb"`},
		"framed garbage":  {says(frame("\xff\xfe")), fault.NotADatabase, "is no ZEO server"},
		"an empty frame":  {says(frame("")), fault.NotADatabase, "is no ZEO server"},
		"a huge frame":    {says("\xff\xff\xff\xff"), fault.NotADatabase, "is no ZEO server"},
		"SSH":             {says("SSH-2.0-OpenSSH_9.2\r\n"), fault.NotADatabase, "but one of SSH"},
		"HTTP at once":    {says("HTTP/1.1 408 Request Timeout\r\n"), fault.NotADatabase, "is a web server (HTTP)"},
		"TLS alert":       {says("\x15\x03\x01\x00\x02\x02\x28"), fault.NotADatabase, "wants encrypted connections"},
		"silence":         {says(""), fault.Unreachable, "accepts connections but says nothing for 300ms"},
		"half a greeting": {says("\x00\x00\x00\x02Z"), fault.Unreachable, "accepts connections but says nothing for 300ms"},
		"no word":         {func(net.Conn) {}, fault.Unreachable, "closes connections without a word"},
		"cut":             {func(c net.Conn) { c.Write([]byte("\x00\x00")) }, fault.NotADatabase, "is no ZEO server"},
		"no answer":       {says(frame("Z5")), fault.Unreachable, "says hello but does not answer within 300ms"},
		"end after hello": {func(c net.Conn) { c.Write([]byte(frame("Z5"))); c.Read(make([]byte, 6)) }, fault.Unreachable, "is lost at once"},
		"garbage after":   {says(frame("M5") + frame("garbage")), fault.NotADatabase, "is not to be understood"},
	} {
		t.Run(name, func(t *testing.T) { requireRefused(t, quick(listen(t, tt.script)), tt.reason, tt.text) })
	}
}

func TestAddressesThatCannotBeReachedAreTold(t *testing.T) {
	dir := t.TempDir()
	requireRefused(t, quick(link.Unix(filepath.Join(dir, "none"))), fault.Unreachable, "there is no socket")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l.Close()
	requireRefused(t, quick(link.TCP(l.Addr().String())), fault.Unreachable, "nobody listens at")
	requireRefused(t, quick(link.TCP("no.such.host.invalid:1")), fault.Unreachable, "cannot be found")
}

func TestWebServersAreTold(t *testing.T) {
	handler := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	web := httptest.NewServer(handler)
	defer web.Close()
	addr := link.TCP(web.Listener.Addr().String())
	requireRefused(t, quick(addr), fault.NotADatabase, "is a web server (HTTP)")
	cfg := quick(addr)
	cfg.TLS = &link.TLS{}
	_, _, err := Dial(cfg)(t.Context(), ignore)
	require.Error(t, err)

	encrypted := httptest.NewUnstartedServer(handler)
	encrypted.Config.ErrorLog = log.New(io.Discard, "", 0) // it is spoken to in vain
	encrypted.StartTLS()
	defer encrypted.Close()
	requireRefused(t, quick(link.TCP(encrypted.Listener.Addr().String())), fault.NotADatabase, "wants encrypted connections (TLS)")
}

func TestAddressesAreTriedInTurn(t *testing.T) {
	none := link.Unix(filepath.Join(t.TempDir(), "none"))
	old := listen(t, says(frame("Z4")))
	good := listen(t, func(conn net.Conn) {
		f := &fake{t: t, conn: conn, codec: codecM{}}
		conn.Write([]byte(frame("M5")))
		hello := make([]byte, 6)
		if _, err := conn.Read(hello); err != nil || string(hello) != frame("M5") {
			t.Errorf("hello %q, %v", hello, err)
			return
		}
		b := make([]byte, 100)
		n, err := conn.Read(b)
		if err != nil {
			t.Error(err)
			return
		}
		m, err := codecM{}.decode(b[headerLen:n])
		if err != nil || m.name != "register" || describe(m.value, 2) != "1, true" {
			t.Errorf("%+v, %v", m, err)
		}
		// A commit may come before the reply.
		f.conn.Write(f.bytes(commitNotice(7, 1), answer(m, bytes8(zodb.Tid(7)))))
		conn.Read(b)
	})
	told := newTold()
	s, last, err := Dial(quick(none, old, good))(t.Context(), told.put)
	require.NoError(t, err)
	require.Equal(t, zodb.Tid(7), last)
	require.Equal(t, zodb.Tid(7), told.next(t).tid)
	require.NoError(t, s.Close())

	_, _, err = Dial(quick(old, none))(t.Context(), ignore)
	requireOpenError(t, err, fault.Unreachable, "none of the servers can be used")
	require.ErrorContains(t, err, "speaks version 4")
	require.ErrorContains(t, err, "there is no socket")
}

// An answer of a server may come in the very moment in which its time is
// over.
func TestAnswersAtTheDeadline(t *testing.T) {
	addr := listen(t, func(conn net.Conn) {
		time.Sleep(time.Millisecond)
		_, _ = io.WriteString(conn, "garbage")
	})
	cfg := quick(addr)
	cfg.TLS = &link.TLS{AnyName: true} // nobody looks then what a silent server may be
	for i := range 1000 {
		cfg.ConnectTimeout = time.Millisecond + time.Duration(i%100)*5*time.Microsecond
		_, _, err := Dial(cfg)(t.Context(), ignore)
		require.Error(t, err)
	}
}

func TestDialEndsWithItsContext(t *testing.T) {
	for name, script := range map[string]func(net.Conn){"at hello": says(""), "at register": says(frame("Z5"))} {
		t.Run(name, func(t *testing.T) {
			cfg := quick(listen(t, script))
			cfg.ConnectTimeout = time.Minute
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			_, _, err := Dial(cfg)(ctx, ignore)
			require.Equal(t, context.DeadlineExceeded, err)
		})
	}
}

func TestServersRefuseByExceptions(t *testing.T) {
	for text, want := range map[string]string{
		"unknown storage: '1'":      `has no storage "1"`,
		"duplicate register() call": "refuses to serve",
	} {
		addr := listen(t, func(conn net.Conn) {
			f := &fake{t: t, conn: conn, codec: codecZ{}}
			conn.Write([]byte(frame("Z5")))
			conn.Read(make([]byte, 6))
			conn.Read(make([]byte, 100))
			conn.Write(f.bytes(message{id: 1, flag: flagException, name: replyName,
				value: pickle.Tuple{"builtins.ValueError", pickle.Tuple{text}}}))
			conn.Read(make([]byte, 1))
		})
		requireRefused(t, quick(addr), fault.NotADatabase, want)
	}
}

// ---- TLS ----

// authority makes certificates.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t, dir: t.TempDir()}
	a.issue("ca", &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

// issue writes name.pem and name.key. The first one signs itself and all others.
func (a *authority) issue(name string, template *x509.Certificate) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(a.t, err)
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.Subject = pkix.Name{CommonName: name}
	template.NotBefore = time.Now().Add(-time.Hour)
	if template.NotAfter.IsZero() {
		template.NotAfter = time.Now().Add(time.Hour)
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer, a.key = template, key, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	require.NoError(a.t, err)
	if a.cert == nil {
		a.cert, err = x509.ParseCertificate(der)
		require.NoError(a.t, err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(a.t, err)
	a.write(name+".pem", "CERTIFICATE", der)
	a.write(name+".key", "PRIVATE KEY", private)
}

func (a *authority) write(name, kind string, der []byte) {
	require.NoError(a.t, os.WriteFile(a.path(name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
}

func (a *authority) path(name string) string { return filepath.Join(a.dir, name) }

func TestEncryptedConnections(t *testing.T) {
	a := newAuthority(t)
	a.issue("server", &x509.Certificate{DNSNames: []string{"zeo.example"}})
	a.issue("client", &x509.Certificate{})
	stranger := newAuthority(t)
	stranger.issue("client", &x509.Certificate{})
	for _, version := range []string{"5", "6"} {
		t.Run(version, func(t *testing.T) {
			port := freePort(t)
			srv := &server{t: t, python: python(t, version), dir: t.TempDir(), addr: link.TCP(port)}
			srv.conf = "address " + port + "\n<ssl>\ncertificate " + a.path("server.pem") + "\nkey " + a.path("server.key") +
				"\nauthenticate " + a.path("ca.pem") + "\n</ssl>"
			good := link.TLS{CA: a.path("ca.pem"), Cert: a.path("client.pem"), Key: a.path("client.key"), ServerName: "zeo.example"}
			srv.tls = &good
			t.Cleanup(srv.kill)
			srv.start()

			for _, tt := range []struct {
				change func(c *link.TLS)
				text   string
			}{
				{func(c *link.TLS) {}, ""},
				{func(c *link.TLS) { c.ServerName, c.AnyName = "", true }, ""},
				{func(c *link.TLS) { c.ServerName = "" }, "is for another name"},
				{func(c *link.TLS) { c.CA = "" }, "nobody whom this host trusts"},
				{func(c *link.TLS) { c.CA, c.AnyName = stranger.path("ca.pem"), true }, "nobody whom this host trusts"},
				{func(c *link.TLS) { c.Cert = "" }, "does not accept this client"},
				{func(c *link.TLS) { c.Cert, c.Key = stranger.path("client.pem"), stranger.path("client.key") }, "does not accept this client"},
				{func(c *link.TLS) { c.CA = a.path("none") }, "cannot be read: no such file"},
				{func(c *link.TLS) { c.CA = a.path("client.key") }, "has no certificate"},
				{func(c *link.TLS) { c.Key = stranger.path("client.key") }, "cannot be used"},
				{func(c *link.TLS) { c.Key = a.path("none") }, "cannot be used: no such file"},
			} {
				cfg := srv.config()
				own := good
				tt.change(&own)
				cfg.TLS = &own
				s, _, err := Dial(cfg)(t.Context(), ignore)
				if tt.text == "" {
					require.NoError(t, err)
					_, err = s.Last(t.Context())
					require.NoError(t, err)
					require.NoError(t, s.Close())
					continue
				}
				var open *storage.OpenError
				require.ErrorAs(t, err, &open)
				require.NotEmpty(t, open.Hint)
				require.ErrorContains(t, err, tt.text)
				require.False(t, strings.Contains(err.Error(), a.dir) || strings.Contains(err.Error(), stranger.dir), "%s", err)
			}
			cfg := srv.config()
			cfg.TLS, cfg.ConnectTimeout = nil, time.Second/2
			requireRefused(t, cfg, fault.NotADatabase, "wants encrypted connections (TLS)")
		})
	}
}

func TestExpiredCertificatesAreTold(t *testing.T) {
	a := newAuthority(t)
	a.issue("server", &x509.Certificate{DNSNames: []string{"h"}, NotAfter: time.Now().Add(-time.Minute)})
	pair, err := tls.LoadX509KeyPair(a.path("server.pem"), a.path("server.key"))
	require.NoError(t, err)
	addr := listen(t, func(conn net.Conn) {
		_ = tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{pair}}).Handshake()
	})
	for _, anyName := range []bool{false, true} {
		cfg := quick(addr)
		cfg.TLS = &link.TLS{CA: a.path("ca.pem"), ServerName: "h", AnyName: anyName}
		requireRefused(t, cfg, fault.NotADatabase, "cannot be used: x509: certificate has expired")
	}
}

// freePort returns an address that nobody has listened at.
func freePort(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}
