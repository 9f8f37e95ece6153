package postgresql

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/fault"
	"github.com/wcfs/wcfs/internal/zodb/neo/neotest"
	"github.com/wcfs/wcfs/internal/zodb/postgresql/pgtest"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// opens opens a database by a url, and closes it at once.
func opens(t testing.TB, zurl string) error {
	t.Helper()
	stor, _, err := Open(t.Context(), urlOf(t, zurl), storage.Options{})
	if err == nil {
		err = stor.Close()
	}
	return err
}

// requireRefused checks that a database cannot be opened, and what is said: all but the url.
func requireRefused(t testing.TB, zurl string, reason fault.Kind, text string) {
	t.Helper()
	err := opens(t, zurl)
	var open *storage.OpenError
	require.ErrorAs(t, err, &open)
	require.Equal(t, reason, fault.Of(err), "%s", err)
	require.True(t, strings.HasPrefix(err.Error(), "open postgresql://"), "%s", err)
	_, said, _ := strings.Cut(err.Error(), ": ")
	require.Equal(t, text, said)
}

// as has another user in a url, who needs no password.
func as(user, zurl string) string {
	return strings.Replace(strings.Replace(zurl, "reader:x@", user+"@", 1), "reader@", user+"@", 1)
}

// Each error is told in words: what, why, and what to do.
func TestOpenTellsWhatIsWrongWithADatabase(t *testing.T) {
	t.Parallel()
	c := ground.Shared(t)
	d, free := c.CreateDatabase(t, true), c.CreateDatabase(t, false)
	lonely := "lonely_" + d.Name
	c.Query(t, "postgres", "CREATE ROLE "+lonely+" LOGIN CONNECTION LIMIT 0 IN ROLE reader")
	host, socket := fmt.Sprintf("127.0.0.1:%d", c.Port), fmt.Sprintf("%s/.s.PGSQL.%d", c.Dir(), c.Port)
	with := func(sql string) string {
		changed := c.CreateDatabase(t, true)
		changed.Query(t, strings.ReplaceAll(sql, "THIS", changed.Name))
		return changed.URL()
	}
	name := func(zurl string) string { // of its database
		_, name, _ := strings.Cut(zurl, "@/")
		name, _, _ = strings.Cut(name, "?")
		return name
	}
	for _, tt := range []struct {
		url    string
		reason fault.Kind
		text   string
	}{
		{d.TCP("wrong", ""), fault.Unreachable, "the server at HOST does not accept the password of user \"reader\"; correct it in the url, in $PGPASSWORD, or in the file of passwords (~/.pgpass, which only its owner may be able to read)"},
		{as("reader", d.TCP("x", "")), fault.Unreachable, "the server at HOST wants a password of user \"reader\", and none was given; correct it in the url, in $PGPASSWORD, or in the file of passwords (~/.pgpass, which only its owner may be able to read)"},
		{as("nosuch", d.URL()), fault.Unreachable, "the server at SOCKET does not let user \"nosuch\" in: role \"nosuch\" does not exist; its pg_hba.conf says who may connect, and from where; it may want encryption (sslmode=require), or not (sslmode=disable)"},
		{strings.Replace(d.URL(), d.Name, "nosuch", 1), fault.Unreachable, "the server at SOCKET has no database \"nosuch\"; correct the name"},
		{strings.Replace(d.URL(), d.Name, "postgres", 1), fault.NotADatabase, "database \"postgres\" at SOCKET has no tables of RelStorage that user \"reader\" can see (search_path is \"$user\", public); correct the name of the database, or have the application create its tables"},
		{free.URL(), fault.NotADatabase, "database \"NAME\" at SOCKET is a history-free one of RelStorage; only databases that preserve history are served, since others have no past states; convert it with zodbconvert to a RelStorage that has keep-history true"},
		{with("ALTER TABLE transaction RENAME extension TO extras"), fault.NotADatabase, "database \"NAME\" at SOCKET has tables of another version of RelStorage: there is no column transaction.extension bytea; those of RelStorage 3 and 4 are understood"},
		{with("REVOKE SELECT ON object_state FROM reader"), fault.Unreachable, "user \"reader\" may not read the tables of database \"NAME\" at SOCKET; have their owner say: GRANT SELECT ON object_state, \"transaction\" TO \"reader\""},
		{with("REVOKE SELECT ON transaction FROM reader"), fault.Unreachable, "user \"reader\" may not read the tables of database \"NAME\" at SOCKET; have their owner say: GRANT SELECT ON object_state, \"transaction\" TO \"reader\""},
		{with("REVOKE USAGE ON SCHEMA public FROM PUBLIC"), fault.NotADatabase, "database \"NAME\" at SOCKET has no tables of RelStorage that user \"reader\" can see (search_path is \"$user\", public); correct the name of the database, or have the application create its tables"},
		{with("REVOKE CONNECT ON DATABASE THIS FROM PUBLIC"), fault.Unreachable, "user \"reader\" may not do that in database \"NAME\" at SOCKET: permission denied for database \"NAME\"; have an administrator grant it"},
		{with("REVOKE USAGE ON LANGUAGE plpgsql FROM PUBLIC"), fault.Unreachable, "user \"reader\" may not do that in database \"NAME\" at SOCKET: permission denied for language plpgsql; have an administrator grant it"},
		{with("ALTER DATABASE THIS CONNECTION LIMIT 0"), fault.Unreachable, "the server at SOCKET has no room for one more connection: too many connections for database \"NAME\"; raise max_connections there, or have others use less"},
		{as(lonely, d.URL()), fault.Unreachable, "the server at SOCKET has no room for one more connection: too many connections for role \"" + lonely + "\"; raise max_connections there, or have others use less"},
	} {
		requireRefused(t, tt.url, tt.reason, strings.NewReplacer("HOST", host, "SOCKET", socket, "NAME", name(tt.url)).Replace(tt.text))
	}
	// Passwords are in no error.
	require.NotContains(t, opens(t, d.TCP("sesame", "")).Error(), "sesame")
	require.NoError(t, opens(t, d.TCP(pgtest.Password, "")))
	// A column of this name is what RelStorage 2 has, and is not needed. Others may have
	// changed what is usual in the database.
	require.NoError(t, opens(t, with(`ALTER TABLE transaction RENAME is_empty TO empty;
		ALTER DATABASE THIS SET default_transaction_isolation = serializable; ALTER DATABASE THIS SET bytea_output = escape;
		ALTER DATABASE THIS SET search_path = x, public; ALTER DATABASE THIS SET lock_timeout = 1; ALTER DATABASE THIS SET datestyle = german`)))
}

