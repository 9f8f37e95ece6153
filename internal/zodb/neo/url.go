package neo

import (
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/wcfs/wcfs/internal/zodb/fault"
	"github.com/wcfs/wcfs/internal/zodb/link"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// Parse understands a url:
//
//	neo://cluster@master1:port1,master2:port2…[?options]
//	neos://…     encrypted, with ca, cert and key; or those of $NEO_CA, $NEO_CERT, $NEO_KEY
//
// Names of options are those of NEO's own resolver, where - and _ are the same. Options
// that only concern the cache and the log of a Python client are ignored, since
// applications hand over the url that they use themselves. The error is a
// *storage.OpenError with reason BadURL.
func Parse(u storage.URL) (Config, error) {
	p := parser{url: u, cfg: Config{ConnectTimeout: DefaultConnectTimeout, MaxPacket: DefaultMaxPacket}}
	err := p.place()
	for _, name := range slices.Sorted(maps.Keys(u.Query)) {
		if err == nil {
			err = p.option(name, u.Query[name])
		}
	}
	if err == nil {
		err = p.credentials()
	}
	if err != nil {
		return Config{}, err
	}
	return p.cfg, nil
}

type parser struct {
	url storage.URL
	cfg Config
	tls link.TLS
}

func (p *parser) bad(hint, format string, args ...any) error {
	return &storage.OpenError{
		Reason: fault.BadURL, URL: storage.Redact(p.url.Raw), Msg: fmt.Sprintf(format, args...), Hint: hint,
	}
}

// place understands what stands before the options.
func (p *parser) place() error {
	name, masters, ok := strings.Cut(strings.TrimSuffix(p.url.Rest, "/"), "@")
	if !ok || name == "" {
		return p.bad("write "+p.url.Scheme+"://CLUSTER@HOST:PORT", "names no cluster")
	}
	cluster, err := url.PathUnescape(name)
	if err != nil || strings.ContainsAny(masters, "/#") {
		return p.bad("write "+p.url.Scheme+"://CLUSTER@HOST:PORT; in the name of a cluster, %40 is @ and %2F is /", "%q cannot be understood", p.url.Rest)
	}
	p.cfg.Cluster = cluster
	for _, master := range strings.Split(masters, ",") {
		host, port, err := net.SplitHostPort(master)
		n, portErr := strconv.Atoi(port)
		if err != nil || portErr != nil || host == "" || n < 1 || n > 65535 || strings.ContainsAny(host, " \\") {
			return p.bad("write it as host:port, and addresses of IPv6 as [address]:port", "%q is no address of a master", master)
		}
		if addr := net.JoinHostPort(host, strconv.Itoa(n)); !slices.Contains(p.cfg.Masters, addr) {
			p.cfg.Masters = append(p.cfg.Masters, addr)
		}
	}
	return nil
}

// ignored options concern the cache and the log of a Python client, or what is done here
// in any case.
var ignored = []string{"compress", "read-only", "logfile", "cache-size", "dynamic-master-list", "wait"}

func (p *parser) option(given string, values []string) error {
	name := strings.ReplaceAll(given, "_", "-")
	if slices.Contains(ignored, name) || storage.IsDatabaseOption(given) {
		return nil
	}
	if len(values) > 1 {
		return p.bad("leave one", "option %q is there twice", given)
	}
	value := values[0]
	switch name {
	case "ca":
		p.tls.CA = value
	case "cert":
		p.tls.Cert = value
	case "key":
		p.tls.Key = value
	case "ignore-wrong-checksum":
		yes, err := p.url.BoolOption(given)
		if err != nil {
			return err
		}
		p.cfg.IgnoreChecksums = *yes
	default:
		return p.bad("remove it from the url", "option %q is not known for neo", given)
	}
	return nil
}

// credentials looks at what only makes sense together: a cluster that encrypts wants a
// certificate of everybody.
func (p *parser) credentials() error {
	t := &p.tls
	fields := map[string]*string{"ca": &t.CA, "cert": &t.Cert, "key": &t.Key}
	if p.url.Scheme == "neo" && *t == (link.TLS{}) {
		return nil
	}
	for _, name := range []string{"ca", "cert", "key"} {
		env := "NEO_" + strings.ToUpper(name)
		if *fields[name] == "" && p.url.Scheme == "neos" {
			*fields[name] = os.Getenv(env)
		}
		if *fields[name] == "" {
			return p.bad(fmt.Sprintf("add %s=FILE, or write neos:// and set $%s; ca, cert and key belong together", name, env), "a cluster that encrypts, without %s", name)
		}
	}
	t.AnyName = true // certificates of nodes are for a cluster, and not for hosts
	p.cfg.TLS = t
	return nil
}
