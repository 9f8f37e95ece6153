package neo

import (
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wcfs/wcfs/internal/zodb/neo/neotest"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// A master is told once, by the address that the cluster knows it by, whatever address
// leads to it.
func TestMastersAreToldOnce(t *testing.T) {
	c := startCluster(t, neotest.Options{Masters: 2})
	host, port, err := net.SplitHostPort(c.Masters[0].Addr)
	require.NoError(t, err)
	alias := net.JoinHostPort("::ffff:"+host, port) // the same address, mapped to IPv6
	s, _, err := Open(t.Context(), urlOf(t, "neo://test@"+alias), storage.Options{Warnf: t.Logf})
	require.NoError(t, err)
	defer s.Close()
	masters := map[string]bool{} // whether it is the primary one
	for _, n := range s.(storage.Reachable).Reach().Nodes {
		if n.Role == "master" {
			require.NotContains(t, masters, n.Address)
			masters[n.Address] = n.State == "primary"
			require.Equal(t, n.State == "primary", n.Connected)
		}
	}
	require.Equal(t, map[string]bool{c.Masters[0].Addr: true, c.Masters[1].Addr: false}, masters)
}
