package postgresql

import (
	"context"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/wcfs/wcfs/internal/zodb/link"
)

// Defaults.
const (
	DefaultConnectTimeout = 10 * time.Second
	DefaultPoll           = 20 * time.Millisecond
	DefaultMaxConns       = 8

	// MaxPoll is well below the time after which a server that says nothing is taken for
	// gone.
	MaxPoll = 10 * time.Second

	// DefaultMaxRow is beyond what the other kinds of databases have in a record.
	DefaultMaxRow = 256 << 20
)

// Config says which database to read, and how. Parse makes one of a url.
type Config struct {
	// ConnectTimeout is how long a server may take to connect, to encrypt and to
	// accept this client.
	ConnectTimeout time.Duration

	// Poll is how often a server looks for a commit.
	Poll time.Duration

	// MaxConns is how many connections there may be beside that of the follower.
	MaxConns int

	candidates []candidate
	identity   string
	silence    time.Duration // after which a server that says nothing is taken for gone, 0: the usual
}

// URL returns the identity of the database: without anything that only says how to get
// there.
func (c *Config) URL() string { return c.identity }

// candidate is a server that may be connected to.
type candidate struct {
	config *pgconn.Config // of this server only
	addr   link.Addr
}

// split returns a candidate for each server of a configuration. The fallbacks of one
// server, which are without encryption or with, stay together. The certificate of a client
// belongs to the TLS configurations of one copy, so those of different copies are not mixed.
func split(config *pgconn.Config) (all []candidate) {
	for from, end := 0, 1+len(config.Fallbacks); from < end; {
		one := config.Copy()
		ways := append([]*pgconn.FallbackConfig{{Host: one.Host, Port: one.Port, TLSConfig: one.TLSConfig}}, one.Fallbacks...)
		first, to := ways[from], from+1
		for to < end && ways[to].Host == first.Host && ways[to].Port == first.Port {
			to++
		}
		one.Host, one.Port, one.TLSConfig, one.Fallbacks = first.Host, first.Port, first.TLSConfig, ways[from+1:to]
		network, address := pgconn.NetworkAddress(first.Host, first.Port)
		all = append(all, candidate{one, link.Addr{Network: network, Address: address}})
		from = to
	}
	return all
}

// at returns the candidate with the one address that a connection to it has: a name may
// stand for several servers.
func (c candidate) at(remote net.Addr) candidate {
	host, _, err := net.SplitHostPort(remote.String())
	if c.addr.Network != "tcp" || err != nil {
		return c
	}
	pinned := c.config.Copy()
	pinned.LookupFunc = func(context.Context, string) ([]string, error) { return []string{host}, nil }
	return candidate{pinned, c.addr}
}

// identityOf makes the identity of a database.
func identityOf(all []candidate, database, scope string) string {
	hosts := make([]string, len(all))
	for i, c := range all {
		hosts[i] = net.JoinHostPort(url.PathEscape(c.config.Host), strconv.Itoa(int(c.config.Port)))
	}
	return "postgresql://" + strings.Join(hosts, ",") + "/" + url.PathEscape(database) + scope
}

// words are those of PostgreSQL.
var words = link.Words{
	Server: "PostgreSQL server", CA: "sslrootcert", Cert: "sslcert", Key: "sslkey", Plain: "N",
	NoTLS: "add sslmode=disable", OtherName: "correct the name of the host, or give the server another certificate",
}
