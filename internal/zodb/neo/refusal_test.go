package neo

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wcfs/wcfs/internal/zodb/fault"
	"github.com/wcfs/wcfs/internal/zodb/neo/neotest"
	"github.com/wcfs/wcfs/internal/zodb/neoproto"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// listen has a script run for each connection to a socket.
func listen(t *testing.T, script func(conn net.Conn)) (addr string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			script(conn)
			conn.Close()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	return l.Addr().String()
}

// says is a script that writes and waits for the end of the connection.
func says(text string) func(net.Conn) {
	return func(conn net.Conn) {
		_, _ = io.WriteString(conn, text)
		_, _ = io.Copy(io.Discard, conn)
	}
}

// answers is a script that says hello, and answers a request with each message.
func answers(messages ...neoproto.Message) func(net.Conn) {
	return func(conn net.Conn) {
		_, _ = io.WriteString(conn, neoproto.Hello)
		_, _ = conn.Read(make([]byte, len(neoproto.Hello)))
		for i, m := range messages {
			_, _ = conn.Read(make([]byte, 1000))
			_, _ = conn.Write(neoproto.Append(nil, neoproto.Packet{ID: uint32(1 + i), Msg: m}))
		}
		_, _ = io.Copy(io.Discard, conn)
	}
}

func packets(messages ...neoproto.Message) string {
	b := []byte(neoproto.Hello)
	for i, m := range messages {
		b = neoproto.Append(b, neoproto.Packet{ID: uint32(1 + i), Msg: m})
	}
	return string(b)
}

// quick is for masters that answer soon or never.
func quick(masters ...string) Config {
	return Config{Cluster: "test", Masters: masters, ConnectTimeout: 300 * time.Millisecond, MaxPacket: 1 << 20}
}

func requireRefused(t *testing.T, cfg Config, reason fault.Kind, text string) {
	t.Helper()
	_, _, err := Dial(cfg, t.Logf)(t.Context(), ignore)
	var open *storage.OpenError
	require.ErrorAs(t, err, &open)
	require.Equal(t, reason, fault.Of(err), "%s", err)
	require.ErrorContains(t, err, text)
	require.True(t, strings.HasPrefix(err.Error(), "open "+cfg.URL()+": "), "%s", err)
}

func TestWhatIsNoMasterIsToldByWhatItSays(t *testing.T) {
	accepted := &neoproto.Accepted{Type: neoproto.Master, ID: -0x10000000, You: -0x20000000}
	for name, tt := range map[string]struct {
		script func(net.Conn)
		reason fault.Kind
		text   string
	}{
		"an older version":  {says("\x92\xa3NEO\x04"), fault.NotADatabase, "the master at HOST speaks version 4 of the protocol, and this client version 5; all nodes and clients of a cluster must be of the same version: upgrade the cluster, or this"},
		"a later version":   {says("\x92\xa3NEO\x06"), fault.NotADatabase, "speaks version 6 of the protocol, and this client version 5"},
		"binary":            {says("\x00\x00\x00\x06"), fault.NotADatabase, "the master at HOST speaks the binary protocol of NEO 1.12 and before, and this client version 5 of the protocol, in msgpack; upgrade the cluster"},
		"HTTP":              {says("HTTP/1.1 408 Request Timeout\r\n"), fault.NotADatabase, "what answers at HOST is a web server (HTTP), no NEO master; correct the port"},
		"TLS alert":         {says("\x15\x03\x01\x00\x02\x02\x28"), fault.NotADatabase, "the master at HOST wants encrypted connections (TLS); write neos:// with ca=FILE, cert=FILE and key=FILE"},
		"SSH":               {says("SSH-2.0-OpenSSH_9.2\r\n"), fault.NotADatabase, "what answers at HOST is no NEO master: it begins with \"S\"; correct the address or the port"},
		"other msgpack":     {says("\x92\xa3ABC\x04"), fault.NotADatabase, "what answers at HOST is no NEO master"},
		"silence":           {says(""), fault.Unreachable, "HOST accepts connections but does not answer within 300ms; the master may be stopped or hang; or something else listens there"},
		"half a hello":      {says("\x92\xa3N"), fault.Unreachable, "HOST accepts connections but does not answer within 300ms"},
		"hello and silence": {says(neoproto.Hello), fault.Unreachable, "HOST accepts connections but does not answer within 300ms"},
		"half a packet":     {says(packets(accepted)[:12]), fault.Unreachable, "HOST accepts connections but does not answer within 300ms"},
		"no word":           {func(net.Conn) {}, fault.Unreachable, "HOST closes connections without a word; it may want encrypted connections, see neos://"},
		"end after hello":   {func(c net.Conn) { _, _ = c.Write([]byte(neoproto.Hello)); _, _ = c.Read(make([]byte, 6)) }, fault.Unreachable, "the connection to HOST is lost at once"},
		"garbage":           {says(neoproto.Hello + "garbage"), fault.NotADatabase, "what answers at HOST is not to be understood: in a packet of code 0x0000"},
		"another answer":    {answers(&neoproto.Last{}), fault.NotADatabase, "a request of code 0x0001 is answered with 0x803c; is it a NEO master?"},
		"not asked for":     {says(packets(accepted, accepted, accepted, accepted)), fault.NotADatabase, "an answer to request"},
		"a storage":         {answers(&neoproto.Accepted{Type: neoproto.StorageNode, ID: 1, You: 1}), fault.NotADatabase, "it is a storage, and no master"},
		"tells nothing":     {answers(accepted, &neoproto.Last{}), fault.NotADatabase, "it has told nothing of the nodes, or of the partitions"},
		"an empty table":    {says(packets(accepted, &neoproto.Table{ID: 1})), fault.NotADatabase, "a table of 0 partitions"},
		"busy":              {answers(&neoproto.Error{Kind: neoproto.NotReady, Text: "Retry Later"}), fault.Unreachable, "the master at HOST says that the cluster is not ready; it waits for storages, or for somebody to start it; neoctl print cluster tells"},
		"knows us already":  {answers(&neoproto.Error{Kind: neoproto.ProtocolViolation, Text: "already connected"}), fault.Unreachable, "the master at HOST refuses this client: already connected"},
		"denies":            {answers(&neoproto.Error{Kind: neoproto.Denied, Text: "no"}), fault.NotADatabase, "the master at HOST refuses this client: DENIED (\"no\")"},
		"an unknown packet": {says(neoproto.Hello + "\x93\x00\x7f\x90"), fault.NotADatabase, "a packet of code 0x007f, which is none for a client"},
		"a strange packet":  {says(packets(&neoproto.AskLast{})), fault.NotADatabase, "a packet of code 0x003c, which it may not send"},
		"endless":           {says(neoproto.Hello + "\x93\x00\x06\x92\xcb" + strings.Repeat("\x00", 8) + "\xdd\xff\xff\xff\xff" + strings.Repeat("\x95\xd4\x04\x02\xc0\x01\xd4\x03\x02\xc0", 120_000)), fault.NotADatabase, "a packet of code 0x0006 that is longer than 1048576 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr := listen(t, tt.script)
			cfg := quick(addr)
			if !strings.Contains(tt.text, "300ms") {
				cfg.ConnectTimeout = time.Minute
			}
			requireRefused(t, cfg, tt.reason, strings.ReplaceAll(tt.text, "HOST", addr))
		})
	}
}

