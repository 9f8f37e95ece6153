package storage

import (
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/wcfs/wcfs/internal/zodb/fault"
)

// URL names a database, split as far as all drivers agree.
type URL struct {
	Raw    string     // as given; may hold secrets, see Redact
	Scheme string     // lower case
	Rest   string     // between :// (demo: the colon) and the query
	Query  url.Values // never nil
}

// ParseURL splits raw. It decodes nothing but the query: a file path is what
// follows file:// up to a question mark, byte for byte, hence a path with a
// question mark in it cannot be named.
//
// The error is an *OpenError with reason fault.BadURL.
func ParseURL(raw string) (URL, error) {
	scheme, rest, ok := cutScheme(raw)
	if !ok {
		return URL{}, badURL(raw, "is not a database url", "urls begin with a scheme, as in file:///path/to/Data.fs")
	}
	u := URL{Raw: raw, Scheme: scheme, Rest: rest, Query: url.Values{}}
	if scheme != "demo" { // the queries of a demo url belong to its parts
		var query string
		u.Rest, query, _ = strings.Cut(rest, "?")
		values, err := url.ParseQuery(query)
		if err != nil {
			return URL{}, badURL(raw, "the part after the question mark cannot be understood", "options are written as name=value&name=value")
		}
		u.Query = values
	} else if !strings.HasPrefix(rest, "(") {
		return URL{}, badURL(raw, "names no databases one over the other", "write demo:(URL of the base)/(URL of the delta)")
	}
	if u.Rest == "" {
		return URL{}, badURL(raw, "nothing follows the scheme", "")
	}
	return u, nil
}

func badURL(raw, msg, hint string) *OpenError {
	return &OpenError{Reason: fault.BadURL, URL: Redact(raw), Msg: msg, Hint: hint}
}

// cutScheme splits scheme://rest and demo:rest. The scheme comes in lower case.
func cutScheme(raw string) (scheme, rest string, ok bool) {
	if scheme, rest, ok = strings.Cut(raw, ":"); ok && strings.EqualFold(scheme, "demo") {
		return "demo", rest, true
	}
	if scheme, rest, ok = strings.Cut(raw, "://"); ok && isScheme(scheme) {
		return strings.ToLower(scheme), rest, true
	}
	return "", "", false
}

func isScheme(s string) bool {
	for i, c := range []byte(s) {
		letter := 'a' <= c|0x20 && c|0x20 <= 'z'
		other := '0' <= c && c <= '9' || c == '+' || c == '-' || c == '.'
		if !letter && (i == 0 || !other) {
			return false
		}
	}
	return s != ""
}

// Resolve turns what a person typed into a url: a path without scheme, which
// may be relative to cwd or begin with ~ for home, becomes file://<absolute
// path>. Anything with a scheme is returned as it is, because others compute
// the identity of the database from the same text.
func Resolve(arg, cwd, home string) (zurl string) {
	if _, _, ok := cutScheme(arg); ok {
		return arg
	}
	arg = ExpandHome(arg, home)
	if !filepath.IsAbs(arg) {
		arg = filepath.Join(cwd, arg)
	}
	return "file://" + filepath.Clean(arg)
}

// ExpandHome returns path with home for a tilde that stands alone in front. The
// tilde of ~user is left alone, and every tilde is if home is empty.
func ExpandHome(path, home string) string {
	if home != "" && (path == "~" || strings.HasPrefix(path, "~/")) {
		return filepath.Join(home, path[1:])
	}
	return path
}

// Normalize returns the text that is equal for urls of the same database as
// far as clients agree on that: they derive the place of the mount from it.
//
// file, zeo and demo are left alone. neo and neos lose their credentials and
// what only concerns the client, become neos if they had credentials, and have
// their masters and options sorted.
//
// The error is an *OpenError with reason fault.BadURL or UnknownScheme.
func Normalize(zurl string) (string, error) {
	scheme, rest, ok := cutScheme(zurl)
	if !ok {
		_, err := ParseURL(zurl)
		return "", err
	}
	switch scheme {
	case "file", "zeo", "demo":
		return zurl, nil
	case "neo", "neos":
		return normalizeNEO(scheme, rest), nil
	case "postgresql", "postgres":
		return normalizePostgreSQL(rest), nil
	}
	return "", &OpenError{Reason: fault.UnknownScheme, URL: Redact(zurl), Msg: fmt.Sprintf("can't normalize zurl with scheme %q", scheme)}
}

