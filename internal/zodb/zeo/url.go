package zeo

import (
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wcfs/wcfs/internal/zodb/fault"
	"github.com/wcfs/wcfs/internal/zodb/link"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// Parse understands a url:
//
//	zeo://host[:port][,host[:port]…][/storage][?options]
//	zeo:///path/of/socket[?options]          as Python makes it of a unix socket
//	zeo://localhost/?unix=/path/of/socket
//
// Names of options are those of zodburi. Options that only concern the cache and the
// blobs of a Python client are ignored, since applications hand over the url that they
// use themselves. The error is a *storage.OpenError with reason BadURL.
func Parse(u storage.URL) (Config, error) { return parseURL(u, false) }

// ParseForWriting is Parse for who commits. It differs in what read_only may say.
func ParseForWriting(u storage.URL) (Config, error) { return parseURL(u, true) }

func parseURL(u storage.URL, writing bool) (Config, error) {
	p := parser{url: u, writing: writing, cfg: Config{
		Storage: DefaultStorage, ConnectTimeout: DefaultConnectTimeout, MaxMessage: DefaultMaxMessage,
	}}
	err := p.place()
	for _, name := range slices.Sorted(maps.Keys(u.Query)) {
		if err == nil {
			err = p.option(name, u.Query.Get(name))
		}
	}
	if err == nil {
		err = p.check()
	}
	if err != nil {
		return Config{}, err
	}
	return p.cfg, nil
}

type parser struct {
	url     storage.URL
	writing bool
	cfg     Config
	wait    *bool

	inPath string // storage as the path says it
	unix   string
	noSSL  bool
	tls    link.TLS
}

func (p *parser) bad(hint, format string, args ...any) error {
	return &storage.OpenError{
		Reason: fault.BadURL, URL: storage.Redact(p.url.Raw), Msg: fmt.Sprintf(format, args...), Hint: hint,
	}
}

// place understands what stands before the options.
func (p *parser) place() error {
	rest := p.url.Rest
	if strings.HasPrefix(rest, "/") {
		if strings.Trim(rest, "/") != "" {
			p.unix = rest
		}
		return nil
	}
	hosts, path, _ := strings.Cut(rest, "/")
	if strings.Contains(hosts, "@") {
		return p.bad("leave out what stands before the @; servers know clients by certificates: ssl_cert and ssl_key", "ZEO has no user names and passwords")
	}
	name, err := url.PathUnescape(strings.TrimSuffix(path, "/"))
	if err != nil || strings.Contains(name, "/") {
		return p.bad("write it as ?storage=NAME", "%q cannot be the name of a storage", path)
	}
	p.inPath = name
	for _, host := range strings.Split(hosts, ",") {
		addr, err := p.addr(host)
		if err != nil {
			return err
		}
		if !slices.Contains(p.cfg.Addrs, addr) {
			p.cfg.Addrs = append(p.cfg.Addrs, addr)
		}
	}
	return nil
}

// addr understands host, host:port, :port, [v6] and [v6]:port.
func (p *parser) addr(text string) (link.Addr, error) {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		host, port, err = net.SplitHostPort(text + ":" + DefaultPort)
	}
	n, portErr := strconv.Atoi(port)
	if text == "" || err != nil || portErr != nil || n < 1 || n > 65535 || strings.ContainsAny(host, " #[]\\") {
		return link.Addr{}, p.bad("write it as host:port, and addresses of IPv6 as [address]:port", "%q is no address of a server", text)
	}
	if host == "" {
		host = "localhost"
	}
	return link.TCP(net.JoinHostPort(host, strconv.Itoa(n))), nil
}

// ignored options concern the cache, the blobs and the way of reconnecting of a Python
// client. A client that reads only has what read_only_fallback is for.
var ignored = []string{
	"name", "client", "var", "cache_size", "drop_cache_rather_verify", "blob_dir", "shared_blob_dir",
	"blob_cache_size", "blob_cache_size_check", "client_label", "min_disconnect_poll",
	"max_disconnect_poll", "read_only_fallback", "debug",
}

func (p *parser) option(name, value string) (err error) {
	if slices.Contains(ignored, name) || storage.IsDatabaseOption(name) {
		return nil
	}
	if len(p.url.Query[name]) > 1 {
		return p.bad("leave one", "option %q is there twice", name)
	}
	switch name {
	case "storage":
		p.cfg.Storage = value
	case "unix":
		p.unix = value
	case "wait":
		p.wait, err = p.url.BoolOption(name)
	case "wait_timeout":
		p.cfg.Wait, err = p.seconds(name, value)
	case "connect_timeout":
		p.cfg.ConnectTimeout, err = p.seconds(name, value)
	case "read_only":
		err = p.readOnly(name, value)
	case "username", "password", "realm":
		err = p.bad("remove it; servers know clients by certificates: ssl_cert and ssl_key", "option %q: ZEO has no user names and passwords", name)
	case "demostorage":
		err = p.bad("leave it out", "option %q is not supported", name)
	default:
		if name == "ssl" || strings.HasPrefix(name, "ssl_") {
			return p.ssl(name, value)
		}
		err = p.bad("remove it from the url", "option %q is not known for zeo", name)
	}
	return err
}

