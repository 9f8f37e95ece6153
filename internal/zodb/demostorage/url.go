package demostorage

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/wcfs/wcfs/internal/zodb/fault"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// split returns the urls of the parts of u, which is demo:(base)/(delta). Parentheses
// inside the parts, which are urls of this kind themselves or have strange names, are
// balanced. Python allows options behind a #, of which those of the layer above the
// storage mean nothing here.
//
// The error is a *storage.OpenError with reason BadURL.
func split(u storage.URL) (base, delta storage.URL, err error) {
	fail := func(format string, args ...any) error {
		return &storage.OpenError{Reason: fault.BadURL, URL: storage.Redact(u.Raw), Msg: fmt.Sprintf(format, args...),
			Hint: "write demo:(URL of the base)/(URL of the delta); parentheses in names of files must be balanced"}
	}
	rest, slash, options := u.Rest, "", ""
	var raw [2]string
	for i, name := range names {
		part, after, ok := enclosed(strings.TrimPrefix(rest, slash))
		switch {
		case i > 0 && !strings.HasPrefix(rest, "/("):
			return base, delta, fail("behind the base, in place of /(delta), is %q", storage.Redact(rest))
		case !ok:
			return base, delta, fail("the parenthesis before the %s is not closed", name)
		case part == "":
			return base, delta, fail("names no %s", name)
		}
		raw[i], rest, slash = part, after, "/"
	}
	if rest, options, _ = strings.Cut(rest, "#"); rest != "" {
		return base, delta, fail("behind the delta is %q; options stand inside the parentheses", storage.Redact(rest))
	}
	if err := checkOptions(options); err != nil {
		return base, delta, fail("the options behind # %s", err)
	}
	if base, err = storage.ParseURL(raw[0]); err != nil {
		return base, delta, openError(u, names[0], err)
	}
	if delta, err = storage.ParseURL(raw[1]); err != nil {
		return base, delta, openError(u, names[1], err)
	}
	return base, delta, nil
}

// names of the parts, for messages.
var names = [...]string{"base", "delta"}

// enclosed cuts (text)after where the first parenthesis is closed.
func enclosed(s string) (text, after string, ok bool) {
	depth := 0
	for i, c := range []byte(s) {
		switch c {
		case '(':
			depth++
		case ')':
			depth--
		}
		if depth == 0 {
			if i == 0 {
				return "", "", false
			}
			return s[1:i], s[i+1:], true
		}
	}
	return "", "", false
}

func checkOptions(text string) error {
	values, err := url.ParseQuery(text)
	if err != nil {
		return fmt.Errorf("cannot be understood")
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if !storage.IsDatabaseOption(name) {
			return fmt.Errorf("have %q, which is not known there", name)
		}
	}
	return nil
}
