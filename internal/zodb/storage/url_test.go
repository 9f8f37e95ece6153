package storage_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/fault"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

func TestParseURLSplitsWithoutDecodingPaths(t *testing.T) {
	for _, tt := range []struct{ raw, scheme, rest, query string }{
		{"file:///a/b.fs", "file", "/a/b.fs", ""},
		{"FILE:///a/b%20c d#e.fs?x=1%202", "file", "/a/b%20c d#e.fs", "x=1+2"},
		{"file://rel/b.fs", "file", "rel/b.fs", ""},
		{"file://~/b.fs", "file", "~/b.fs", ""},
		{"zeo://host:9991?storage=1&wait=0", "zeo", "host:9991", "storage=1&wait=0"},
		{"neo://c@a:1,b:2", "neo", "c@a:1,b:2", ""},
		{"demo:(file:///a?x=1)/(zeo://b)", "demo", "(file:///a?x=1)/(zeo://b)", ""},
	} {
		u, err := storage.ParseURL(tt.raw)
		if err != nil || u.Raw != tt.raw || u.Scheme != tt.scheme || u.Rest != tt.rest || u.Query.Encode() != tt.query {
			t.Errorf("%s: %+v, %v", tt.raw, u, err)
		}
	}
}

func TestParseURLRefusesWhatIsNoURL(t *testing.T) {
	for _, raw := range []string{"", "/a/b", "a.fs", "://x", "1a://x", "a b://x", "file://", "file://?x=1", "file:///a?x=%zz", "demo:x", "demo:", "demo://a", "demo://(a)/b"} {
		_, err := storage.ParseURL(raw)
		var bad *storage.OpenError
		if !errors.As(err, &bad) || bad.Reason != fault.BadURL {
			t.Errorf("%q: %v", raw, err)
		}
	}
}

func TestResolveTurnsPathsIntoURLsAndLeavesURLsAlone(t *testing.T) {
	for arg, want := range map[string]string{
		"/a/b.fs":            "file:///a/b.fs",
		"/a/../b.fs":         "file:///b.fs",
		"b.fs":               "file:///cwd/b.fs",
		"./b:c.fs":           "file:///cwd/b:c.fs",
		"../b.fs":            "file:///b.fs",
		"~/b.fs":             "file:///home/me/b.fs",
		"~":                  "file:///home/me",
		"~other/b.fs":        "file:///cwd/~other/b.fs",
		"file://~/b.fs":      "file://~/b.fs",
		"file://rel":         "file://rel",
		"ZEO://h":            "ZEO://h",
		"demo:(a)/(b)":       "demo:(a)/(b)",
		"demo:a":             "demo:a",
		"./demo:a":           "file:///cwd/demo:a",
		"postgres://u:p@h/d": "postgres://u:p@h/d",
	} {
		if have := storage.Resolve(arg, "/cwd", "/home/me"); have != want {
			t.Errorf("%s: %s; want %s", arg, have, want)
		}
	}
	if have := storage.Resolve("~/b", "/cwd", ""); have != "file:///cwd/~/b" {
		t.Errorf("without a home: %s", have)
	}
}

func TestNormalizeMapsEqualDatabasesToEqualText(t *testing.T) {
	for zurl, want := range map[string]string{
		"file:///a/../b?x=1":      "file:///a/../b?x=1",
		"FILE:///a":               "FILE:///a",
		"zeo://b?storage=x":       "zeo://b?storage=x",
		"demo:(zeo://b)/(file:a)": "demo:(zeo://b)/(file:a)",

		"neos://cluster@def:2,abc:1?ca=zzz":                             "neos://cluster@abc:1,def:2",
		"neo://cluster@xyz:1?cert=c":                                    "neos://cluster@xyz:1",
		"neo://c@def:2,abc:1":                                           "neo://c@abc:1,def:2",
		"neo://c@a:1?b=2&a=1&c=10":                                      "neo://c@a:1?a=1&b=2&c=10",
		"neo://c@a:1?ca=&cert=&key=":                                    "neo://c@a:1",
		"NEO://c@a:1?compress=1&read-only=1&logfile=%2Fx&cache-size=3k": "neo://c@a:1",
		"neos://c@a:1?key=1&x=%20&":                                     "neos://c@a:1?x=%20",
		"neo://c@[::1]:2,[::1]:1":                                       "neo://c@[::1]:1,[::1]:2",

		"postgresql://h/d": "postgresql://h:5432/d",
		"postgres://u:p@H:5432/d?sslmode=require&keep_history=1":       "postgresql://h:5432/d",
		"postgresql://b,a:1/d?target_session_attrs=primary":            "postgresql://a:1,b:5432/d",
		"postgresql://u@/d?host=/run/pg&port=5433":                     "postgresql://%2Frun%2Fpg:5433/d",
		"postgresql://%2frun%2Fpg:5433/d":                              "postgresql://%2Frun%2Fpg:5433/d",
		"postgresql://u@h":                                             "postgresql://h:5432/u",
		"postgresql://[::1]/d?search_path=x&options=-c%20a%3Db&user=u": "postgresql://[::1]:5432/d?options=-c+a%3Db&search_path=x",
	} {
		have, err := storage.Normalize(zurl)
		if err != nil || have != want {
			t.Errorf("%s: %s, %v; want %s", zurl, have, err, want)
		}
		if again, err := storage.Normalize(have); err != nil || again != have {
			t.Errorf("%s: not idempotent: %s, %v", zurl, again, err)
		}
	}
	var bad *storage.OpenError
	if _, err := storage.Normalize("memory://x"); !errors.As(err, &bad) || bad.Reason != fault.UnknownScheme {
		t.Errorf("unknown scheme: %v", err)
	}
	if _, err := storage.Normalize("/a/b"); !errors.As(err, &bad) || bad.Reason != fault.BadURL {
		t.Errorf("bare path: %v", err)
	}
}