func (p *parser) readOnly(name, value string) error {
	yes, err := p.url.BoolOption(name)
	switch {
	case err != nil:
	case *yes && p.writing:
		err = p.bad("leave it out to write", "option %q forbids to write to it", name)
	case !*yes && !p.writing:
		err = p.bad("remove it; the database is only read here", "option %q says that the database is to be written", name)
	}
	return err
}

// ssl understands the options of encryption: ssl, and what the section <ssl> of a Python
// client has. zodburi has none of them.
func (p *parser) ssl(name, value string) error {
	switch name {
	case "ssl":
		yes, err := p.url.BoolOption(name)
		if err != nil {
			return err
		}
		if p.noSSL = !*yes; *yes {
			p.cfg.TLS = &p.tls
		}
		return nil
	case "ssl_ca":
		p.tls.CA = value
	case "ssl_cert":
		p.tls.Cert = value
	case "ssl_key":
		p.tls.Key = value
	case "ssl_server_hostname":
		p.tls.ServerName = value
	case "ssl_check_hostname":
		yes, err := p.url.BoolOption(name)
		if err != nil {
			return err
		}
		p.tls.AnyName = !*yes
	default:
		return p.bad("known are ssl, ssl_ca, ssl_cert, ssl_key, ssl_check_hostname and ssl_server_hostname", "option %q is not known for zeo", name)
	}
	if value == "" {
		return p.bad("give it one, or remove it", "option %q has no value", name)
	}
	p.cfg.TLS = &p.tls
	return nil
}

// check looks at what only makes sense together.
func (p *parser) check() error {
	switch {
	case p.inPath != "" && p.url.Query.Has("storage") && p.cfg.Storage != p.inPath:
		return p.bad("leave one of them", "storage %q in the path, and another one in the options", p.inPath)
	case p.inPath != "":
		p.cfg.Storage = p.inPath
	case p.cfg.Storage == "":
		return p.bad("give it one, or remove it", "option %q has no value", "storage")
	}
	if err := p.checkUnix(); err != nil {
		return err
	}
	if p.noSSL && p.cfg.TLS != nil {
		return p.bad("remove ssl=0 or the others", "options say how to encrypt, and ssl=0 says not to")
	}
	if p.tls.Cert == "" && p.tls.Key != "" {
		return p.bad("add ssl_cert=FILE", "a key (ssl_key) without its certificate")
	}
	if p.tls.Key == "" { // one file may hold both
		p.tls.Key = p.tls.Cert
	}
	if p.cfg.ConnectTimeout <= 0 {
		return p.bad("give it some seconds", "option %q leaves no time to connect", "connect_timeout")
	}
	return p.checkWait()
}

func (p *parser) checkUnix() error {
	if p.unix == "" && !p.url.Query.Has("unix") {
		if len(p.cfg.Addrs) == 0 {
			return p.bad("write zeo://host:port", "names no server")
		}
		return nil
	}
	if !strings.HasPrefix(p.unix, "/") {
		return p.bad("give its whole path", "%q is no path of a socket", p.unix)
	}
	for _, addr := range p.cfg.Addrs {
		if host, _, _ := net.SplitHostPort(addr.Address); host != "localhost" || len(p.cfg.Addrs) > 1 {
			return p.bad("write zeo://localhost/?unix=/path, or leave the socket out", "a socket of this host (unix), and %q", addr)
		}
	}
	p.cfg.Addrs = []link.Addr{link.Unix(p.unix)}
	return nil
}

// defaultWait is that of a Python client that is told to wait.
const defaultWait = 30 * time.Second

func (p *parser) checkWait() error {
	switch {
	case p.wait == nil:
	case !*p.wait:
		p.cfg.Wait = 0
	case !p.url.Query.Has("wait_timeout"):
		p.cfg.Wait = defaultWait
	}
	return nil
}

// maxSeconds is a day; more is a mistake.
const maxSeconds = 24 * 60 * 60

func (p *parser) seconds(name, value string) (time.Duration, error) {
	n, err := strconv.ParseFloat(value, 64)
	if err != nil || !(n >= 0 && n <= maxSeconds) {
		return 0, p.bad("write it as "+name+"=30", "option %q is no number of seconds up to a day", name)
	}
	return time.Duration(n * float64(time.Second)), nil
}

// escape writes the name of a storage as a value of an option.
func escape(s string) string { return url.QueryEscape(s) }
