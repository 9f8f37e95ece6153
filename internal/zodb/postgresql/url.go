package postgresql

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/wcfs/wcfs/internal/zodb/fault"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// Parse understands a url:
//
//	postgresql://[user[:password]@][host[:port][,…]][/database][?options]
//	postgres://…     the same
//
// Options are those of libpq, and what is not said comes from the environment and files as
// with libpq: PGHOST, PGPASSFILE, ~/.pgpass, PGSERVICE and so on. Names of RelStorage are
// understood, too, since applications hand over the url that they use themselves; its
// options that only concern caches, blobs and writing are ignored. The error is a
// *storage.OpenError with reason BadURL.
func Parse(u storage.URL) (Config, error) {
	p := parser{url: u, options: url.Values{}}
	for _, name := range slices.Sorted(maps.Keys(u.Query)) {
		if err := p.option(name, u.Query[name]); err != nil {
			return Config{}, err
		}
	}
	return p.config()
}

type parser struct {
	url     storage.URL
	options url.Values // those of libpq
}

func (p *parser) bad(hint, format string, args ...any) error {
	return &storage.OpenError{
		Reason: fault.BadURL, URL: storage.Redact(p.url.Raw), Msg: fmt.Sprintf(format, args...), Hint: hint,
	}
}

// known are the options of libpq that package pgconn understands, and those that become
// settings of the session.
var known = []string{
	"host", "port", "dbname", "user", "password", "passfile", "connect_timeout", "sslmode", "sslkey", "sslcert",
	"sslcertmode", "sslrootcert", "sslnegotiation", "sslpassword", "sslsni", "target_session_attrs", "service",
	"min_protocol_version", "max_protocol_version", "channel_binding", "require_auth", "application_name", "options",
	"search_path",
}

// unneeded options of libpq are about what is done here in any case, or not at all.
var unneeded = []string{
	"keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout",
	"fallback_application_name", "client_encoding", "sslcompression", "gssencmode",
}

// ignored options are those of RelStorage for caches, blobs and writing.
var ignored = []string{
	"driver", "name", "cache_local_mb", "cache_local_object_max", "cache_local_dir", "cache_local_compression",
	"cache_module_name", "cache_prefix", "cache_servers", "cache_delta_size_limit", "commit_lock_timeout", "commit_lock_id",
	"blob_dir", "shared_blob_dir", "blob_cache_size", "blob_cache_size_check", "blob_cache_size_check_external",
	"blob_cache_chunk_size", "replica_timeout", "revert_when_stale", "create_schema", "pack_gc", "pack_dry_run",
	"pack_batch_timeout", "pack_duty_cycle", "pack_max_delay",
}

func (p *parser) option(name string, values []string) error {
	if slices.Contains(ignored, name) || slices.Contains(unneeded, name) || storage.IsDatabaseOption(name) {
		return nil
	}
	if len(values) > 1 {
		return p.bad("leave one", "option %q is there twice", name)
	}
	if name == "ssl_mode" { // as RelStorage has it
		if p.url.Query.Has("sslmode") {
			return p.bad("leave one", "options %q and %q say the same", "sslmode", name)
		}
		name = "sslmode"
	}
	switch name {
	case "read_only":
		return p.must(name, true, "remove it; the database is only read here", "says that the database is to be written")
	case "keep_history":
		return p.must(name, true, historyFreeHint, "says that the database is history-free")
	case "demostorage":
		return p.must(name, false, "leave it out", "is not supported")
	case "replica_conf":
		return p.bad("name the servers in the url, as in //HOST1,HOST2/DATABASE", "option %q is not supported", name)
	}
	if !slices.Contains(known, name) {
		return p.bad("remove it from the url", "option %q is not known for postgresql", name)
	}
	p.options[name] = values
	return nil
}

// must refuses an option that is not as it has to be.
func (p *parser) must(name string, be bool, hint, what string) error {
	yes, err := p.url.BoolOption(name)
	if err == nil && *yes != be {
		err = p.bad(hint, "option %q %s", name, what)
	}
	return err
}

// config hands over to package pgconn.
func (p *parser) config() (Config, error) {
	text := "postgresql://" + p.url.Rest
	if len(p.options) > 0 {
		text += "?" + strings.ReplaceAll(p.options.Encode(), "+", "%20") // libpq takes a plus for a plus
	}
	config, err := pgconn.ParseConfig(text)
	if err != nil {
		return Config{}, p.misunderstood(err)
	}
	if config.ConnectTimeout <= 0 {
		config.ConnectTimeout = DefaultConnectTimeout
	}
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "wcfs"
	}
	if config.Database == "" {
		config.Database = config.User // as the server does
	}
	config.MaxProtocolMessageBodyLen = DefaultMaxRow
	all := split(config)
	return Config{
		ConnectTimeout: config.ConnectTimeout, Poll: DefaultPoll, MaxConns: DefaultMaxConns,
		candidates: all, identity: identityOf(all, config.Database, p.scope()),
	}, nil
}

// scope is what in the options says which tables of the database are meant.
func (p *parser) scope() string {
	scope := url.Values{}
	for _, name := range []string{"options", "search_path"} {
		if p.options.Has(name) {
			scope[name] = p.options[name]
		}
	}
	if len(scope) == 0 {
		return ""
	}
	return "?" + scope.Encode()
}

// misunderstood says what package pgconn does not like, without the url that it repeats.
func (p *parser) misunderstood(err error) error {
	msg := err.Error()
	if _, after, ok := strings.Cut(msg, "`: "); ok {
		msg = after
	}
	if inner := errors.Unwrap(err); inner != nil && strings.Contains(inner.Error(), "net/url") {
		msg = "what stands before the options is not of that form"
	}
	if files, ok := strings.CutPrefix(msg, "failed to configure TLS "); ok && strings.Contains(files, "unable to") {
		return p.bad("correct the option, or the file", "encryption cannot be set up: %s", files)
	}
	return p.bad("write it as postgresql://USER@HOST:PORT/DATABASE", "cannot be understood: %s", storage.Redact(msg))
}
