package demostorage_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/fault"
	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/internal/zodb/storage/storagetest"
)

func TestPartsMayBeAnyURL(t *testing.T) {
	w := newWorld(t)
	lower, middle, upper := w.mem("lower"), w.mem("middle"), w.mem("upper")
	lower(storagetest.Txn{Tid: 1, Records: []storagetest.Record{{Oid: 1, Data: []byte("a")}}})
	middle(storagetest.Txn{Tid: 2, Records: []storagetest.Record{{Oid: 1, Data: []byte("b")}}})
	upper(storagetest.Txn{Tid: 3, Records: []storagetest.Record{{Oid: 1, Data: []byte("c")}}})
	odd := filepath.Join(t.TempDir(), "of (2) things")
	storagetest.NewFSWriter(odd).Close()
	for zurl, want := range map[string]zodb.Tid{
		"demo:(mem://lower)/(mem://upper)":                                                    3,
		"DEMO:(mem://lower?x=(1)&y=2)/(mem://upper?z=))":                                      0,
		"demo:(demo:(mem://lower)/(mem://middle))/(mem://upper)":                              3,
		"demo:(mem://lower)/(demo:(mem://middle)/(mem://upper))":                              3,
		"demo:(mem://lower)/(file://" + odd + "?read_only=1)":                                 1,
		"demo:(mem://lower)/(mem://upper)#connection_cache_size=10&database_name=main&":       3,
		"demo:(demo:(mem://lower)/(file://" + odd + ")#database_name=x)/(mem://upper)":        3,
		"demo:(demo:(demo:(mem://lower)/(mem://middle))/(mem://upper))/(file://" + odd + "#)": 0,
	} {
		s, at0, err := w.drivers.Open(t.Context(), zurl, storage.Options{})
		if want == 0 {
			require.Error(t, err, zurl)
			continue
		}
		require.NoError(t, err, zurl)
		require.Equal(t, want, at0, zurl)
		buf, serial, err := s.Load(t.Context(), zodb.Xid{At: at0, Oid: 1})
		require.NoError(t, err, zurl)
		require.Equal(t, want, serial, zurl)
		require.Equal(t, string(rune('a'+want-1)), string(buf.Data), zurl)
		require.NoError(t, s.Close())
	}
}

func TestURLNamesBothParts(t *testing.T) {
	w := newWorld(t)
	w.mem("upper")
	lower, _ := w.file()
	s, _ := w.open(t, "DEMO:("+lower+")/(mem://upper?password=secret)#database_name=x")
	defer s.Close()
	require.Equal(t, "demo:("+lower+")/(mem://test)", s.URL())
}

