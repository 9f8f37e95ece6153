package neo

import (
	"net/url"
	"strings"
	"time"

	"github.com/wcfs/wcfs/internal/zodb/link"
)

// Defaults.
const (
	DefaultConnectTimeout = 10 * time.Second

	// DefaultMaxPacket is beyond the 64 MiB that nodes accept of one value.
	DefaultMaxPacket = 256 << 20
)

// Config says which cluster to talk to, and how. Parse makes one of a url.
type Config struct {
	Cluster string   // its name
	Masters []string // addresses, host:port, to be tried in this order
	TLS     *link.TLS

	// ConnectTimeout is how long a node may take to connect, to encrypt and to accept
	// this client; and then once more to say what its last transaction is.
	ConnectTimeout time.Duration

	// Wait is how long whoever opens the database should go on trying to connect for
	// the first time.
	Wait time.Duration

	// MaxPacket is how big a packet may be, in bytes.
	MaxPacket int64

	// IgnoreChecksums takes records whose checksum is wrong for good.
	IgnoreChecksums bool

	tick time.Duration // of the watchdogs, 0: the usual one
	poll time.Duration // how often a master is asked for what it has not told, 0: the usual
}

// URL returns the identity of the database, as Python makes urls: without anything that
// only says how to get there.
func (c *Config) URL() string {
	scheme := "neo://"
	if c.TLS != nil {
		scheme = "neos://"
	}
	return scheme + strings.ReplaceAll(url.PathEscape(c.Cluster), "@", "%40") + "@" + strings.Join(c.Masters, ",")
}

// words are those of NEO.
var words = link.Words{
	Server: "NEO master", CA: "ca", Cert: "cert", Key: "key",
	Plain: "\x92\xa3NEO", NoTLS: "write neo:// and leave out ca, cert and key",
}
