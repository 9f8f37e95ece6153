package postgresql

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/postgresql/pgtest"
	"github.com/wcfs/wcfs/internal/zodb/remote"
	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/internal/zodb/storage/storagetest"
)

// both names a database by two servers.
func both(d *pgtest.Database, s *pgtest.Cluster, options string) string {
	query := url.Values{"host": {d.Dir() + "," + s.Dir()}, "port": {fmt.Sprintf("%d,%d", d.Port, s.Port)}}
	return "postgresql://reader@/" + d.Name + "?" + query.Encode() + options
}

// withURL has a site be opened by another url.
func withURL(t testing.TB, url string) func(cfg *Config, r *remote.Config) {
	return func(cfg *Config, r *remote.Config) {
		*cfg = configOf(t, url)
		r.URL = cfg.URL()
	}
}

// A standby is read like any other server; what it does not have yet is not there.
func TestStandbysAreFollowed(t *testing.T) {
	long(t)
	t.Parallel()
	c := ground.New(t, pgtest.Options{})
	s := newSite(t, c, nil)
	standby := c.Standby(t)
	there := s.db.On(standby)
	s.open(there, nil)
	require.Equal(t, s.model.Head(), s.at0)
	require.Equal(t, "standby", s.stor.Reach().Nodes[0].State)
	s.commit(30)
	s.check()
	standby.Replay(t, false)
	old := s.stor.Head()
	s.commit(30)
	require.NoError(t, storagetest.CheckLoad(t.Context(), s.stor, modelUpto(s.model, old), zodb.Xid{At: old, Oid: 1}))
	head, err := s.stor.Sync(t.Context())
	require.NoError(t, err)
	require.Equal(t, old, head)
	again, at0, err := Open(t.Context(), urlOf(t, there.URL()), storage.Options{})
	require.NoError(t, err)
	defer again.Close()
	require.Equal(t, old, at0)
	standby.Replay(t, true)
	s.check()
	ev, err := again.NextEvent(t.Context())
	require.NoError(t, err)
	require.Greater(t, ev.Tid, old)
}

// modelUpto returns the model that m was when its head was a tid.
func modelUpto(m *storagetest.Model, head zodb.Tid) *storagetest.Model {
	older := storagetest.NewModel()
	for _, txn := range m.Txns {
		if txn.Tid <= head {
			older.Commit(txn)
		}
	}
	return older
}

// A standby that is behind what was told does not take the place of its primary before it
// has caught up: the head never goes back.
func TestStandbysThatLagAreNotUsed(t *testing.T) {
	t.Parallel()
	c := ground.New(t, pgtest.Options{})
	s := newSite(t, c, nil)
	standby := c.Standby(t)
	s.open(s.db, withURL(t, both(s.db, standby, "")))
	require.Equal(t, "primary", s.stor.Reach().Nodes[0].State)
	standby.Replay(t, false)
	s.commit(20)
	s.check()
	standby.AwaitReceived(t, c)
	c.Kill(t)
	s.reaches(false)
	require.Eventually(t, func() bool {
		r := s.stor.Reach()
		return r.Err != nil && strings.Contains(r.Err.Error(), "is behind: it ends @")
	}, time.Minute, time.Millisecond)
	require.Equal(t, s.model.Head(), s.stor.Head())
	loaded := make(chan error, 1)
	go func() { loaded <- s.load(1) }()
	standby.Replay(t, true)
	require.NoError(t, <-loaded)
	s.reaches(true)
	require.Equal(t, "standby", s.stor.Reach().Nodes[0].State)
	standby.Promote(t)
	s.db.On(standby).Work(s.w)
	s.commit(20)
	s.check()
}

// A primary that comes back when another one has taken its place is not followed: it ends
// where it was left.
func TestFormerPrimariesAreNotFollowed(t *testing.T) {
	long(t)
	t.Parallel()
	c := ground.New(t, pgtest.Options{})
	s := newSite(t, c, nil)
	standby := c.Standby(t)
	s.open(s.db, withURL(t, both(s.db, standby, "&target_session_attrs=read-write")))
	s.commit(5)
	s.check()
	standby.AwaitReceived(t, c)
	c.Kill(t)
	standby.Promote(t)
	s.db.On(standby).Work(s.w)
	s.commit(5)
	s.check()
	require.Equal(t, "primary", s.stor.Reach().Nodes[0].State)
	c.Start(t)
	standby.Stop(t)
	var why *storage.WentBackError
	s.goesDown(&why)
}
