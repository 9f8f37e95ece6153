package zeo

import (
	"strings"
	"time"

	"github.com/wcfs/wcfs/internal/zodb/link"
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
	Addrs   []link.Addr // of the server, to be tried in this order
	Storage string      // which of the storages of the server
	TLS     *link.TLS   // nil: without

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
