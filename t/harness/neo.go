package harness

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wcfs/wcfs/internal/zodb/neo/neotest"
)

// NewLiveNEO makes an empty database in a cluster of this process.
func NewLiveNEO(t testing.TB, opt neotest.Options) (*Live, *neotest.Cluster) {
	t.Helper()
	l := &Live{T: t}
	c := l.inCluster(opt)
	l.begin()
	return l, c
}

// inCluster has a cluster commit what is written.
func (l *Live) inCluster(opt neotest.Options) *neotest.Cluster {
	l.T.Helper()
	c := neotest.New(opt)
	l.T.Cleanup(func() {
		c.Close()
		require.Empty(l.T, c.Complaints())
	})
	l.inMirror(c.Commit)
	l.ZURL = c.URL()
	return c
}
