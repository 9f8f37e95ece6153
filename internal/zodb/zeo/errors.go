package zeo

import (
	"fmt"
	"strings"
	"syscall"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/pickle"
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

	oid   zodb.Oid      // that it is about, zodb.InvalidOid if it does not say
	errno syscall.Errno // of the operating system, 0 if it is not from there
}

// Unwrap returns the error of the operating system that the server has met.
func (e *ServerError) Unwrap() error {
	if e.errno == 0 {
		return nil
	}
	return e.errno
}

func (e *ServerError) Error() string {
	if e.Text == "" {
		return "the server answers " + e.Class
	}
	return fmt.Sprintf("the server answers %s: %s", e.Class, e.Text)
}

// Classes of exceptions that somebody decides by.
const (
	posKeyError   = "ZODB.POSException.POSKeyError"
	readOnlyError = "ZODB.POSException.ReadOnlyError"
)

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
	e := &ServerError{Class: shorten(strings.Clone(class)), Text: strings.TrimSuffix(shorten(describe(pair[1], 2)), ".")}
	e.oid, e.errno = subject(e.Class, pair[1])
	return e, nil
}

// subject finds out what an exception is about: which object, or which error of the
// operating system.
func subject(class string, payload any) (oid zodb.Oid, errno syscall.Errno) {
	oid = zodb.InvalidOid
	if dict, ok := payload.(*pickle.Dict); ok {
		for _, item := range dict.Items {
			if name, _ := pickle.Text(item.Key); name == "oid" {
				if got, ok := oidOf(item.Value); ok {
					oid = got
				}
			}
		}
	}
	args, _ := items(payload)
	switch {
	case class == posKeyError && len(args) > 0:
		if got, ok := oidOf(args[0]); ok {
			oid = got
		}
	case strings.HasSuffix(class, ".FileStorageQuotaError"):
		errno = syscall.EDQUOT
	case isOSError(class) && len(args) > 0:
		// Servers may run elsewhere, but these numbers are the same on every Unix.
		if n, ok := args[0].(int64); ok && (n == int64(syscall.ENOSPC) || n == int64(syscall.EFBIG)) {
			errno = syscall.Errno(n)
		} else if ok && n == int64(syscall.EDQUOT) {
			errno = syscall.EDQUOT
		}
	}
	return oid, errno
}

func isOSError(class string) bool {
	switch class {
	case "builtins.OSError", "exceptions.OSError", "exceptions.IOError":
		return true
	}
	return false
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