func TestOpenTellsWhatIsWrongWithEncryption(t *testing.T) {
	t.Parallel()
	authority, stranger := neotest.NewAuthority(t.TempDir()), neotest.NewAuthority(t.TempDir())
	authority.Issue("server", "localhost")
	c := ground.New(t, pgtest.Options{TCP: true, Cert: authority.File("server.crt"), Key: authority.File("server.key"), CA: authority.File("ca.crt"), Access: []string{
		"hostssl all encrypted 127.0.0.1/32 trust", "hostnossl all encrypted 127.0.0.1/32 reject",
		"hostnossl all plain 127.0.0.1/32 trust", "hostssl all plain 127.0.0.1/32 reject",
		"hostssl all client 127.0.0.1/32 cert",
	}})
	for _, role := range []string{"encrypted", "plain", "client"} {
		c.Query(t, "postgres", "CREATE ROLE "+role+" LOGIN IN ROLE reader")
	}
	d := c.CreateDatabase(t, true)
	host := fmt.Sprintf("127.0.0.1:%d", c.Port)
	by := func(user, mode string, files ...string) string {
		options := url.Values{"sslmode": {mode}}
		for i := 0; i < len(files); i += 2 {
			options.Set(files[i], files[i+1])
		}
		return as(user, d.TCP("x", "?"+options.Encode()))
	}
	ca, cert, key := authority.File("ca.crt"), authority.File("client.crt"), authority.File("client.key")
	const refuses = "the server at HOST does not let user "
	const wants = "; it may want a certificate that it knows: sslcert=FILE and sslkey=FILE"
	const hint = "; its pg_hba.conf says who may connect, and from where; it may want encryption (sslmode=require), or not (sslmode=disable)"
	for _, tt := range []struct {
		url    string
		reason fault.Kind
		text   string // "": it works
	}{
		{by("encrypted", "require"), 0, ""},
		{by("encrypted", "prefer"), 0, ""},
		{by("plain", "prefer"), 0, ""},
		{by("encrypted", "disable"), fault.Unreachable, refuses + "\"encrypted\" in: pg_hba.conf rejects connection for host \"127.0.0.1\", user \"encrypted\", database \"NAME\", no encryption" + hint},
		{by("plain", "require"), fault.Unreachable, refuses + "\"plain\" in: pg_hba.conf rejects connection for host \"127.0.0.1\", user \"plain\", database \"NAME\", SSL encryption" + hint},
		{by("encrypted", "verify-ca", "sslrootcert", ca), 0, ""},
		{by("encrypted", "verify-ca", "sslrootcert", stranger.File("ca.crt")), fault.NotADatabase, "nobody whom this host trusts vouches for the certificate of the server at HOST; name the file with the certificate to trust, as in sslrootcert=FILE"},
		{strings.Replace(by("encrypted", "verify-full", "sslrootcert", ca), "127.0.0.1", "localhost", 1), 0, ""},
		{by("encrypted", "verify-full", "sslrootcert", ca), fault.NotADatabase, "the certificate of the server at HOST is for another name: x509: cannot validate certificate for 127.0.0.1 because it doesn't contain any IP SANs; correct the name of the host, or give the server another certificate"},
		{by("client", "require", "sslcert", cert, "sslkey", key), 0, ""},
		{by("client", "require"), fault.Unreachable, refuses + "\"client\" in: connection requires a valid client certificate" + wants},
		{by("client", "require", "sslcert", authority.File("node.crt"), "sslkey", authority.File("node.key")), fault.Unreachable, refuses + "\"client\" in: certificate authentication failed for user \"client\"" + wants},
	} {
		if tt.text == "" {
			require.NoError(t, opens(t, tt.url), tt.url)
			continue
		}
		requireRefused(t, tt.url, tt.reason, strings.NewReplacer("HOST", host, "NAME", d.Name).Replace(tt.text))
	}
	requireFilesRefused(t, by, authority, stranger)
	plain := ground.Shared(t)
	requireRefused(t, d.On(plain).TCP("x", "?sslmode=require"), fault.NotADatabase, fmt.Sprintf("the server at 127.0.0.1:%d does not encrypt; add sslmode=disable or sslmode=prefer", plain.Port))
}

