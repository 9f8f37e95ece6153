package harness

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wcfs/wcfs/internal/zodb/postgresql/pgtest"
	"github.com/wcfs/wcfs/internal/zodb/storage/pythontest"
	"github.com/wcfs/wcfs/internal/zodb/storage/storagetest"
)

// postgres is the ground of this test binary, which Main takes away.
var postgres pgtest.Ground

// PostgreSQL is a database of RelStorage, and an application that writes to it.
type PostgreSQL struct {
	*pgtest.Database
	Writer *pythontest.Writer

	t testing.TB
}

// NewLivePostgreSQL makes an empty database on a server of its own.
func NewLivePostgreSQL(t testing.TB, opt pgtest.Options) (*Live, *PostgreSQL) {
	t.Helper()
	letServersPass(t)
	l := &Live{T: t}
	p := l.inPostgreSQL(postgres.New(t, opt))
	l.begin()
	return l, p
}

// onSharedPostgreSQL has a database on the server that all tests share.
func (l *Live) onSharedPostgreSQL() {
	l.T.Helper()
	letServersPass(l.T)
	l.inPostgreSQL(postgres.Shared(l.T))
}

// letServersPass lets servers, which run as another user, come to their data.
func letServersPass(t testing.TB) {
	t.Helper()
	LetPass(t, filepath.Join(os.TempDir(), "data"))
}

// inPostgreSQL has a real application commit what is written.
func (l *Live) inPostgreSQL(c *pgtest.Cluster) *PostgreSQL {
	l.T.Helper()
	d := c.CreateDatabase(l.T, true)
	p := &PostgreSQL{d, d.Writer(l.T), l.T}
	l.inMirror(p.commit)
	l.ZURL = d.URL()
	return p
}

// commit commits a transaction with its tid, as a copy of a database has it.
func (p *PostgreSQL) commit(txn storagetest.Txn) {
	p.t.Helper()
	require.Equal(p.t, txn.Tid, p.Writer.Do(pythontest.CopyOf(txn)))
}

// Back has the application go on after its server has ended: with this server, wherever it
// is now.
func (p *PostgreSQL) Back() { p.Work(p.Writer) }

// WriteTo has the application go on with another server that has the database.
func (p *PostgreSQL) WriteTo(c *pgtest.Cluster) {
	d := *p.Database
	d.Cluster = c
	d.Work(p.Writer)
}
