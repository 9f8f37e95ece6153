package client

import "strconv"

// The protocol of head/watch has lines "STREAM MESSAGE". Requests have odd
// streams if the client makes them, and even ones if the server does; the reply
// has the stream of the request. Stream 0 is for last words of the server.

const (
	// maxLine bounds a line of the server, with its end. It sends at most 246
	// bytes of message.
	maxLine = 512

	// toHead is the revision of a pin that says "map from head again".
	toHead = ^uint64(0)
)

// pinMessage is a request of the server to map a block from another view.
type pinMessage struct {
	oid uint64
	blk int64
	rev uint64 // toHead for head
}

// parseStream splits a line, without its end, into the number of the stream and
// the index at which the message begins.
//
//go:nosplit
//go:norace
func parseStream(line []byte) (stream uint64, msg int, ok bool) {
	for i := range line {
		switch c := line[i]; {
		case c == ' ':
			return stream, i + 1, i > 0
		case c < '0' || c > '9' || stream > (1<<64-1-9)/10:
			return 0, 0, false
		default:
			stream = stream*10 + uint64(c-'0')
		}
	}
	return 0, 0, false
}

// parsePin parses "pin <oid> #<blk> @<rev>" into pin.
//
//go:nosplit
//go:norace
func parsePin(msg []byte, pin *pinMessage) (ok bool) {
	const oid, blk = len("pin "), len("pin 0123456789abcdef #")
	if len(msg) < blk || !is(msg[:oid], "pin ") || !is(msg[blk-2:blk], " #") {
		return false
	}
	if pin.oid, ok = parseHex16(msg[oid : oid+16]); !ok {
		return false
	}
	end := blk
	for end < len(msg) && msg[end] != ' ' {
		end++
	}
	if pin.blk, ok = parseBlk(msg[blk:end]); !ok || len(msg) < end+2 || msg[end+1] != '@' {
		return false
	}
	if is(msg[end+2:], "head") {
		pin.rev = toHead
		return true
	}
	pin.rev, ok = parseHex16(msg[end+2:])
	return ok && pin.rev != toHead
}

// is reports whether b is text.
//
//go:nosplit
//go:norace
func is(b []byte, text string) bool {
	if len(b) != len(text) {
		return false
	}
	for i := range b {
		if b[i] != text[i] {
			return false
		}
	}
	return true
}

// put copies src, which must have room in dst, and returns its length.
//
//go:nosplit
//go:norace
func put(dst, src []byte) int {
	for i := range len(src) {
		dst[i] = src[i]
	}
	return len(src)
}

// parseBlk parses a number of a block in canonical decimal form.
//
//go:nosplit
//go:norace
func parseBlk(text []byte) (blk int64, ok bool) {
	if len(text) == 0 || len(text) > 18 || text[0] == '0' && len(text) > 1 {
		return 0, false
	}
	for i := range text {
		if text[i] < '0' || text[i] > '9' {
			return 0, false
		}
		blk = blk*10 + int64(text[i]-'0')
	}
	return blk, true
}

// parseHex16 parses exactly 16 lower-case hexadecimal digits.
//
//go:nosplit
//go:norace
func parseHex16(text []byte) (v uint64, ok bool) {
	if len(text) != 16 {
		return 0, false
	}
	for i := range text {
		switch c := text[i]; {
		case '0' <= c && c <= '9':
			v = v<<4 | uint64(c-'0')
		case 'a' <= c && c <= 'f':
			v = v<<4 | uint64(c-'a'+10)
		default:
			return 0, false
		}
	}
	return v, true
}

// putHex16 writes v as 16 hexadecimal digits.
//
//go:nosplit
//go:norace
func putHex16(dst *[16]byte, v uint64) {
	for i := range dst {
		dst[i] = "0123456789abcdef"[v>>60]
		v <<= 4
	}
}

// frameLine returns a line with its end.
func frameLine(stream uint64, msg string) string {
	return strconv.FormatUint(stream, 10) + " " + msg + "\n"
}
