package storage

import (
	"net"
	"net/url"
	"slices"
	"strings"
)

// postgresqlPort is where a PostgreSQL server is if the url does not say.
const postgresqlPort = "5432"

// normalizePostgreSQL returns the url of a database without what only says how to get
// there: postgresql://HOST:PORT,…/DATABASE, where the directory of a socket stands for a
// host, and what says which tables are meant. The environment of clients is not known here.
func normalizePostgreSQL(rest string) string {
	place, query, _ := strings.Cut(rest, "?")
	options, err := url.ParseQuery(query)
	if err != nil {
		options = url.Values{}
	}
	hosts, database, _ := strings.Cut(place, "/")
	user := ""
	if at := strings.LastIndexByte(hosts, '@'); at >= 0 {
		user, _, _ = strings.Cut(hosts[:at], ":")
		hosts = hosts[at+1:]
	}
	zurl := "postgresql://" + postgresqlHosts(hosts, options) + "/" + firstOf(options.Get("dbname"), database, options.Get("user"), user)
	kept := url.Values{}
	for _, name := range []string{"options", "search_path", "service"} {
		if options.Has(name) {
			kept[name] = options[name]
		}
	}
	if len(kept) > 0 {
		zurl += "?" + kept.Encode()
	}
	return zurl
}

// firstOf returns the first text that is not empty.
func firstOf(all ...string) string {
	for _, s := range all {
		if s != "" {
			return s
		}
	}
	return ""
}

// postgresqlHosts returns the servers in the order of their names, each with its port.
// Options count more than what stands in the place for servers.
func postgresqlHosts(place string, options url.Values) string {
	if host := options.Get("host"); host != "" {
		place = strings.ReplaceAll(host, "/", "%2F")
	}
	ports := strings.Split(options.Get("port"), ",")
	var all []string
	for i, text := range strings.Split(place, ",") {
		host, port, err := net.SplitHostPort(text)
		if err != nil {
			host, port = strings.Trim(text, "[]"), ""
		}
		if given := ports[min(i, len(ports)-1)]; given != "" {
			port = given
		}
		if !strings.HasPrefix(strings.ToUpper(host), "%2F") {
			host = strings.ToLower(host)
		} else {
			host = "%2F" + host[3:]
		}
		all = append(all, net.JoinHostPort(host, firstOf(port, postgresqlPort)))
	}
	slices.Sort(all)
	return strings.Join(slices.Compact(all), ",")
}
