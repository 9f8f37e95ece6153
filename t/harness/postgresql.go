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

// PostgreSQL is a database of RelStorage, and a real application that writes to it.
type PostgreSQL struct {
	*pgtest.Database
	Writer *pythontest.Writer

	t testing.TB
}

// NewLivePostgreSQL makes an empty database on a server of its own.
func NewLivePostgreSQL(t testing.TB, opt pgtest.Options) (*Live, *PostgreSQL) {
	t.Helper()
	l, p := &Live{T: t}, newPostgreSQL(t, ground(t).New(t, opt))
	l.inPostgreSQL(p)
	l.begin()
	return l, p
}

// CopyToPostgreSQL makes a database, on a server of its own, with all transactions of the
// data file path.
func CopyToPostgreSQL(t testing.TB, path string, opt pgtest.Options) *PostgreSQL {
	t.Helper()
	p := newPostgreSQL(t, ground(t).New(t, opt))
	newMirror(t, "file://"+path, p.commit).catchUp()
	return p
}

// ground returns where servers are. They run as another user, who must come to their data.
func ground(t testing.TB) *pgtest.Ground {
	t.Helper()
	LetPass(t, filepath.Join(os.TempDir(), "data"))
	return &postgres
}

func newPostgreSQL(t testing.TB, c *pgtest.Cluster) *PostgreSQL {
	t.Helper()
	d := c.CreateDatabase(t, true)
	return &PostgreSQL{d, d.Writer(t), t}
}

// inPostgreSQL has p commit what is written.
func (l *Live) inPostgreSQL(p *PostgreSQL) {
	l.T.Helper()
	l.inMirror(p.commit)
	l.ZURL = p.URL()
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
func (p *PostgreSQL) WriteTo(c *pgtest.Cluster) { p.On(c).Work(p.Writer) }