// TestWhatCannotBeOpenedIsToldWithItsPart checks each message, and that nothing is left open.
func TestWhatCannotBeOpenedIsToldWithItsPart(t *testing.T) {
	w := newWorld(t)
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	dir := t.TempDir()
	missing, empty, text := "file://"+dir+"/no.fs", "file://"+dir+"/empty.fs", "file://"+dir+"/text"
	require.NoError(t, os.WriteFile(dir+"/empty.fs", nil, 0o666))
	require.NoError(t, os.WriteFile(dir+"/text", []byte("hello"), 0o666))
	base, commitBase := w.file()
	delta, commitDelta := w.file()
	commitBase(storagetest.Txn{Tid: 10})
	commitDelta(storagetest.Txn{Tid: 10})
	for _, c := range []struct {
		zurl   string
		reason fault.Kind
		text   []string
	}{
		{"demo:", fault.BadURL, []string{"names no databases one over the other", "demo:(URL of the base)/(URL of the delta)"}},
		{"demo:" + base, fault.BadURL, []string{"names no databases"}},
		{"demo://" + base, fault.BadURL, []string{"names no databases"}},
		{"demo:(", fault.BadURL, []string{"the parenthesis before the base is not closed"}},
		{"demo:(" + base, fault.BadURL, []string{"the parenthesis before the base is not closed"}},
		{"demo:(" + base + "(1)/(" + delta + ")", fault.BadURL, []string{"the parenthesis before the base is not closed", "balanced"}},
		{"demo:()/(" + delta + ")", fault.BadURL, []string{"names no base"}},
		{"demo:(" + base + ")", fault.BadURL, []string{"behind the base", `""`}},
		{"demo:(" + base + ")(" + delta + ")", fault.BadURL, []string{"behind the base", "in place of /(delta)"}},
		{"demo:(" + base + ")/" + delta, fault.BadURL, []string{"behind the base"}},
		{"demo:(" + base + ")/(" + delta, fault.BadURL, []string{"the parenthesis before the delta is not closed"}},
		{"demo:(" + base + ")/()", fault.BadURL, []string{"names no delta"}},
		{"demo:(" + base + ")/(" + delta + ")?password=secret", fault.BadURL, []string{"behind the delta", "options stand inside the parentheses"}},
		{"demo:(" + base + ")/(" + delta + "))", fault.BadURL, []string{`behind the delta is ")"`}},
		{"demo:(" + base + ")/(" + delta + ")/(" + base + ")", fault.BadURL, []string{"behind the delta"}},
		{"demo:(" + base + ")/(" + delta + ")#cache=1", fault.BadURL, []string{`the options behind # have "cache"`}},
		{"demo:(" + base + ")/(" + delta + ")#%zz", fault.BadURL, []string{"the options behind # cannot be understood"}},
		{"demo:(" + dir + "/no.fs)/(" + delta + ")", fault.BadURL, []string{"its base, " + dir + "/no.fs, is not a database url"}},
		{"demo:(" + base + ")/(what)", fault.BadURL, []string{"its delta, what, is not a database url"}},
		{"demo:(" + base + ")/(what://ever?password=secret)", fault.UnknownScheme, []string{"its delta, what://ever?password=xxx, databases of kind"}},
		{"demo:(" + base + "?create=1)/(" + delta + ")", fault.BadURL, []string{"its base, ", `option "create" is not supported`}},
		{"demo:(" + base + ")/(" + delta + "?x=1)", fault.BadURL, []string{"its delta, ", `option "x"`}},
		{"demo:(" + missing + ")/(" + delta + ")", fault.Unreachable, []string{"its base, " + missing + ", no such file", "check the path"}},
		{"demo:(" + base + ")/(" + missing + ")", fault.Unreachable, []string{"its delta, " + missing + ", no such file"}},
		{"demo:(" + base + ")/(" + empty + ")", fault.NotADatabase, []string{"its delta, " + empty + ", is empty", "have the application create"}},
		{"demo:(" + text + ")/(" + delta + ")", fault.NotADatabase, []string{"its base, " + text + ", is not a FileStorage"}},
		{"demo:(" + base + ")/(demo:(" + missing + ")/(" + delta + "))", fault.Unreachable, []string{"its delta, demo:(", "its base, " + missing + ", no such file"}},
		{"demo:(" + base + ")/(" + delta + ")", fault.NotADatabase, []string{"its delta, " + delta, "@000000000000000a", "not after the last one of its base", "begin a new delta"}},
	} {
		_, _, err := w.drivers.Open(t.Context(), c.zurl, storage.Options{})
		var open *storage.OpenError
		require.ErrorAs(t, err, &open, c.zurl)
		require.Equal(t, c.reason, open.Reason, "%s: %s", c.zurl, err)
		require.Contains(t, err.Error(), "open "+storage.Redact(c.zurl), c.zurl)
		require.NotContains(t, err.Error(), "secret", c.zurl)
		for _, text := range c.text {
			require.Contains(t, err.Error(), text, c.zurl)
		}
	}
}

func TestOpeningEndsWithItsContext(t *testing.T) {
	w := newWorld(t)
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	w.mem("a")
	ctx, cancel := context.WithCancel(t.Context())
	w.drivers["slow"] = func(ctx context.Context, u storage.URL, opt storage.Options) (storage.Storage, zodb.Tid, error) {
		cancel()
		<-ctx.Done()
		return nil, 0, ctx.Err()
	}
	_, _, err := w.drivers.Open(ctx, "demo:(mem://a)/(slow://a)", storage.Options{})
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, "delta")
	require.False(t, errors.As(err, new(*storage.OpenError)))
}
