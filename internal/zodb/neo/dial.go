package neo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"syscall"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/fault"
	"github.com/wcfs/wcfs/internal/zodb/link"
	"github.com/wcfs/wcfs/internal/zodb/neoproto"
	"github.com/wcfs/wcfs/internal/zodb/remote"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// Dial returns what connects to the primary master of a cluster: it asks the masters of
// cfg, those that other masters name, and those that it has heard of before. warnf is told
// what is odd about the database.
//
// Its errors are those of its context, or a *storage.OpenError that says of each master
// what is wrong: fault.Unreachable if it may help to try again later.
func Dial(cfg Config, warnf func(format string, args ...any)) remote.Dial {
	d := &dialer{cfg: cfg, warnf: warnf, masters: slices.Clone(cfg.Masters)}
	return func(ctx context.Context, commits remote.Commits) (remote.Session, zodb.Tid, error) {
		s, err := d.dial(ctx, commits)
		if err != nil {
			return nil, 0, err
		}
		return s, zodb.Tid(s.last.Load()), nil
	}
}

// dialer knows the masters of a cluster.
type dialer struct {
	cfg   Config
	warnf func(format string, args ...any)

	mu      sync.Mutex
	masters []string // guarded by mu; the most promising one first
}

// maxMasters bounds how many masters are remembered that others have named.
const maxMasters = 64

// learn remembers masters, behind the ones that are known.
func (d *dialer) learn(masters []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, addr := range masters {
		if addr != "" && len(d.masters) < maxMasters && !slices.Contains(d.masters, addr) {
			d.masters = append(d.masters, addr)
		}
	}
}

// prefer has a master tried first.
func (d *dialer) prefer(addr string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if at := slices.Index(d.masters, addr); at >= 0 {
		d.masters = slices.Insert(slices.Delete(d.masters, at, at+1), 0, addr)
	}
}

// next returns a master that was not tried yet, empty if there is none.
func (d *dialer) next(tried map[string]bool) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, addr := range d.masters {
		if !tried[addr] {
			return addr
		}
	}
	return ""
}

func (d *dialer) dial(ctx context.Context, commits remote.Commits) (*session, error) {
	var failed []*storage.OpenError
	tried := map[string]bool{}
	for {
		addr := d.next(tried)
		if addr == "" {
			return nil, link.Merge(failed, d.cfg.URL())
		}
		tried[addr] = true
		s, err := dialMaster(ctx, &d.cfg, addr, d.warnf, commits)
		if err == nil {
			d.prefer(addr)
			d.learn(s.knownMasters())
			return s, nil
		}
		if ctxErr := ctx.Err(); ctxErr != nil {
			return nil, ctxErr
		}
		var other *errNotPrimary
		if errors.As(err, &other) {
			d.learn(other.Masters)
			if other.Primary >= 0 {
				d.prefer(other.Masters[other.Primary])
			}
		}
		failed = append(failed, explain(err, &d.cfg, addr))
	}
}

// dialMaster connects to one master, which must be the primary one.
func dialMaster(ctx context.Context, cfg *Config, addr string, warnf func(string, ...any), commits remote.Commits) (*session, error) {
	meeting, cancel := context.WithTimeoutCause(ctx, cfg.ConnectTimeout, errNoAnswer)
	defer cancel()
	p, err := meet(meeting, cfg, addr)
	if err != nil {
		return nil, err
	}
	s := newSession(p, cfg, warnf, commits)
	p.start()
	if err := s.join(ctx); err != nil {
		_ = s.Close()
		return nil, err
	}
	s.running.Go(func() { s.poll(cmp.Or(cfg.poll, usualPoll)) })
	return s, nil
}

// join has the master accept this client, and waits until it has told all that it tells
// then.
func (s *session) join(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, s.cfg.ConnectTimeout, errNoAnswer)
	defer cancel()
	defer func() {
		if err != nil && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
	}()
	accepted, err := ask[*neoproto.Accepted](ctx, s.master, &neoproto.Identify{Type: neoproto.Client, Cluster: s.cfg.Cluster, ReadOnly: true})
	if err != nil {
		return err
	}
	if accepted.Type != neoproto.Master {
		return &neoproto.ProtocolError{Msg: fmt.Sprintf("it is a %s, and no master", accepted.Type)}
	}
	s.mu.Lock()
	s.primary = accepted.ID
	s.mu.Unlock()
	last, err := ask[*neoproto.Last](ctx, s.master, &neoproto.AskLast{})
	if err != nil {
		return err
	}
	if s.toldOf() != accepted.You { // which comes before the answer
		return &neoproto.ProtocolError{Msg: "it has told nothing of the nodes, or of the partitions"}
	}
	s.learn(last.Tid) // or of a newer one, which has come meanwhile
	return nil
}

// knownMasters returns the addresses of the masters that the master knows of.
func (s *session) knownMasters() (addrs []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.masters {
		addrs = append(addrs, m.Address)
	}
	return addrs
}

