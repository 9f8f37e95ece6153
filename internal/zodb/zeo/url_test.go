package zeo

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wcfs/wcfs/internal/zodb/fault"
	"github.com/wcfs/wcfs/internal/zodb/link"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

func parse(t *testing.T, raw string) (Config, error) {
	u, err := storage.ParseURL(raw)
	require.NoError(t, err, raw)
	return Parse(u)
}

func TestURLsSayWhereToConnect(t *testing.T) {
	for raw, want := range map[string]string{
		"zeo://h":                          "zeo://h:9991",
		"zeo://h/":                         "zeo://h:9991",
		"ZEO://h:1":                        "zeo://h:1",
		"zeo://:1":                         "zeo://localhost:1",
		"zeo://h:1?storage=1":              "zeo://h:1",
		"zeo://h:1?storage=main":           "zeo://h:1?storage=main",
		"zeo://h:1/main":                   "zeo://h:1?storage=main",
		"zeo://h:1/main/?storage=main":     "zeo://h:1?storage=main",
		"zeo://h:1/a%20b":                  "zeo://h:1?storage=a+b",
		"zeo://a:1,b,c:3,a:1/s":            "zeo://a:1,b:9991,c:3?storage=s",
		"zeo://[::1]:5,[fe80::1]":          "zeo://[::1]:5,[fe80::1]:9991",
		"zeo:///run/zeo.sock":              "zeo:///run/zeo.sock",
		"zeo:///run/zeo.sock?storage=x":    "zeo:///run/zeo.sock?storage=x",
		"zeo://localhost/?unix=/run/z":     "zeo:///run/z",
		"zeo://localhost?unix=/run/z":      "zeo:///run/z",
		"zeo:///?unix=/run/z":              "zeo:///run/z",
		"zeo://localhost/s?unix=/run/z":    "zeo:///run/z?storage=s",
		"zeo://h?cache_size=1MB&client=c":  "zeo://h:9991",
		"zeo://h?database_name=main&var=v": "zeo://h:9991",
		"zeo://h?ssl_ca=/secret&ssl=1":     "zeo://h:9991",
	} {
		cfg, err := parse(t, raw)
		require.NoError(t, err, raw)
		require.Equal(t, want, cfg.URL(), raw)
		again, err := parse(t, cfg.URL())
		require.NoError(t, err, raw)
		require.Equal(t, cfg.URL(), again.URL())
	}
}

func TestOptionsSayHowToConnect(t *testing.T) {
	base, err := parse(t, "zeo://h")
	require.NoError(t, err)
	require.Equal(t, Config{Addrs: []link.Addr{link.TCP("h:9991")}, Storage: "1", ConnectTimeout: 10 * time.Second, MaxMessage: 1 << 30}, base)
	for query, change := range map[string]func(c *Config){
		"wait_timeout=5":                   func(c *Config) { c.Wait = 5 * time.Second },
		"wait=1":                           func(c *Config) { c.Wait = 30 * time.Second },
		"wait=true&wait_timeout=7":         func(c *Config) { c.Wait = 7 * time.Second },
		"wait=0&wait_timeout=7":            func(c *Config) {},
		"connect_timeout=0.5":              func(c *Config) { c.ConnectTimeout = time.Second / 2 },
		"read_only=1&read_only_fallback=0": func(c *Config) {},
		"ssl=1":                            func(c *Config) { c.TLS = &link.TLS{} },
		"ssl=0":                            func(c *Config) {},
		"ssl_ca=/c&ssl_cert=/d&ssl_key=/k": func(c *Config) { c.TLS = &link.TLS{CA: "/c", Cert: "/d", Key: "/k"} },
		"ssl_cert=/d":                      func(c *Config) { c.TLS = &link.TLS{Cert: "/d", Key: "/d"} },
		"ssl_check_hostname=no&ssl_server_hostname=other": func(c *Config) { c.TLS = &link.TLS{AnyName: true, ServerName: "other"} },
	} {
		want := base
		change(&want)
		got, err := parse(t, "zeo://h?"+query)
		require.NoError(t, err, query)
		require.Equal(t, want, got, query)
	}
}

func TestURLsThatCannotBeMeantAreRefused(t *testing.T) {
	for raw, text := range map[string]string{
		"zeo://h:x":                          `"h:x" is no address`,
		"zeo://h:0":                          `"h:0" is no address`,
		"zeo://h:70000":                      `"h:70000" is no address`,
		"zeo://a,,b":                         `"" is no address`,
		"zeo://::1":                          `"::1" is no address`,
		"zeo://h#x":                          `"h#x" is no address`,
		"zeo://h/a/b":                        `"a/b" cannot be the name of a storage`,
		"zeo:///":                            "names no server",
		"zeo://u:secret@h":                   "no user names and passwords",
		"zeo://h?username=u&password=secret": "no user names and passwords",
		"zeo://h?password=secret":            "no user names and passwords",
		"zeo://h?realm=r":                    "no user names and passwords",
		"zeo://h?strange=secret&key=secret":  `option "key" is not known`,
		"zeo://h?demostorage=1":              `option "demostorage" is not supported`,
		"zeo://h?read_only=0":                "is to be written",
		"zeo://h?read_only=maybe":            "neither yes nor no",
		"zeo://h?wait_timeout=soon":          "no number of seconds",
		"zeo://h?wait_timeout=-1":            "no number of seconds",
		"zeo://h?wait_timeout=NaN":           "no number of seconds",
		"zeo://h?wait_timeout=1e9":           "no number of seconds",
		"zeo://h?connect_timeout=0":          "leaves no time",
		"zeo://h?storage=":                   "has no value",
		"zeo://h?storage=a&storage=b":        "is there twice",
		"zeo://h/a?storage=b":                "another one in the options",
		"zeo://h?unix=/x":                    "a socket of this host",
		"zeo://localhost?unix=x":             "no path of a socket",
		"zeo://localhost?unix=":              "no path of a socket",
		"zeo://h?ssl_key=/secret":            "without its certificate",
		"zeo://h?ssl=0&ssl_ca=/secret":       "ssl=0 says not to",
		"zeo://h?ssl_ca=":                    "has no value",
		"zeo://h?ssl_password=secret":        `option "ssl_password" is not known`,
	} {
		_, err := parse(t, raw)
		var bad *storage.OpenError
		require.True(t, errors.As(err, &bad) && bad.Reason == fault.BadURL && bad.Hint != "", "%s: %v", raw, err)
		require.ErrorContains(t, err, text, raw)
		require.False(t, strings.Contains(strings.ReplaceAll(err.Error(), "strange=secret", ""), "secret"), "%s", err)
	}
}