func normalizeNEO(scheme, rest string) string {
	place, query, _ := strings.Cut(rest, "?")
	var options []string
	for option := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(option, "=")
		switch name {
		case "ca", "cert", "key":
			if value != "" {
				scheme = "neos"
			}
		case "", "compress", "read-only", "logfile", "cache-size":
		default:
			options = append(options, option)
		}
	}
	slices.SortStableFunc(options, func(a, b string) int {
		nameA, _, _ := strings.Cut(a, "=")
		nameB, _, _ := strings.Cut(b, "=")
		return strings.Compare(nameA, nameB)
	})
	if cluster, masters, ok := strings.Cut(place, "@"); ok {
		list := strings.Split(masters, ",")
		slices.Sort(list)
		place = cluster + "@" + strings.Join(list, ",")
	}
	zurl := scheme + "://" + place
	if len(options) > 0 {
		zurl += "?" + strings.Join(options, "&")
	}
	return zurl
}

// Parts of urls that Redact hides. Both patterns also find their places
// inside demo urls.
var (
	userPassword = regexp.MustCompile(`(://[^:/?#@()]*:)[^()?#\s]*@`)
	secretOption = regexp.MustCompile(`(?i)((?:[?&;]|://)(?:ssl_?)?(?:password|passfile|passwd|pwd|pass|key|cert|ca|secret|token)=)[^&;()#@\s]+`)
)

// Redact returns zurl for messages: without the password of user:password@
// and without the values of options that carry secrets or lead to them.
func Redact(zurl string) string {
	zurl = userPassword.ReplaceAllString(zurl, "${1}xxx@")
	return secretOption.ReplaceAllString(zurl, "${1}xxx")
}

// IsDatabaseOption reports whether a query option concerns the layer above the
// storage. Such options are found in urls of clients and mean nothing here.
func IsDatabaseOption(name string) bool {
	return name == "database_name" || strings.HasPrefix(name, "connection_")
}

// FileOptions are what the options of a file url ask for; nil is what they do not say.
type FileOptions struct {
	ReadOnly *bool
	Create   *bool
}

// FileOptions returns the options of a file url. A driver honours them or refuses them
// with RefuseOption. The error is an *OpenError with reason fault.BadURL.
func (u URL) FileOptions() (opt FileOptions, err error) {
	names := make([]string, 0, len(u.Query))
	for name := range u.Query {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		switch {
		case IsDatabaseOption(name):
		case name == "read_only" || name == "read-only":
			opt.ReadOnly, err = u.BoolOption(name)
		case name == "create":
			opt.Create, err = u.BoolOption(name)
		case name == "demostorage":
			err = u.RefuseOption(name, "leave it out")
		default:
			err = u.RefuseOption(name, "remove it from the url")
		}
		if err != nil {
			return FileOptions{}, err
		}
	}
	return opt, nil
}

// RefuseOption returns the error for an option that cannot be honoured.
func (u URL) RefuseOption(name, hint string) error {
	return badURL(u.Raw, fmt.Sprintf("option %q is not supported for files", name), hint)
}

// BoolOption reads yes and no as zodburi spells them.
func (u URL) BoolOption(name string) (*bool, error) {
	var yes bool
	switch strings.ToLower(u.Query.Get(name)) {
	case "1", "true", "t", "yes", "y", "on":
		yes = true
	case "0", "false", "f", "no", "n", "off":
	default:
		return nil, badURL(u.Raw, fmt.Sprintf("option %q is neither yes nor no", name), "write it as "+name+"=1 or "+name+"=0, or leave it out")
	}
	return &yes, nil
}

// FilePath returns the path of a file url, where ~ stands for home.
func (u URL) FilePath(home string) string {
	return ExpandHome(u.Rest, home)
}