func TestOpenTellsWhatIsWrong(t *testing.T) {
	web := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer web.Close()
	gone := neotest.New(neotest.Options{})
	gone.Close()
	nobody := gone.Masters[0].Addr
	silent := startCluster(t, neotest.Options{})
	silent.Masters[0].Silence()
	c := startCluster(t, neotest.Options{Name: "a b/c"})
	_, _, err := Open(t.Context(), urlOf(t, "neo://test@"+nobody), storage.Options{})
	require.EqualError(t, err, "open neo://test@"+nobody+": nobody listens at "+nobody+"; start the NEO master there, or correct the address")
	require.Equal(t, fault.Unreachable, fault.Of(err))
	_, _, err = Open(t.Context(), urlOf(t, "neo://test@"+c.Masters[0].Addr), storage.Options{})
	require.EqualError(t, err, "open neo://test@"+c.Masters[0].Addr+": the master at "+c.Masters[0].Addr+" is not of a cluster \"test\"; correct the name of the cluster, or the address")
	require.Equal(t, fault.NotADatabase, fault.Of(err))
	stor, _, err := Open(t.Context(), urlOf(t, "neo://a%20b%2Fc@"+c.Masters[0].Addr), storage.Options{})
	require.NoError(t, err)
	require.Equal(t, "neo://a%20b%2Fc@"+c.Masters[0].Addr, stor.URL())
	require.NoError(t, stor.Close())
	requireRefused(t, quick(web.Listener.Addr().String()), fault.Unreachable, "accepts connections but does not answer within 300ms") // it waits for a line
	requireRefused(t, quick("no.such.host.invalid:1"), fault.Unreachable, "the host of no.such.host.invalid:1 cannot be found")
	requireRefused(t, quick(silent.Masters[0].Addr), fault.Unreachable, "accepts connections but does not answer within 300ms")

	// The cause of each master is told.
	requireRefused(t, quick(nobody, c.Masters[0].Addr), fault.Unreachable, "none of the servers can be used: nobody listens at "+nobody+"; the master at "+c.Masters[0].Addr+" is not of a cluster \"test\"")
}