// explain says in words what is wrong with a master.
func explain(err error, cfg *Config, addr string) *storage.OpenError {
	if explained := words.Explain(err, link.TCP(addr), cfg.ConnectTimeout); explained != nil {
		return explained
	}
	var (
		greeting *helloError
		other    *errNotPrimary
		refused  *neoproto.Error
		protocol *neoproto.ProtocolError
	)
	switch {
	case errors.As(err, &greeting):
		return greeting.explain(addr, cfg)
	case errors.As(err, &other) && other.Primary >= 0:
		return link.Wrong(fault.Unreachable, err, fmt.Sprintf("the master at %s says that %s is the primary one", addr, other.Masters[other.Primary]), "")
	case errors.As(err, &other):
		return link.Wrong(fault.Unreachable, err, fmt.Sprintf("the master at %s knows of no primary master", addr), "the masters may be choosing one; if that lasts, look into their logs")
	case errors.As(err, &refused):
		return explainRefusal(refused, cfg, addr)
	case errors.As(err, &protocol):
		return link.Wrong(fault.NotADatabase, err, fmt.Sprintf("what answers at %s is not to be understood: %s", addr, protocol.Msg), "is it a NEO master?")
	case errors.Is(err, errNoAnswer):
		return link.Wrong(fault.Unreachable, err, fmt.Sprintf("%s accepts connections but does not answer within %s", addr, cfg.ConnectTimeout), "the master may be stopped or hang; or something else listens there")
	}
	return link.Wrong(fault.Unreachable, err, fmt.Sprintf("the connection to %s is lost at once: %s", addr, err), "the log of the master may say why")
}

func explainRefusal(refused *neoproto.Error, cfg *Config, addr string) *storage.OpenError {
	switch {
	case refused.Kind == neoproto.NotReady:
		return link.Wrong(fault.Unreachable, refused, fmt.Sprintf("the master at %s says that the cluster is not ready", addr),
			"it waits for storages, or for somebody to start it; neoctl print cluster tells")
	case strings.Contains(refused.Text, "cluster name"):
		return link.Wrong(fault.NotADatabase, refused, fmt.Sprintf("the master at %s is not of a cluster %q", addr, cfg.Cluster), "correct the name of the cluster, or the address")
	case refused.Kind == neoproto.ProtocolViolation:
		return link.Wrong(fault.Unreachable, refused, fmt.Sprintf("the master at %s refuses this client: %.200s", addr, refused.Text), "its log may say why")
	}
	return link.Wrong(fault.NotADatabase, refused, fmt.Sprintf("the master at %s refuses this client: %s", addr, refused), "its log may say why")
}

// explain says what was met instead of a node of this protocol.
func (e *helloError) explain(addr string, cfg *Config) *storage.OpenError {
	to, text := link.TCP(addr), string(e.said)
	switch {
	case e.err != nil && link.IsAlert(e.err): // TLS 1.3 tells what it thinks of certificates after the handshake
		return words.ExplainAlert(e.err, to)
	case e.err != nil && cfg.TLS != nil:
		return link.Wrong(fault.NotADatabase, e, fmt.Sprintf("the master at %s does not accept this client: it closes the encrypted connection without a word", addr), words.WantsCertificate())
	case (errors.Is(e.err, io.EOF) || errors.Is(e.err, syscall.ECONNRESET)) && text == "": // a reset, if it has not read our hello
		return link.Wrong(fault.Unreachable, e, fmt.Sprintf("%s closes connections without a word", addr),
			"it may want encrypted connections, see neos://; or something stands in between, as a tunnel or a container, and there is no master behind it")
	case e.err != nil:
		return link.Wrong(fault.Unreachable, e, fmt.Sprintf("the connection to %s is lost at once: %s", addr, e.err), "the log of the master may say why")
	case len(text) == len(neoproto.Hello):
		return link.Wrong(fault.NotADatabase, e, fmt.Sprintf("the master at %s speaks version %d of the protocol, and this client version %d", addr, text[len(text)-1], neoproto.Version),
			"all nodes and clients of a cluster must be of the same version: upgrade the cluster, or this")
	case text == "\x00":
		return link.Wrong(fault.NotADatabase, e, fmt.Sprintf("the master at %s speaks the binary protocol of NEO 1.12 and before, and this client version %d of the protocol, in msgpack", addr, neoproto.Version), "upgrade the cluster")
	case text == "H":
		return words.ExplainHTTP(e, to)
	case text == "\x15" || text == "\x16":
		return link.Wrong(fault.NotADatabase, e, fmt.Sprintf("the master at %s wants encrypted connections (TLS)", addr), "write neos:// with ca=FILE, cert=FILE and key=FILE")
	}
	return link.Wrong(fault.NotADatabase, e, fmt.Sprintf("what answers at %s is no NEO master: it begins with %q", addr, text), "correct the address or the port")
}