func TestRedactHidesSecretsAndNothingElse(t *testing.T) {
	for zurl, want := range map[string]string{
		"file:///a/b@c:d?x=1":                            "file:///a/b@c:d?x=1",
		"zeo://h:1?username=u&password=p%20w":            "zeo://h:1?username=u&password=xxx",
		"zeo://h:1?PASSWORD=pw&wait=1":                   "zeo://h:1?PASSWORD=xxx&wait=1",
		"zeo://h?ssl_key=/k&ssl_cert=/c&ssl_ca=/a&ssl=1": "zeo://h?ssl_key=xxx&ssl_cert=xxx&ssl_ca=xxx&ssl=1",
		"postgres://u:p/w@h:5/d?x=1":                     "postgres://u:xxx@h:5/d?x=1",
		"postgres://:p@h/d":                              "postgres://:xxx@h/d",
		"postgresql://u@h/d?sslpassword=a&sslkey=b&password=c&passfile=d&sslmode=x": "postgresql://u@h/d?sslpassword=xxx&sslkey=xxx&password=xxx&passfile=xxx&sslmode=x",
		"neo://c@a:1,b:2?x=1":                            "neo://c@a:1,b:2?x=1",
		"neos://c@a:1?ca=/ca&cert=/ce&key=/k":            "neos://c@a:1?ca=xxx&cert=xxx&key=xxx",
		"neos://ca=x;cert=y;key=z@c@a:1":                 "neos://ca=xxx;cert=xxx;key=xxx@c@a:1",
		"demo:(zeo://h?password=a)/(neos://c@m?key=b)":   "demo:(zeo://h?password=xxx)/(neos://c@m?key=xxx)",
		"demo:(postgres://u:p@h/d)/(postgres://u:q@h/d)": "demo:(postgres://u:xxx@h/d)/(postgres://u:xxx@h/d)",
		"zeo://h?monkey=1&secretary=2&token=3&tokens=4":  "zeo://h?monkey=1&secretary=2&token=xxx&tokens=4",
	} {
		if have := storage.Redact(zurl); have != want {
			t.Errorf("%s:\nhave %s\nwant %s", zurl, have, want)
		}
	}
}

func TestDriversOpenBySchemeAndNameWhatTheySupport(t *testing.T) {
	mine := errors.New("mine")
	drivers := storage.Drivers{
		"b": nil,
		"a": func(_ context.Context, u storage.URL, _ storage.Options) (storage.Storage, zodb.Tid, error) {
			if u.Rest != "x" || u.Query.Get("y") != "z" {
				t.Errorf("url %+v", u)
			}
			return nil, 0, mine
		},
	}
	if _, _, err := drivers.Open(t.Context(), "A://x?y=z", storage.Options{}); err != mine {
		t.Error(err)
	}
	_, _, err := drivers.Open(t.Context(), "c://u:secret@x", storage.Options{})
	var bad *storage.OpenError
	if !errors.As(err, &bad) || bad.Reason != fault.UnknownScheme || !strings.Contains(err.Error(), "a, b") || strings.Contains(err.Error(), "secret") {
		t.Error(err)
	}
}

func TestFileOptionsAreUnderstoodOrRefused(t *testing.T) {
	yes, no := true, false
	same := func(a, b *bool) bool { return a == b || a != nil && b != nil && *a == *b }
	for _, tt := range []struct {
		query    string
		readOnly *bool
		create   *bool
		wrong    string
	}{
		{"", nil, nil, ""},
		{"?read_only=1", &yes, nil, ""},
		{"?read-only=False&create=on", &no, &yes, ""},
		{"?create=0&database_name=main&connection_pool_size=3", nil, &no, ""},
		{"?create=", nil, nil, `option "create" is neither yes nor no`},
		{"?read_only=2", nil, nil, `option "read_only" is neither yes nor no`},
		{"?demostorage", nil, nil, `option "demostorage" is not supported for files`},
		{"?quota=1", nil, nil, `option "quota" is not supported for files`},
	} {
		u, err := storage.ParseURL("file:///a.fs" + tt.query)
		if err != nil {
			t.Fatal(err)
		}
		opt, err := u.FileOptions()
		var bad *storage.OpenError
		switch {
		case tt.wrong != "":
			if !errors.As(err, &bad) || bad.Reason != fault.BadURL || bad.Msg != tt.wrong || bad.Hint == "" {
				t.Errorf("%s: %v", tt.query, err)
			}
		case err != nil || !same(opt.ReadOnly, tt.readOnly) || !same(opt.Create, tt.create):
			t.Errorf("%s: %+v, %v", tt.query, opt, err)
		}
	}
	for raw, want := range map[string]string{"file://~/a.fs": "/home/me/a.fs", "file:///~/a.fs": "/~/a.fs", "file://a.fs": "a.fs"} {
		if u, err := storage.ParseURL(raw); err != nil || u.FilePath("/home/me") != want {
			t.Errorf("%s: %s, %v", raw, u.FilePath("/home/me"), err)
		}
	}
}
