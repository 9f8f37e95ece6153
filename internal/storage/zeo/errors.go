package zeo

import (
	"fmt"
	"strings"

	"github.com/wcfs/wcfs/internal/pickle"
)

// ProtocolError says that what came over a connection is not what a ZEO server may send.
// It ends the session.
type ProtocolError struct{ Msg string }

func (e *ProtocolError) Error() string { return "not the protocol of ZEO: " + e.Msg }

func protocolErrorf(format string, args ...any) error {
	return &ProtocolError{fmt.Sprintf(format, args...)}
}

// ServerError is an exception that the server answered a call with.
type ServerError struct {
	Class string // module.Class
	Text  string // its arguments or attributes, shortened
}

func (e *ServerError) Error() string {
	if e.Text == "" {
		return "the server answers " + e.Class
	}
	return fmt.Sprintf("the server answers %s: %s", e.Class, e.Text)
}

const posKeyError = "ZODB.POSException.POSKeyError"

// exception understands the value of a reply that tells an exception.
func exception(value any) (*ServerError, error) {
	pair, ok := items(value)
	if !ok || len(pair) != 2 {
		return nil, protocolErrorf("an exception that is no pair of class and arguments")
	}
	class, ok := pickle.Text(pair[0])
	if !ok {
		return nil, protocolErrorf("an exception without the name of its class")
	}
	return &ServerError{Class: shorten(strings.Clone(class)), Text: shorten(describe(pair[1], 2))}, nil
}

// maxText bounds what is shown of anything that a server says, in bytes.
const maxText = 300

func shorten(s string) string {
	if len(s) > maxText {
		return s[:maxText] + "…"
	}
	return s
}

// describe returns a value in words. It looks some levels deep and at a few items, since
// values may be nested to any depth.
func describe(v any, depth int) string {
	switch x := v.(type) {
	case nil, bool, int64, float64:
		return fmt.Sprint(x)
	case string:
		return fmt.Sprintf("%.*s", maxText, x)
	case pickle.Bytes:
		return fmt.Sprintf("%.*q", maxText, string(x))
	case *pickle.Dict:
		return describeDict(x, depth)
	}
	values, ok := items(v)
	if !ok || depth == 0 {
		return "…"
	}
	var parts []string
	for i, item := range values {
		if i == 8 {
			parts = append(parts, "…")
			break
		}
		parts = append(parts, describe(item, depth-1))
	}
	return strings.Join(parts, ", ")
}

func describeDict(d *pickle.Dict, depth int) string {
	if depth == 0 {
		return "…"
	}
	var parts []string
	for i, item := range d.Items {
		if i == 8 {
			parts = append(parts, "…")
			break
		}
		parts = append(parts, describe(item.Key, 0)+"="+describe(item.Value, depth-1))
	}
	return strings.Join(parts, ", ")
}
