package zeo

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// TestSameDatabaseIsWhatParseTakesForTheSamePlace.
func TestSameDatabaseIsWhatParseTakesForTheSamePlace(t *testing.T) {
	urls := []string{
		"zeo://localhost", "zeo://localhost/", "ZEO://localhost:9991", "zeo://:9991/1", "zeo://localhost/?wait_timeout=3&storage=1",
		"zeo://localhost:9992", "zeo://localhost:09991", "zeo://localhost/2", "zeo://localhost?storage=2", "zeo://localhost:9991/2/?connect_timeout=5",
		"zeo://a,b:9991", "zeo://b,a", "zeo://a:9991,b,a", "zeo://a:1,b", "zeo://A,B", "zeo://a,b?ssl_ca=/some/where",
		"zeo://localhost/?unix=/run/zeo", "zeo:///run/zeo", "zeo:///run/zeo?storage=1", "zeo:///run/zeo?storage=a%20b", "zeo://localhost/?unix=/run/zeo&storage=a+b",
		"zeo://[::1]", "zeo://[::1]:9991", "zeo://[::1]:9992", "zeo://localhost/a%20b", "zeo://localhost?storage=a+b",
	}
	place := func(zurl string) string {
		u, err := storage.ParseURL(zurl)
		require.NoError(t, err)
		cfg, err := Parse(u)
		require.NoError(t, err, zurl)
		var addrs []string
		for _, addr := range cfg.Addrs {
			addrs = append(addrs, strings.ToLower(addr.Address)) // names of hosts; no path here has capitals
		}
		slices.Sort(addrs)
		return strings.Join(addrs, " ") + " " + cfg.Storage
	}
	same := 0
	for _, a := range urls {
		for _, b := range urls {
			require.Equal(t, place(a) == place(b), storage.SameDatabase(a, b), "%s %s", a, b)
			if a < b && place(a) == place(b) {
				same++
			}
		}
	}
	require.Greater(t, same, 20)
}
