package zeo

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wcfs/wcfs/internal/zodb/fault"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// warnings collects what is told.
type warnings struct {
	mu    sync.Mutex
	lines []string // guarded by mu
}

func (w *warnings) warn(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lines = append(w.lines, fmt.Sprintf(format, args...))
}

func (w *warnings) all() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lines
}

// Each error is told in words: what, why, and what to do. The address is in it, and the
// file of a certificate is not.
func TestOpenTellsWhatIsWrong(t *testing.T) {
	web := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(web.Close)
	host := func(script func(net.Conn)) string { return serve(t, "tcp", "127.0.0.1:0", script).Address }
	secret := "ssl_ca=" + filepath.Join(t.TempDir(), "secret.pem")
	nobody, webHost := freePort(t), web.Listener.Addr().String()
	silent, garbage := host(says("")), host(says("garbage\n"))
	for _, tt := range []struct {
		host, options string
		reason        fault.Kind
		text          string
	}{
		{nobody, "", fault.Unreachable, "nobody listens at HOST; start the ZEO server there, or correct the address"},
		{webHost, "", fault.NotADatabase, "what answers at HOST is a web server (HTTP), no ZEO server; correct the port"},
		{webHost, "?ssl=1", fault.NotADatabase, "what answers at HOST is a web server (HTTP), no ZEO server; correct the port"},
		{garbage, "", fault.NotADatabase, "what answers at HOST is no ZEO server: it begins with \"garb\"; correct the address or the port"},
		{garbage, "?ssl=1", fault.NotADatabase, "what answers at HOST does not encrypt: it begins with \"garba\"; correct the address or the port, or leave out the options that begin with ssl"},
		{silent, "", fault.Unreachable, "HOST accepts connections but says nothing for 1s, and ZEO servers speak first; the server may be stopped or hang; or something else listens there"},
		{silent, "?ssl=1", fault.Unreachable, "HOST accepts connections but says nothing for 1s, and ZEO servers speak first; the server may be stopped or hang; or something else listens there"},
		{nobody, "?" + secret, fault.Unreachable, "nobody listens at HOST; start the ZEO server there, or correct the address"},
		{silent, "?" + secret, fault.BadURL, "the certificates to trust (ssl_ca) cannot be read: no such file or directory; correct the option, or the file"},
	} {
		t.Run(tt.text+tt.options, func(t *testing.T) {
			t.Parallel()
			options := tt.options + map[bool]string{true: "?", false: "&"}[tt.options == ""] + "connect_timeout=1"
			_, _, err := Open(context.Background(), urlOf(t, "zeo://"+tt.host+options), storage.Options{})
			requireOpenError(t, err, tt.reason, "")
			require.EqualError(t, err, "open zeo://"+tt.host+": "+strings.ReplaceAll(tt.text, "HOST", tt.host))
		})
	}
}

func urlOf(t testing.TB, url string) storage.URL {
	u, err := storage.ParseURL(url)
	require.NoError(t, err)
	return u
}

func TestOpenTellsWhatIsWrongWithAServer(t *testing.T) {
	eachServer(t, func(t *testing.T, srv *server) {
		open := func(options string) error {
			_, _, err := Open(t.Context(), urlOf(t, srv.url(t).Raw+options), storage.Options{})
			return err
		}
		path := srv.addr.Address
		require.EqualError(t, open("&storage=main"), "open zeo://"+path+"?storage=main: the server at "+path+
			" has no storage \"main\"; name one of those in its configuration, as in ?storage=NAME; without that it is 1")
		require.EqualError(t, open("&ssl=1&ssl_check_hostname=0"), "open zeo://"+path+": the server at "+path+
			" speaks without encryption; leave out the options that begin with ssl")
		srv.kill()
		require.EqualError(t, open(""), "open zeo://"+path+": there is no socket "+path+"; start the ZEO server, or correct the path")
	})
}

// A client that opens a database may come before its server.
func TestOpenWaitsForTheServer(t *testing.T) {
	eachServer(t, func(t *testing.T, srv *server) {
		srv.kill()
		var warned warnings
		opened := make(chan error, 1)
		go func() {
			stor, _, err := Open(context.Background(), srv.url(t), storage.Options{Wait: storage.Forever, Warnf: warned.warn})
			if err == nil {
				err = stor.Close()
			}
			opened <- err
		}()
		require.Eventually(t, func() bool { return len(warned.all()) > 0 }, time.Minute, time.Millisecond)
		time.Sleep(1500 * time.Millisecond) // some attempts
		require.Empty(t, opened)
		srv.start()
		require.NoError(t, <-opened)
		lines := warned.all()
		require.Len(t, lines, 1)
		require.Contains(t, lines[0], "the server is not there, waiting for it: ")
		require.Contains(t, lines[0], "there is no socket")

		srv.kill()
		began := time.Now()
		_, _, err := Open(t.Context(), srv.url(t), storage.Options{Wait: time.Second})
		requireOpenError(t, err, fault.Unreachable, "there is no socket")
		require.GreaterOrEqual(t, time.Since(began), 500*time.Millisecond)
	})
}

// Waiting does not help with what is wrong for another reason.
func TestOpenDoesNotWaitForWhatStaysWrong(t *testing.T) {
	addr := listen(t, func(conn net.Conn) { _, _ = io.WriteString(conn, frame("Z4")) })
	var warned warnings
	_, _, err := Open(t.Context(), urlOf(t, "zeo://localhost/?unix="+addr.Address), storage.Options{Wait: storage.Forever, Warnf: warned.warn})
	requireOpenError(t, err, fault.NotADatabase, "speaks version 4 of the protocol")
	require.Empty(t, warned.all())
}
