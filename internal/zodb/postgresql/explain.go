package postgresql

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/wcfs/wcfs/internal/zodb/fault"
	"github.com/wcfs/wcfs/internal/zodb/link"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// explain says in words what is wrong with a server.
func explain(err error, c candidate, limit time.Duration, sockets *sockets) *storage.OpenError {
	var ready *storage.OpenError
	var refused *pgconn.PgError
	var not *notPreferredError
	var dns *net.DNSError
	switch {
	case errors.As(err, &ready):
		return ready
	case errors.As(err, &not):
		return link.Wrong(fault.Unreachable, err, fmt.Sprintf("the server at %s is no standby", c.addr), "")
	case errors.As(err, &refused):
		return explainRefusal(refused, err, c)
	case errors.As(err, &dns): // package pgconn looks hosts up itself
		return words.Explain(&link.ConnectError{Err: err}, c.addr, limit)
	}
	if explained := explainTLS(err, c, sockets.said()); explained != nil {
		return explained
	}
	if explained := words.Explain(err, c.addr, limit); explained != nil {
		return explained
	}
	return explainOther(err, c, limit, sockets.said())
}

// explainRefusal says what a server means that answers in its own words.
func explainRefusal(e *pgconn.PgError, err error, c candidate) *storage.OpenError {
	user, database := c.config.User, c.config.Database
	wrong := func(hint, format string, args ...any) *storage.OpenError {
		return link.Wrong(fault.Unreachable, err, fmt.Sprintf(format, args...), hint)
	}
	switch e.Code {
	case invalidPassword:
		hint := "correct it in the url, in $PGPASSWORD, or in the file of passwords (~/.pgpass, which only its owner may be able to read)"
		if c.config.Password == "" {
			return wrong(hint, "the server at %s wants a password of user %q, and none was given", c.addr, user)
		}
		return wrong(hint, "the server at %s does not accept the password of user %q", c.addr, user)
	case invalidAuthorization:
		hint := "its pg_hba.conf says who may connect, and from where; it may want encryption (sslmode=require), or not (sslmode=disable)"
		if strings.Contains(e.Message, "certificate") {
			hint = words.WantsCertificate()
		}
		return wrong(hint,
			"the server at %s does not let user %q in: %s", c.addr, user, e.Message)
	case invalidCatalogName:
		return wrong("correct the name", "the server at %s has no database %q", c.addr, database)
	case insufficientPriv:
		return wrong("have an administrator grant it", "user %q may not do that in database %q at %s: %s", user, database, c.addr, e.Message)
	case tooManyConnections:
		return wrong("raise max_connections there, or have others use less", "the server at %s has no room for one more connection: %s", c.addr, e.Message)
	case cannotConnectNow:
		return wrong("it is tried again if you wait (--wait)", "the server at %s is not ready: %s", c.addr, e.Message)
	case undefinedTable, undefinedColumn:
		return link.Wrong(fault.NotADatabase, err, fmt.Sprintf("the tables of database %q at %s are not as RelStorage makes them: %s", database, c.addr, e.Message), "")
	}
	return wrong("", "the server at %s refuses: %s (%s)", c.addr, e.Message, e.Code)
}

// explainTLS says why a connection could not be encrypted, nil if that is not what is wrong.
func explainTLS(err error, c candidate, said string) *storage.OpenError {
	var (
		record    tls.RecordHeaderError
		authority x509.UnknownAuthorityError
		name      x509.HostnameError
		invalid   x509.CertificateInvalidError
	)
	switch {
	case c.config.TLSConfig == nil:
		return nil
	case said == "N":
		return link.Wrong(fault.NotADatabase, err, fmt.Sprintf("the server at %s does not encrypt", c.addr), words.NoTLS+" or sslmode=prefer")
	case errors.As(err, &authority), errors.As(err, &name), errors.As(err, &invalid), link.IsAlert(err), errors.As(err, &record) && said[:min(len(said), 4)] != "HTTP":
		return words.Explain(&link.TLSError{Err: err}, c.addr, 0)
	}
	return nil
}

// explainOther says what is wrong with what answers, or does not.
func explainOther(err error, c candidate, limit time.Duration, said string) *storage.OpenError {
	switch {
	case strings.HasPrefix(said, "HTTP"):
		return words.ExplainHTTP(err, c.addr)
	case errors.Is(err, context.DeadlineExceeded), pgconn.Timeout(err):
		return link.Wrong(fault.Unreachable, err, fmt.Sprintf("%s accepts connections but does not answer within %s", c.addr, limit),
			"the server may be stopped or hang; or something else listens there")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		hint := "its log may say why; or it is no PostgreSQL server"
		if strings.HasPrefix(said, "S\x16") { // it has begun to encrypt; in TLS 1.3 a client may not hear why, since it goes on meanwhile
			hint = "its log may say why; " + words.WantsCertificate()
		}
		return link.Wrong(fault.Unreachable, err, fmt.Sprintf("%s closes the connection", c.addr), hint)
	case isUnwanted(err):
		return link.Wrong(fault.Unreachable, err, fmt.Sprintf("the server at %s is not one that target_session_attrs asks for: %s", c.addr, inner(err)), "")
	}
	return link.Wrong(fault.NotADatabase, err, fmt.Sprintf("what answers at %s is not to be understood: %s", c.addr, inner(err)), "is it a PostgreSQL server?")
}

// isUnwanted reports whether a server is not what target_session_attrs asks for.
func isUnwanted(err error) bool {
	return errors.Is(err, pgconn.ErrReadOnlyConnection) || errors.Is(err, pgconn.ErrReadWriteConnection) ||
		errors.Is(err, pgconn.ErrPrimaryConnection) || errors.Is(err, pgconn.ErrStandbyConnection)
}

// inner is the innermost message of an error, without what package pgconn repeats of the
// way to the server.
func inner(err error) string {
	for {
		var next error
		switch e := err.(type) {
		case interface{ Unwrap() error }:
			next = e.Unwrap()
		case interface{ Unwrap() []error }:
			if all := e.Unwrap(); len(all) > 0 {
				next = all[len(all)-1]
			}
		}
		if next == nil {
			return err.Error()
		}
		err = next
	}
}