// A cluster that is not ready is waited for, and one that is another is not.
func TestOpenWaitsForTheCluster(t *testing.T) {
	t.Parallel()
	c := startCluster(t, neotest.Options{Masters: 2})
	var warned warnings
	open := func(url string) error {
		stor, _, err := Open(context.Background(), urlOf(t, url), storage.Options{Wait: storage.Forever, Warnf: warned.warn})
		if err == nil {
			err = stor.Close()
		}
		return err
	}
	c.SetState(neoproto.Recovering)
	opened := make(chan error, 1)
	go func() { opened <- open(c.URL()) }()
	require.Eventually(t, func() bool { return len(warned.with("says that the cluster is not ready")) > 0 }, time.Minute, time.Millisecond)
	require.Empty(t, opened)
	c.SetState(neoproto.RunningCluster)
	require.NoError(t, <-opened)

	c.Elect(nil)
	go func() { opened <- open(c.URL()) }()
	require.Eventually(t, func() bool { return len(warned.with("knows of no primary master")) > 0 }, time.Minute, time.Millisecond)
	c.Elect(c.Masters[1])
	require.NoError(t, <-opened)
	require.ErrorContains(t, open(strings.Replace(c.URL(), "test@", "other@", 1)), "is not of a cluster \"other\"")
}

func TestDialEndsWithItsContext(t *testing.T) {
	for name, script := range map[string]func(net.Conn){"at hello": says(""), "at identification": says(neoproto.Hello)} {
		t.Run(name, func(t *testing.T) {
			cfg := quick(listen(t, script))
			cfg.ConnectTimeout = time.Minute
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			_, _, err := Dial(cfg, t.Logf)(ctx, ignore)
			require.Equal(t, context.DeadlineExceeded, err)
		})
	}
}

// ---- urls ----

func TestParse(t *testing.T) {
	for _, name := range []string{"NEO_CA", "NEO_CERT", "NEO_KEY"} {
		t.Setenv(name, "")
	}
	for url, want := range map[string]string{
		"neo://c@h:1":                     "neo://c@h:1",
		"neo://c@h:1/":                    "neo://c@h:1",
		"neo://c@h:1,i:02,h:1":            "neo://c@h:1,i:2",
		"neo://a%40b%2F@h:1":              "neo://a%40b%2F@h:1",
		"neo://c@[::1]:1,127.0.0.1:65535": "neo://c@[::1]:1,127.0.0.1:65535",
		"neo://c@h:1?read_only=1&compress=0&cache-size=1&logfile=x&dynamic_master_list=/x&wait=3": "neo://c@h:1",
		"neo://c@h:1?connection_pool_size=3&database_name=x":                                      "neo://c@h:1",
		"neo://c@h:1?ca=a&cert=b&key=c":                                                           "neos://c@h:1",
		"neos://c@h:1?ca=a&cert=b&key=c":                                                          "neos://c@h:1",
	} {
		cfg, err := Parse(urlOf(t, url))
		require.NoError(t, err, url)
		require.Equal(t, want, cfg.URL(), url)
	}
	for url, text := range map[string]string{
		"neo://h:1":                "names no cluster; write neo://CLUSTER@HOST:PORT",
		"neo://@h:1":               "names no cluster",
		"neo://c@h":                `"h" is no address of a master; write it as host:port`,
		"neo://c@":                 `"" is no address of a master`,
		"neo://c@h:0":              `"h:0" is no address`,
		"neo://c@h:65536":          `"h:65536" is no address`,
		"neo://c@h:1,":             `"" is no address`,
		"neo://c@:1":               `":1" is no address`,
		"neo://c@h:1/x":            "cannot be understood",
		"neo://c%zz@h:1":           "cannot be understood",
		"neo://c@h:1?x=1":          `option "x" is not known for neo; remove it from the url`,
		"neo://c@h:1?ca=a":         "a cluster that encrypts, without cert",
		"neo://c@h:1?ca=a&ca=b":    `option "ca" is there twice`,
		"neos://c@h:1":             "a cluster that encrypts, without ca; add ca=FILE",
		"neos://c@h:1?ca=a&cert=b": "without key; add key=FILE, or write neos:// and set $NEO_KEY",
		"neo://c@h:1?ignore-wrong-checksum=perhaps": "ignore-wrong-checksum",
	} {
		_, err := Parse(urlOf(t, url))
		require.ErrorContains(t, err, text, url)
		require.Equal(t, fault.BadURL, fault.Of(err), url)
	}
	for _, name := range []string{"NEO_CA", "NEO_CERT", "NEO_KEY"} {
		t.Setenv(name, "/"+name)
	}
	cfg, err := Parse(urlOf(t, "neos://c@h:1?cert=/mine"))
	require.NoError(t, err)
	require.Equal(t, []string{"/NEO_CA", "/mine", "/NEO_KEY"}, []string{cfg.TLS.CA, cfg.TLS.Cert, cfg.TLS.Key})
	cfg, err = Parse(urlOf(t, "neo://c@h:1"))
	require.NoError(t, err)
	require.Nil(t, cfg.TLS)
	cfg, err = Parse(urlOf(t, "neo://c@h:1?ignore_wrong_checksum=1"))
	require.NoError(t, err)
	require.True(t, cfg.IgnoreChecksums)
}
