package pgtest

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wcfs/wcfs/internal/zodb/storage/pythontest"
)

// Database is a database of a cluster.
type Database struct {
	*Cluster
	Name       string
	preserving bool
}

// CreateDatabase makes a database as RelStorage makes it: one that keeps all revisions, or
// only the newest one of each object.
func (c *Cluster) CreateDatabase(t testing.TB, historyPreserving bool) *Database {
	t.Helper()
	c.g.mu.Lock()
	c.g.databases++
	d := &Database{c, fmt.Sprintf("db%d", c.g.databases), historyPreserving}
	c.g.mu.Unlock()
	template := free
	if historyPreserving {
		template = preserving
	}
	c.Query(t, "postgres", "CREATE DATABASE "+d.Name+" TEMPLATE "+template+" OWNER zodb")
	return d
}

// On returns the same database in a copy of its cluster.
func (d *Database) On(c *Cluster) *Database { return &Database{c, d.Name, d.preserving} }

// Query executes SQL in a database of the cluster, as its administrator, and returns the rows:
// fields are separated by |.
func (c *Cluster) Query(t testing.TB, database, sql string) string {
	t.Helper()
	args := []string{"-h", c.socket, "-p", fmt.Sprint(c.Port), "-U", "postgres", "-d", database, "-qAtX", "-v", "ON_ERROR_STOP=1", "-f", "-"}
	cmd := c.g.command("psql", args...)
	cmd.Stdin = strings.NewReader(sql)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s: %s", sql, out)
	return strings.TrimSuffix(string(out), "\n")
}

// Query executes SQL in the database.
func (d *Database) Query(t testing.TB, sql string) string {
	t.Helper()
	return d.Cluster.Query(t, d.Name, sql)
}

// URL names the database for a client that only reads, at the socket.
func (d *Database) URL() string {
	return d.url("reader@", "?host="+url.QueryEscape(d.dir)+fmt.Sprintf("&port=%d", d.Port))
}

// TCP names it at the address of TCP, with a password.
func (d *Database) TCP(password, options string) string {
	return d.url(fmt.Sprintf("reader:%s@127.0.0.1:%d", url.QueryEscape(password), d.Port), options)
}

func (d *Database) url(place, options string) string {
	return "postgres://" + place + "/" + d.Name + options
}

// Writer starts an application that commits to the database, for as long as the test.
func (d *Database) Writer(t testing.TB) *pythontest.Writer {
	t.Helper()
	w := d.g.pythons.Get(t, venv()).Writer(t)
	d.Work(w)
	return w
}

// Work has an application begin anew with the database: at the socket that its server has
// now.
func (d *Database) Work(w *pythontest.Writer) { w.Do(d.WorkOrder()) }

// WorkOrder returns the order that Work gives.
func (d *Database) WorkOrder() pythontest.Order {
	return pythontest.Order{Do: "work", Config: d.config(d.Name, d.preserving, false)}
}

// config is what RelStorage is told.
func (c *Cluster) config(database string, preserving, create bool) string {
	return fmt.Sprintf(`%%import relstorage
<relstorage>
  keep-history %v
  create-schema %v
  <postgresql>
    dsn dbname='%s' user='zodb' host='%s' port='%d'
  </postgresql>
</relstorage>
`, preserving, create, database, c.socket, c.Port)
}
