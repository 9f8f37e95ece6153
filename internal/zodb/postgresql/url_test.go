package postgresql

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wcfs/wcfs/internal/zodb/fault"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

func TestParse(t *testing.T) {
	for url, want := range map[string]string{
		"postgresql://u@h/d":                       "postgresql://h:5432/d",
		"postgres://u:p@h:1/d":                     "postgresql://h:1/d",
		"postgresql://u@h":                         "postgresql://h:5432/u",
		"postgresql://u@h/?dbname=x":               "postgresql://h:5432/x",
		"postgresql://u@h1,h2:2/d":                 "postgresql://h1:5432,h2:2/d",
		"postgresql://u@[::1]:1/d":                 "postgresql://[::1]:1/d",
		"postgresql://u@/d?host=/a/b":              "postgresql://%2Fa%2Fb:5432/d",
		"postgresql://u@/d?host=/a,h&port=1,2":     "postgresql://%2Fa:1,h:2/d",
		"postgresql://u@%2Fa%2Fb:1/d":              "postgresql://%2Fa%2Fb:1/d",
		"postgresql://u@h/d?sslmode=disable":       "postgresql://h:5432/d",
		"postgres://u@h/d?ssl_mode=require":        "postgresql://h:5432/d",
		"postgresql://u@h/a%2Fb%3Fsearch_path=x":   "postgresql://h:5432/a%2Fb%3Fsearch_path=x",
		"postgresql://u@/d?host=/a%20b":            "postgresql://%2Fa%20b:5432/d",
		"postgresql://u@h/d?search_path=a,b":       "postgresql://h:5432/d?search_path=a%2Cb",
		"postgresql://u@h/d?options=-csearch=a%20": "postgresql://h:5432/d?options=-csearch%3Da+",
		"postgres://u@h/d?connect_timeout=3&keep_history=1&read_only=true&cache_local_mb=10&blob_dir=/x&shared_blob_dir=0&driver=auto&name=x&connection_pool_size=3&database_name=x": "postgresql://h:5432/d",
		"postgresql://u@h/d?application_name=x&target_session_attrs=any&keepalives=1&tcp_user_timeout=3":                                                                             "postgresql://h:5432/d",
	} {
		cfg, err := Parse(urlOf(t, url))
		require.NoError(t, err, url)
		require.Equal(t, want, cfg.URL(), url)
	}
	for url, text := range map[string]string{
		"postgresql://u@h:x/d":                           "cannot be understood",
		"postgresql://u@h:70000/d":                       "cannot be understood",
		"postgresql://u@h/d?sslmode=maybe":               "cannot be understood",
		"postgresql://u@h/d?target_session_attrs=x":      "cannot be understood",
		"postgresql://u@h/d?x=1":                         `option "x" is not known for postgresql; remove it from the url`,
		"postgresql://u@h/d?sslmode=disable&ssl_mode=no": `options "sslmode" and "ssl_mode" say the same; leave one`,
		"postgresql://u@h/d?sslmode=a&sslmode=b":         `option "sslmode" is there twice; leave one`,
		"postgresql://u@h/d?keep_history=false":          `option "keep_history" says that the database is history-free; only databases that preserve history are served`,
		"postgresql://u@h/d?read_only=0":                 `option "read_only" says that the database is to be written; remove it`,
		"postgresql://u@h/d?read_only=maybe":             `option "read_only" is neither yes nor no`,
		"postgresql://u@h/d?demostorage=1":               `option "demostorage" is not supported; leave it out`,
		"postgresql://u@h/d?replica_conf=/x":             `option "replica_conf" is not supported; name the servers in the url, as in //HOST1,HOST2/DATABASE`,
	} {
		_, err := Parse(urlOf(t, url))
		require.ErrorContains(t, err, text, url)
		require.Equal(t, fault.BadURL, fault.Of(err), url)
	}
}

// Secrets are neither in the identity nor in an error, wherever they are.
func TestSecretsAreNotTold(t *testing.T) {
	for _, url := range []string{
		"postgresql://u:sesame@h/d", "postgresql://u:se%73ame@h/d", "postgresql://u@h/d?password=sesame", "postgresql://u@h/d?sslpassword=sesame",
		"postgresql://u:sesame@h:x/d", "postgresql://u:sesame@h/d?x=1", "postgresql://u:sesame@h/d?sslmode=x", "postgresql://u:sesame@h/d?password=sesame&sslmode=x",
		"postgresql://u:sesame@h:70000/d", "postgresql://u:ses@me:sesame@h:x/d", "postgresql://u:sesame@h/d?connect_timeout=x", "postgresql://u:sesame@h/d?port=x&sslpassword=sesame",
		"postgresql://u:sesame%zz@h/d", "postgresql://u:sesame@h/d?sslcert=/nowhere&sslkey=/nowhere", "postgresql://u:sesame@h/d?service=none&password=sesame",
		"postgresql://u@h/d?options=-cx%3Dsesame&password=x",
	} {
		cfg, err := Parse(urlOf(t, url))
		if strings.Contains(url, "options=") {
			continue // they are no secret, and tell which tables are meant
		}
		if err != nil {
			require.NotContains(t, err.Error(), "sesame", url)
			require.NotContains(t, err.Error(), "ses@me", url)
			continue
		}
		require.NotContains(t, cfg.URL(), "sesame", url)
	}
}

// Any url gives a database, of which the url means the same database, or an error for the
// person who typed it.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"postgresql://u:p@h:1/d", "postgres://u@h1,h2:2/d?sslmode=disable", "postgresql:///d?host=/a,h&port=1,2", "postgresql://u@[::1]:1/d",
		"postgresql://u@%2Fa%2Fb:1/d?search_path=a,b", "postgresql://u@h/d?options=-cx%3Dy", "postgresql://@/?user=u&dbname=d", "postgresql://u@h/a%2Fb%3Fc",
	} {
		f.Add(seed)
	}
	for _, variable := range os.Environ() {
		if name, _, _ := strings.Cut(variable, "="); strings.HasPrefix(name, "PG") {
			f.Setenv(name, "")
			os.Unsetenv(name)
		}
	}
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := storage.ParseURL(raw)
		if err != nil || u.Scheme != "postgresql" && u.Scheme != "postgres" {
			return
		}
		for _, file := range []string{"service", "passfile", "sslcert", "sslkey", "sslrootcert"} { // of this host
			if u.Query.Has(file) {
				return
			}
		}
		cfg, err := Parse(u)
		var open *storage.OpenError
		if err != nil {
			require.True(t, errors.As(err, &open), "%v", err)
			require.Equal(t, fault.BadURL, open.Reason)
			return
		}
		require.NotEmpty(t, cfg.candidates)
		if cfg.candidates[0].config.User == "" {
			return // the server refuses that; and a database without a name is that of the user
		}
		again, err := Parse(urlOf(t, cfg.URL()))
		require.NoError(t, err, cfg.URL())
		require.Equal(t, cfg.URL(), again.URL())
	})
}
