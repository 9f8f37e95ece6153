package zeo

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/fault"
	"github.com/wcfs/wcfs/internal/zodb/remote"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// keepAlive has the kernel find out within 25 s that a peer is gone.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 3}

// Dial returns what connects to the first server of cfg that can be used.
//
// Its errors are those of its context, or a *storage.OpenError that says of each address
// what is wrong: fault.Unreachable if it may help to try again later.
func Dial(cfg Config) remote.Dial {
	return func(ctx context.Context, commits remote.Commits) (s remote.Session, last zodb.Tid, err error) {
		err = dialAny(ctx, &cfg, func(addr Addr) error {
			session, at, err := dialOne(ctx, &cfg, addr, commits)
			if err == nil {
				s, last = session, at
			}
			return err
		})
		return s, last, err
	}
}

// dialAny has dial connect to one address after the other until that works.
func dialAny(ctx context.Context, cfg *Config, dial func(addr Addr) error) error {
	var failed []*storage.OpenError
	for _, addr := range cfg.Addrs {
		err := dial(addr)
		if err == nil {
			return nil
		}
		if ctxErr := ctx.Err(); ctxErr != nil {
			return ctxErr
		}
		failed = append(failed, explain(err, cfg, addr))
	}
	return merge(failed, cfg.URL())
}

// merge makes one error of those of all addresses. It helps to try again if it may help
// with one of them.
func merge(failed []*storage.OpenError, url string) *storage.OpenError {
	out := *failed[0]
	if len(failed) > 1 {
		msgs, errs := make([]string, len(failed)), make([]error, len(failed))
		for i, e := range failed {
			msgs[i], errs[i] = e.Msg, e
			if e.Reason == fault.Unreachable {
				out.Reason, out.Hint = e.Reason, e.Hint
			}
		}
		out.Msg = "none of the servers can be used: " + strings.Join(msgs, "; ")
		out.Err = errors.Join(errs...)
	}
	out.URL = url
	return &out
}

// dialOne connects to one address and registers.
func dialOne(ctx context.Context, cfg *Config, addr Addr, commits remote.Commits) (_ *session, last zodb.Tid, err error) {
	conn, raw, c, err := greet(ctx, cfg, addr)
	if err != nil {
		return nil, 0, err
	}
	s := newSession(conn, raw, c, cfg, commits)
	s.start()
	last, err = s.register(ctx, cfg, true)
	if err != nil {
		_ = s.Close()
		return nil, 0, err
	}
	return s, last, nil
}

// greet connects and says hello, in time. The connection is closed if that fails.
func greet(ctx context.Context, cfg *Config, addr Addr) (conn, raw net.Conn, c codec, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, cfg.ConnectTimeout, errSilent)
	defer cancel()
	// The result raw is no name for it: what sets the deadline may come after the return.
	dialed, err := connect(ctx, addr)
	if err != nil {
		return nil, nil, nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = dialed.SetDeadline(time.Unix(1, 0)) })
	conn, c, err = talk(ctx, cfg, addr, dialed)
	if !stop() && err == nil { // the deadline stays, or is about to be set
		err = context.Cause(ctx)
	}
	if err == nil {
		return conn, dialed, c, nil
	}
	_ = dialed.Close()
	if ctx.Err() != nil { // the error is only that of the deadline
		err = context.Cause(ctx)
	}
	if err == errSilent {
		err = diagnose(cfg, addr)
	}
	return nil, nil, nil, err
}

func connect(ctx context.Context, addr Addr) (net.Conn, error) {
	dialer := net.Dialer{KeepAliveConfig: keepAlive}
	conn, err := dialer.DialContext(ctx, addr.Network, addr.Address)
	if err != nil {
		return nil, &connectError{err}
	}
	return conn, nil
}

// connectError says that nothing could be said to a server yet.
type connectError struct{ err error }

func (e *connectError) Error() string { return e.err.Error() }
func (e *connectError) Unwrap() error { return e.err }

func talk(ctx context.Context, cfg *Config, addr Addr, raw net.Conn) (net.Conn, codec, error) {
	conn := raw
	if cfg.TLS != nil {
		tlsConfig, err := cfg.TLS.config(addr)
		if err != nil {
			return nil, nil, err
		}
		encrypted := tls.Client(raw, tlsConfig)
		if err := encrypted.HandshakeContext(ctx); err != nil {
			return nil, nil, &tlsError{err}
		}
		conn = encrypted
	}
	c, err := hello(conn)
	return conn, c, err
}

// tlsError says that the connection could not be encrypted.
type tlsError struct{ err error }

func (e *tlsError) Error() string { return e.err.Error() }
func (e *tlsError) Unwrap() error { return e.err }

// register chooses the storage and returns its last transaction. Commits from then on
// come as notifications.
func (s *session) register(ctx context.Context, cfg *Config, readOnly bool) (zodb.Tid, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, cfg.ConnectTimeout, errNoAnswer)
	defer cancel()
	r, err := s.call(ctx, "register", cfg.Storage, readOnly)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return 0, err
	}
	last, ok := tidOf(r.value)
	if !ok {
		return 0, s.violation("register", r.value)
	}
	return last, nil
}

var errNoAnswer = errors.New("no answer in time")

// explain says in words what is wrong with an address.
func explain(err error, cfg *Config, addr Addr) *storage.OpenError {
	var done *storage.OpenError
	if errors.As(err, &done) {
		return done
	}
	var (
		connect  *connectError
		ofTLS    *tlsError
		setup    *setupError
		greeting *helloError
		exc      *ServerError
		protocol *ProtocolError
	)
	switch {
	case errors.As(err, &connect):
		return explainConnect(connect.err, cfg, addr)
	case errors.As(err, &setup):
		return wrong(fault.BadURL, err, setup.msg, "correct the option, or the file")
	case errors.As(err, &ofTLS):
		return explainTLS(ofTLS.err, addr)
	case errors.As(err, &greeting):
		return greeting.explain(addr, cfg.TLS != nil)
	case errors.As(err, &exc):
		return explainRegister(exc, cfg, addr)
	case errors.As(err, &protocol):
		return wrong(fault.NotADatabase, err, fmt.Sprintf("what answers at %s is not to be understood: %s", addr, protocol.Msg), "is it a ZEO server?")
	case errors.Is(err, errNoAnswer):
		return wrong(fault.Unreachable, err, fmt.Sprintf("the server at %s says hello but does not answer within %s", addr, cfg.ConnectTimeout), "it may be stopped or busy; look into its log")
	}
	return wrong(fault.Unreachable, err, fmt.Sprintf("the connection to %s is lost at once: %s", addr, err), "the log of the server may say why")
}

func explainRegister(exc *ServerError, cfg *Config, addr Addr) *storage.OpenError {
	if strings.Contains(exc.Text, "unknown storage") {
		return wrong(fault.NotADatabase, exc, fmt.Sprintf("the server at %s has no storage %q", addr, cfg.Storage),
			"name one of those in its configuration, as in ?storage=NAME; without that it is "+DefaultStorage)
	}
	if exc.Class == readOnlyError {
		return wrong(fault.Unreachable, remote.ErrReadOnly, fmt.Sprintf("the server at %s only lets read from storage %q", addr, cfg.Storage),
			"name a server that takes commits")
	}
	return wrong(fault.NotADatabase, exc, fmt.Sprintf("the server at %s refuses to serve storage %q: %s", addr, cfg.Storage, exc), "the log of the server may say why")
}
