package neotest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"time"
)

// Authority makes the certificates of a cluster, as files of a directory: ca.crt, and
// NAME.crt with NAME.key of whoever is issued one. node is one of the nodes, and client
// one of the clients.
type Authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewAuthority makes an authority whose files are in dir. It panics if it cannot.
func NewAuthority(dir string) *Authority {
	a := &Authority{dir: dir, key: newKey()}
	a.cert = a.sign("ca", &x509.Certificate{
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		SubjectKeyId: []byte(dir)[max(0, len(dir)-20):],
	}, a.key)
	a.Issue("node")
	a.Issue("client")
	return a
}

// File returns the path of a file, such as client.key.
func (a *Authority) File(name string) string { return filepath.Join(a.dir, name) }

// Issue makes a certificate, which may be for hosts.
func (a *Authority) Issue(name string, hosts ...string) {
	key := newKey()
	a.sign(name, &x509.Certificate{KeyUsage: x509.KeyUsageDigitalSignature, DNSNames: hosts}, key)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	must(err)
	a.write(name+".key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// Revoke adds a list to ca.crt that revokes a certificate.
func (a *Authority) Revoke(name string) {
	pair, err := tls.LoadX509KeyPair(a.File(name+".crt"), a.File(name+".key"))
	must(err)
	now := time.Now()
	list := &x509.RevocationList{
		Number: big.NewInt(1), ThisUpdate: now.Add(-time.Hour), NextUpdate: now.Add(time.Hour),
		RevokedCertificateEntries: []x509.RevocationListEntry{{SerialNumber: pair.Leaf.SerialNumber, RevocationTime: now.Add(-time.Minute)}},
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, a.cert, a.key)
	must(err)
	ca, err := os.ReadFile(a.File("ca.crt"))
	must(err)
	a.write("ca.crt", append(ca, pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der})...))
}

// sign writes a certificate, of the authority itself if it has none yet.
func (a *Authority) sign(name string, template *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.Subject = pkix.Name{CommonName: name}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	parent := a.cert
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, a.key)
	must(err)
	a.write(name+".crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	cert, err := x509.ParseCertificate(der)
	must(err)
	return cert
}

func (a *Authority) write(name string, content []byte) {
	must(os.WriteFile(a.File(name), content, 0o600))
}

// config is that of nodes: they want a certificate of everybody.
func (a *Authority) config() *tls.Config {
	pair, err := tls.LoadX509KeyPair(a.File("node.crt"), a.File("node.key"))
	must(err)
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool, MinVersion: tls.VersionTLS12}
}

// query has the options of a url for a client.
func (a *Authority) query() string {
	return url.Values{"ca": {a.File("ca.crt")}, "cert": {a.File("client.crt")}, "key": {a.File("client.key")}}.Encode()
}

func newKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	return key
}

func must(err error) {
	if err != nil {
		panic(fmt.Sprintf("neotest: %s", err))
	}
}
