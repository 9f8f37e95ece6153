package naming

import (
	"crypto/sha256"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/arrays/catalog"
)

const (
	maxName = 250 // bytes of an encoded name: with .json that is as much as a file can have

	emptyName  = "%empty"
	hashMark   = "%~"
	oidMark    = "%@"
	hashDigits = 32
	oidDigits  = 16

	maxPlain = maxName - len(oidMark) - oidDigits
)

// Encode returns what the mount calls a key. Two keys never have one name.
func Encode(key string) string {
	name := escape(key)
	if len(name) <= maxPlain {
		return name
	}
	end := fmt.Sprintf("%s%x", hashMark, sha256.Sum256([]byte(key)))[:len(hashMark)+hashDigits]
	return clip(name, maxPlain-len(end)) + end
}

// PathOf returns where a mount shows an entry of catalog.Walk, below head/ or @<tid>/: the
// .npy file of an array, or else the data of the file. Of several objects with one path it is
// right for the first.
func PathOf(e *catalog.Entry) string {
	if _, err := header(e); err != nil || len(e.Names) == 0 {
		return "bigfile/" + e.File.String()
	}
	path := "arrays"
	for _, key := range e.Names {
		path += "/" + Encode(key)
	}
	return path + ".npy"
}

// distinct returns the name of an object that is not the first with that name.
func distinct(name string, oid zodb.Oid) string { return name + oidMark + oid.String() }

// Decode returns the key that the mount calls name. ok is false if it does not tell: the
// name is cut, or is none.
func Decode(name string) (key string, ok bool) {
	if i := strings.Index(name, oidMark); i >= 0 {
		if len(name)-i != len(oidMark)+oidDigits {
			return "", false
		}
		name = name[:i]
	}
	if name == emptyName {
		return "", true
	}
	var out strings.Builder
	for i := 0; i < len(name); i++ {
		if name[i] != '%' {
			out.WriteByte(name[i])
			continue
		}
		if i+3 > len(name) {
			return "", false
		}
		c, err := strconv.ParseUint(name[i+1:i+3], 16, 8)
		if err != nil {
			return "", false
		}
		out.WriteByte(byte(c))
		i += 2
	}
	key = out.String()
	return key, Encode(key) == name
}

// escape encodes a key without regard to its length.
func escape(key string) string {
	if key == "" {
		return emptyName
	}
	dot := -1 // that is encoded
	switch {
	case key == ".", key == "..":
		dot = 0
	case strings.HasSuffix(key, ".npy"), strings.HasSuffix(key, ".json"):
		dot = strings.LastIndexByte(key, '.')
	}
	if dot < 0 && !strings.ContainsFunc(key, isEscaped) {
		return key
	}
	var out strings.Builder
	for i := 0; i < len(key); {
		r, size := utf8.DecodeRuneInString(key[i:])
		if i == dot || isEscaped(r) && (r != utf8.RuneError || size == 1) {
			for _, c := range []byte(key[i : i+size]) {
				fmt.Fprintf(&out, "%%%02X", c)
			}
		} else {
			out.WriteString(key[i : i+size])
		}
		i += size
	}
	return out.String()
}

// isEscaped reports whether a character is encoded. The one that stands for invalid
// UTF-8 is only if it does.
func isEscaped(r rune) bool {
	return r == '%' || r == '/' || r == utf8.RuneError || !unicode.IsPrint(r)
}

// clip returns as much of a name as n bytes have room for, without half a character or
// escape.
func clip(name string, n int) string {
	for n > 0 && !utf8.RuneStart(name[n]) {
		n--
	}
	if i := strings.LastIndexByte(name[:n], '%'); i > n-3 && i >= 0 {
		n = i
	}
	return name[:n]
}
