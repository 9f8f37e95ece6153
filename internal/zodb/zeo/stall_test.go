package zeo

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/remote"
	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/internal/zodb/storage/storagetest"
)

// A server that stands still for a while is waited for.
func TestStoppedServersAreWaitedFor(t *testing.T) {
	eachServer(t, func(t *testing.T, srv *server) {
		s := newSite(t, srv)
		xid := zodb.Xid{At: s.stor.Head(), Oid: s.model.Oids()[0]}
		srv.signal(syscall.SIGSTOP)
		began := time.Now()
		loaded := make(chan error, 1)
		go func() { loaded <- storagetest.CheckLoad(t.Context(), s.stor, s.model, xid) }()
		time.Sleep(5 * time.Second)
		require.True(t, s.stor.(storage.Reachable).Reach().Up)
		require.Empty(t, loaded)
		srv.signal(syscall.SIGCONT)
		require.NoError(t, <-loaded)
		require.GreaterOrEqual(t, time.Since(began), 5*time.Second)
		s.commit(3)
		s.check()
		require.True(t, s.stor.(storage.Reachable).Reach().Up)
	})
}

// A server that stands still for long is as good as gone, until it goes on.
func TestServersThatStandStillForLongAreAway(t *testing.T) {
	eachServer(t, func(t *testing.T, srv *server) {
		s := newSite(t, srv)
		cfg, err := Parse(srv.url(t))
		require.NoError(t, err)
		cfg.tick = 20 * time.Millisecond
		cfg.ConnectTimeout = time.Second
		stor, at0, err := remote.Open(t.Context(), remote.Config{
			URL: cfg.URL(), Dial: Dial(cfg), Timeout: 200 * time.Millisecond, Options: storage.Options{Warnf: t.Logf},
		})
		require.NoError(t, err)
		defer stor.Close()
		s.stor, s.at0 = stor, at0
		srv.signal(syscall.SIGSTOP)
		r := s.reaches(false)
		require.ErrorContains(t, r.Err, "has not answered for 100ms")
		xid := zodb.Xid{At: stor.Head(), Oid: s.model.Oids()[0]}
		_, _, err = stor.Load(t.Context(), xid)
		var away *storage.AwayError
		require.ErrorAs(t, err, &away)
		require.Equal(t, r.Since, away.Since)
		srv.signal(syscall.SIGCONT)
		s.reaches(true)
		require.NoError(t, storagetest.CheckLoad(t.Context(), stor, s.model, xid))
		s.commit(3)
		s.check()
	})
}
