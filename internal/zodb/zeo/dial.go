package zeo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/fault"
	"github.com/wcfs/wcfs/internal/zodb/link"
	"github.com/wcfs/wcfs/internal/zodb/remote"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// Dial returns what connects to the first server of cfg that can be used.
//
// Its errors are those of its context, or a *storage.OpenError that says of each address
// what is wrong: fault.Unreachable if it may help to try again later.
func Dial(cfg Config) remote.Dial {
	return func(ctx context.Context, commits remote.Commits) (s remote.Session, last zodb.Tid, err error) {
		err = dialAny(ctx, &cfg, func(addr link.Addr) error {
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
func dialAny(ctx context.Context, cfg *Config, dial func(addr link.Addr) error) error {
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
	return link.Merge(failed, cfg.URL())
}

// dialOne connects to one address and registers.
func dialOne(ctx context.Context, cfg *Config, addr link.Addr, commits remote.Commits) (_ *session, last zodb.Tid, err error) {
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
func greet(ctx context.Context, cfg *Config, addr link.Addr) (conn, raw net.Conn, c codec, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, cfg.ConnectTimeout, errSilent)
	defer cancel()
	raw, err = link.Greet(ctx, addr, func(raw net.Conn) (err error) {
		conn = raw
		if cfg.TLS != nil {
			if conn, err = cfg.TLS.Encrypt(ctx, raw, addr, words); err != nil {
				return err
			}
		}
		c, err = hello(conn)
		return err
	})
	if err == errSilent {
		err = diagnose(cfg, addr)
	}
	return conn, raw, c, err
}

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
func explain(err error, cfg *Config, addr link.Addr) *storage.OpenError {
	var done *storage.OpenError
	if errors.As(err, &done) {
		return done
	}
	if explained := words.Explain(err, addr, cfg.ConnectTimeout); explained != nil {
		return explained
	}
	var (
		greeting *helloError
		exc      *ServerError
		protocol *ProtocolError
	)
	switch {
	case errors.As(err, &greeting):
		return greeting.explain(addr, cfg.TLS != nil)
	case errors.As(err, &exc):
		return explainRegister(exc, cfg, addr)
	case errors.As(err, &protocol):
		return link.Wrong(fault.NotADatabase, err, fmt.Sprintf("what answers at %s is not to be understood: %s", addr, protocol.Msg), "is it a ZEO server?")
	case errors.Is(err, errNoAnswer):
		return link.Wrong(fault.Unreachable, err, fmt.Sprintf("the server at %s says hello but does not answer within %s", addr, cfg.ConnectTimeout), "it may be stopped or busy; look into its log")
	}
	return link.Wrong(fault.Unreachable, err, fmt.Sprintf("the connection to %s is lost at once: %s", addr, err), "the log of the server may say why")
}

func explainRegister(exc *ServerError, cfg *Config, addr link.Addr) *storage.OpenError {
	if strings.Contains(exc.Text, "unknown storage") {
		return link.Wrong(fault.NotADatabase, exc, fmt.Sprintf("the server at %s has no storage %q", addr, cfg.Storage),
			"name one of those in its configuration, as in ?storage=NAME; without that it is "+DefaultStorage)
	}
	if exc.Class == readOnlyError {
		return link.Wrong(fault.Unreachable, remote.ErrReadOnly, fmt.Sprintf("the server at %s only lets read from storage %q", addr, cfg.Storage),
			"name a server that takes commits")
	}
	return link.Wrong(fault.NotADatabase, exc, fmt.Sprintf("the server at %s refuses to serve storage %q: %s", addr, cfg.Storage, exc), "the log of the server may say why")
}
