package wire

import (
	"fmt"
	"strconv"
	"strings"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// maxMessage bounds a message to a client: existing clients drop the link when it is
// longer.
const maxMessage = 246

// Frame is one line without its end.
type Frame struct {
	Stream uint64
	Msg    string
}

// ParseFrame parses a line with its end. The error is what the client is told.
func ParseFrame(line string) (Frame, error) {
	number, msg, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
	if !ok {
		return Frame{}, fmt.Errorf("invalid frame: %q", line)
	}
	stream, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		return Frame{}, fmt.Errorf("invalid frame: %q (invalid stream)", line)
	}
	return Frame{stream, msg}, nil
}

// Line returns f as a line. A message that is too long is cut.
func (f Frame) Line() string {
	msg := f.Msg
	if len(msg) > maxMessage {
		msg = strings.ToValidUTF8(msg[:maxMessage-3], "") + "..."
	}
	return fmt.Sprintf("%d %s\n", f.Stream, strings.ReplaceAll(msg, "\n", " "))
}

// Pin is the message that has a client map a block from a revision, or from "head".
func Pin(file zodb.Oid, blk int64, rev string) string {
	return fmt.Sprintf("pin %s #%d @%s", file, blk, rev)
}

// WatchRequest is the message "watch <oid> @<at>", or "watch <oid> -".
type WatchRequest struct {
	Oid    zodb.Oid
	At     zodb.Tid // all ones if Remove
	Remove bool
}

// ParseWatch parses a request. The error is what the client is told.
func ParseWatch(msg string) (r WatchRequest, err error) {
	rest, ok := strings.CutPrefix(msg, "watch ")
	if !ok {
		return r, fmt.Errorf("bad watch: not a watch request: %q", msg)
	}
	args := strings.Split(rest, " ")
	if len(args) != 2 {
		return r, fmt.Errorf("bad watch: expected 2 arguments, got %d", len(args))
	}
	oid, ok := storage.ParseID(args[0])
	if !ok {
		return r, fmt.Errorf("bad watch: invalid oid")
	}
	if args[1] == "-" {
		return WatchRequest{zodb.Oid(oid), zodb.InvalidTid, true}, nil
	}
	at, ok := strings.CutPrefix(args[1], "@")
	tid, ok2 := storage.ParseID(at)
	if !ok || !ok2 {
		return r, fmt.Errorf("bad watch: invalid at")
	}
	return WatchRequest{Oid: zodb.Oid(oid), At: zodb.Tid(tid)}, nil
}
