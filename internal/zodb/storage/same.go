package storage

import (
	"net"
	"net/url"
	"slices"
	"strings"
)

// SameDatabase reports whether two urls name one database, whatever way they say how to
// get there: servers in another order, a port that is the usual one, options of a client.
// Secrets and what leads to them count for nothing, so that it holds of urls without them.
func SameDatabase(a, b string) bool {
	if a == b {
		return true
	}
	idA, okA := identity(a)
	idB, okB := identity(b)
	return okA && okB && idA == idB
}

// identity returns the text that urls of one database have in common.
func identity(zurl string) (id string, ok bool) {
	scheme, rest, ok := cutScheme(Redact(zurl))
	if ok && scheme == "zeo" {
		return identityZEO(rest), true
	}
	id, err := Normalize(Redact(zurl))
	return id, err == nil
}

// zeoPort is where a ZEO server is if the url does not say.
const zeoPort = "9991"

// identityZEO knows what package zeo takes for the same place.
func identityZEO(rest string) string {
	place, query, _ := strings.Cut(rest, "?")
	options, err := url.ParseQuery(query)
	if err != nil {
		return rest
	}
	name := options.Get("storage")
	if socket := options.Get("unix"); socket != "" {
		place = socket
	} else if !strings.HasPrefix(place, "/") {
		hosts, path, _ := strings.Cut(place, "/")
		if path, err := url.PathUnescape(strings.TrimSuffix(path, "/")); err == nil && path != "" {
			name = path
		}
		place = identityHosts(hosts)
	}
	if name == "" {
		name = "1"
	}
	return place + "\n" + name
}

func identityHosts(hosts string) string {
	var all []string
	for _, text := range strings.Split(strings.ToLower(hosts), ",") {
		host, port, err := net.SplitHostPort(text)
		if err != nil {
			if host, port, err = net.SplitHostPort(text + ":" + zeoPort); err != nil {
				host, port = text, ""
			}
		}
		if host == "" {
			host = "localhost"
		}
		all = append(all, net.JoinHostPort(host, strings.TrimLeft(port, "0")))
	}
	slices.Sort(all)
	return strings.Join(slices.Compact(all), ",")
}
