package neo

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wcfs/wcfs/internal/zodb/fault"
	"github.com/wcfs/wcfs/internal/zodb/link"
	"github.com/wcfs/wcfs/internal/zodb/neo/neotest"
)

func TestEncryptedClustersAreServed(t *testing.T) {
	s := newSite(t, neotest.Options{Partitions: 3, Replicas: 1, Storages: 2, TLS: neotest.NewAuthority(t.TempDir())}, nil)
	s.write(7, strings.Repeat("x", 3<<20))
	s.commit(20)
	s.check()
	require.True(t, strings.HasPrefix(s.stor.URL(), "neos://test@"), s.stor.URL())
	require.NotContains(t, s.stor.URL(), "key")
	s.Storages[0].Stop()
	s.commit(20)
	s.check()
}

// Each way in which two sides do not agree on encryption is told, and no path of a secret
// is in a message.
func TestEncryptionThatFailsIsTold(t *testing.T) {
	authority, stranger := neotest.NewAuthority(t.TempDir()), neotest.NewAuthority(t.TempDir())
	encrypted := startCluster(t, neotest.Options{TLS: authority})
	plain := startCluster(t, neotest.Options{})
	good := configOf(t, encrypted)
	s, _ := dialed(t, good, ignore, t.Logf)
	require.NoError(t, s.Err())
	for _, tt := range []struct {
		change func(c *link.TLS)
		reason fault.Kind
		text   string
	}{
		{func(c *link.TLS) { c.CA = stranger.File("ca.crt") }, fault.NotADatabase, "nobody whom this host trusts vouches for the certificate of the server at HOST; name the file with the certificate to trust, as in ca=FILE"},
		{func(c *link.TLS) { c.Key = stranger.File("client.key") }, fault.BadURL, "the client's certificate (cert, key) cannot be used"},
		{func(c *link.TLS) { c.Key = stranger.File("none") }, fault.BadURL, "cannot be used: no such file or directory; correct the option, or the file"},
		{func(c *link.TLS) { c.CA = stranger.File("none") }, fault.BadURL, "the certificates to trust (ca) cannot be read: no such file or directory"},
		{func(c *link.TLS) { c.CA = stranger.File("client.key") }, fault.BadURL, "the file of ca has no certificate in PEM form"},
	} {
		cfg, own := good, *good.TLS
		cfg.TLS = &own
		tt.change(&own)
		requireRefused(t, cfg, tt.reason, strings.ReplaceAll(tt.text, "HOST", encrypted.Masters[0].Addr))
		_, _, err := Dial(cfg, t.Logf)(t.Context(), ignore)
		require.NotContains(t, err.Error(), t.TempDir()[:len(t.TempDir())-4])
	}
	requireStrangerRefused(t, good, stranger)
	cfg := configOf(t, plain)
	cfg.TLS = good.TLS
	requireRefused(t, cfg, fault.NotADatabase, "the server at "+plain.Masters[0].Addr+" speaks without encryption; write neo:// and leave out ca, cert and key")
	cfg = good
	cfg.TLS, cfg.ConnectTimeout = nil, 5*time.Second
	requireRefused(t, cfg, fault.Unreachable, encrypted.Masters[0].Addr+" closes connections without a word; it may want encrypted connections, see neos://")
}

// requireStrangerRefused: the server may have closed the connection before the client reads
// why, since a client goes on meanwhile in TLS 1.3.
func requireStrangerRefused(t *testing.T, cfg Config, stranger *neotest.Authority) {
	t.Helper()
	own := *cfg.TLS
	own.Cert, own.Key = stranger.File("client.crt"), stranger.File("client.key")
	cfg.TLS = &own
	_, _, err := Dial(cfg, t.Logf)(t.Context(), ignore)
	require.Contains(t, []fault.Kind{fault.NotADatabase, fault.Unreachable}, fault.Of(err))
	require.ErrorContains(t, err, "it may want a certificate that it knows: cert=FILE and key=FILE")
}

// A list of revoked certificates stands beside the certificate of the authority.
func TestRevokedCertificatesAreRefused(t *testing.T) {
	authority := neotest.NewAuthority(t.TempDir())
	c := startCluster(t, neotest.Options{TLS: authority})
	authority.Issue("lost")
	authority.Revoke("lost")
	s, _ := dialed(t, configOf(t, c), ignore, t.Logf)
	require.NoError(t, s.Err())
	authority.Revoke("node")
	requireRefused(t, configOf(t, c), fault.NotADatabase, "the certificate of the server at "+c.Masters[0].Addr+" cannot be used: it was revoked on ")
}