// requireFilesRefused requires that it is told which files of certificates are wrong.
func requireFilesRefused(t *testing.T, by func(user, mode string, files ...string) string, authority, stranger *neotest.Authority) {
	t.Helper()
	err := opens(t, by("client", "require", "sslcert", stranger.File("client.crt"), "sslkey", stranger.File("client.key")))
	// The server may have closed the connection before the client reads why.
	require.Contains(t, []fault.Kind{fault.NotADatabase, fault.Unreachable}, fault.Of(err))
	require.ErrorContains(t, err, "it may want a certificate that it knows: sslcert=FILE and sslkey=FILE")

	for _, file := range []string{"/nowhere/ca.crt", authority.File("client.key")} {
		err := opens(t, by("encrypted", "verify-ca", "sslrootcert", file))
		require.Equal(t, fault.BadURL, fault.Of(err))
		require.ErrorContains(t, err, "encryption cannot be set up")
		require.ErrorContains(t, err, "CA")
		require.ErrorContains(t, err, "correct the option, or the file")
	}
}

// listen has a script run for each connection to a socket.
func listen(t *testing.T, script func(conn net.Conn)) (addr string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var running sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			stop := context.AfterFunc(ctx, func() { conn.Close() })
			script(conn)
			stop()
			conn.Close()
		}
	})
	t.Cleanup(func() {
		l.Close()
		cancel()
		running.Wait()
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

// answers is a script that writes when it was spoken to, each text for one time.
func answers(texts ...string) func(net.Conn) {
	return func(conn net.Conn) {
		for _, text := range texts {
			if _, err := conn.Read(make([]byte, 10_000)); err != nil {
				return
			}
			_, _ = io.WriteString(conn, text)
		}
		_, _ = io.Copy(io.Discard, conn)
	}
}

// message is one of the protocol of PostgreSQL.
func message(kind byte, body string) string {
	n := len(body) + 4
	return string([]byte{kind, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}) + body
}

func TestWhatIsNoServerIsToldByWhatItSays(t *testing.T) {
	t.Parallel()
	const silence = "HOST accepts connections but does not answer within 1s; the server may be stopped or hang; or something else listens there"
	const closes = "HOST closes the connection; its log may say why; or it is no PostgreSQL server"
	accepted := message('R', "\x00\x00\x00\x00") + message('Z', "I")
	for name, tt := range map[string]struct {
		script  func(net.Conn)
		options string
		reason  fault.Kind
		text    string
	}{
		"silence":          {says(""), "", fault.Unreachable, silence},
		"silence, TLS":     {says(""), "&sslmode=require", fault.Unreachable, silence},
		"no word":          {func(net.Conn) {}, "", fault.Unreachable, closes},
		"no word, TLS":     {func(net.Conn) {}, "&sslmode=require", fault.Unreachable, closes},
		"HTTP":             {says("HTTP/1.1 400 Bad Request\r\n"), "", fault.NotADatabase, "what answers at HOST is a web server (HTTP), no PostgreSQL server; correct the port"},
		"HTTP, TLS":        {says("HTTP/1.1 400 Bad Request\r\n"), "&sslmode=require", fault.NotADatabase, ""},
		"HTTP, plain":      {says("HTTP/1.1 400 Bad Request\r\n"), "&sslmode=disable", fault.NotADatabase, "what answers at HOST is a web server (HTTP), no PostgreSQL server; correct the port"},
		"SSH":              {says("SSH-2.0-OpenSSH_9.2\r\n"), "&sslmode=disable", fault.NotADatabase, ""},
		"garbage":          {says("garbage\n"), "", fault.NotADatabase, ""},
		"garbage, TLS":     {says("garbage\n"), "&sslmode=require", fault.NotADatabase, ""},
		"TLS alert":        {says("\x15\x03\x01\x00\x02\x02\x28"), "", fault.Unreachable, silence}, // as if a long message began
		"ends after hello": {func(c net.Conn) { _, _ = c.Read(make([]byte, 1000)) }, "&sslmode=disable", fault.Unreachable, closes},
		"a huge message":   {says("R\xff\xff\xff\xff"), "&sslmode=disable", fault.NotADatabase, ""},
		"a short message":  {says("R\x00\x00\x00\x00"), "&sslmode=disable", fault.NotADatabase, ""},
		"strange auth":     {says(message('R', "\x00\x00\x00\x63")), "&sslmode=disable", fault.NotADatabase, ""},
		"half a message":   {says(accepted[:7]), "&sslmode=disable", fault.Unreachable, silence},
		"no answers":       {says(accepted), "&sslmode=disable", fault.Unreachable, silence},
		"no result":        {answers(accepted, message('Z', "I")), "&sslmode=disable", fault.NotADatabase, ""},
		"nothing done":     {answers(accepted, message('C', "SET\x00")+message('Z', "I")), "&sslmode=disable", fault.NotADatabase, ""},
		"no rows":          {answers(accepted, message('T', "\x00\x00")+message('C', "SELECT 0\x00")+message('Z', "I")), "&sslmode=disable", fault.NotADatabase, ""},
		"a row of nothing": {answers(accepted, message('T', "\x00\x00")+message('D', "\x00\x00")+message('C', "SELECT 1\x00")+message('Z', "I")), "&sslmode=disable", fault.NotADatabase, ""},
		"another language": {answers(accepted, message('E', "SERROR\x00C42601\x00Msyntax error\x00\x00")+message('Z', "I")), "&sslmode=disable", fault.Unreachable, "the server at HOST refuses: syntax error (42601)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr := listen(t, tt.script)
			zurl := "postgresql://reader@" + addr + "/x?connect_timeout=1" + tt.options
			if tt.text != "" {
				requireRefused(t, zurl, tt.reason, strings.ReplaceAll(tt.text, "HOST", addr))
				return
			}
			err := opens(t, zurl)
			require.Equal(t, tt.reason, fault.Of(err), "%s", err)
			require.ErrorContains(t, err, "what answers at "+addr)
		})
	}
}

func TestOpenTellsThatNobodyIsThere(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	nobody := l.Addr().String()
	l.Close()
	dir := t.TempDir()
	requireRefused(t, "postgresql://reader@/x?host="+dir, fault.Unreachable, "there is no socket "+dir+"/.s.PGSQL.5432; start the PostgreSQL server, or correct the path")
	requireRefused(t, "postgresql://reader@"+nobody+"/x", fault.Unreachable, "nobody listens at "+nobody+"; start the PostgreSQL server there, or correct the address")
	requireRefused(t, "postgresql://reader@no.such.host.invalid/x", fault.Unreachable, "the host of no.such.host.invalid:5432 cannot be found: no such host; correct the name of the host")
	web := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer web.Close()
	requireRefused(t, "postgresql://reader@"+web.Listener.Addr().String()+"/x?connect_timeout=1", fault.Unreachable, // it waits for a line
		web.Listener.Addr().String()+" accepts connections but does not answer within 1s; the server may be stopped or hang; or something else listens there")
	requireRefused(t, "postgresql://reader@"+nobody+",no.such.host.invalid:1/x", fault.Unreachable, "none of the servers can be used: nobody listens at "+nobody+
		"; the host of no.such.host.invalid:1 cannot be found: no such host; correct the name of the host")
}

func TestOpenTellsThatAServerIsNotReady(t *testing.T) {
	long(t)
	t.Parallel()
	c := ground.New(t, pgtest.Options{})
	d := c.CreateDatabase(t, true)
	standby := c.Standby(t, "hot_standby = off")
	requireRefused(t, d.On(standby).URL(), fault.Unreachable, fmt.Sprintf("the server at %s/.s.PGSQL.5432 is not ready: the database system is not accepting connections; it is tried again if you wait (--wait)", standby.Dir()))
}

func TestOpenWaitsForTheServer(t *testing.T) {
	t.Parallel()
	c := ground.New(t, pgtest.Options{})
	d := c.CreateDatabase(t, true)
	c.Stop(t)
	var warned warnings
	opened := make(chan error, 1)
	go func() {
		stor, _, err := Open(context.Background(), urlOf(t, d.URL()), storage.Options{Wait: storage.Forever, Warnf: warned.warn})
		if err == nil {
			err = stor.Close()
		}
		opened <- err
	}()
	require.Eventually(t, func() bool { return len(warned.with("there is no socket")) > 0 }, time.Minute, time.Millisecond)
	require.Empty(t, opened)
	c.Start(t)
	require.NoError(t, <-opened)
	_, _, err := Open(t.Context(), urlOf(t, c.CreateDatabase(t, false).URL()), storage.Options{Wait: storage.Forever})
	require.ErrorContains(t, err, "history-free") // waiting does not help
}

func TestDialEndsWithItsContext(t *testing.T) {
	t.Parallel()
	accepted := message('R', "\x00\x00\x00\x00") + message('Z', "I")
	for name, script := range map[string]func(net.Conn){"at hello": says(""), "at the first question": says(accepted)} {
		t.Run(name, func(t *testing.T) {
			cfg := configOf(t, "postgresql://reader@"+listen(t, script)+"/x?connect_timeout=60&sslmode=disable")
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			_, _, err := Dial(cfg)(ctx, func(zodb.Tid, []zodb.Oid) {})
			require.Equal(t, context.DeadlineExceeded, err)
		})
	}
}

// A server that is not what the url asks for is told, and one that cannot be understood is not
// taken for that because of the name of its database.
func TestOpenTellsThatAServerIsNotWanted(t *testing.T) {
	t.Parallel()
	d := ground.Shared(t).CreateDatabase(t, true)
	for attrs, why := range map[string]string{"standby": "server is not in hot standby mode", "read-only": "connection is not read only"} {
		err := opens(t, d.URL()+"&target_session_attrs="+attrs)
		require.Equal(t, fault.Unreachable, fault.Of(err))
		require.ErrorContains(t, err, "is not one that target_session_attrs asks for: "+why)
	}
	require.NoError(t, opens(t, d.URL()+"&target_session_attrs=prefer-standby"))
	c := candidate{config: configOf(t, "postgresql://u@h/primary").candidates[0].config}
	strange := fmt.Errorf("database=primary: %w", errors.New("read-only standby"))
	require.Equal(t, fault.NotADatabase, explainOther(strange, c, time.Second, "?").Reason)
}
